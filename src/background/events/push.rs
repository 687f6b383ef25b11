//! Events that are pushed: who may push, and how many at a time.

use std::time::{Duration, SystemTime};

use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::{Error, EventOutcome, EventSource, Secret};
use crate::identity::google_token::{ExpectedToken, key_id, verify};
use crate::identity::{RemoteKeys, TokenRefusal};

use super::handle::{Disposition, Handler};
use super::notice::Malformed;

/// How many pushed events are handled at a time. Each may hold one document in memory, and ask
/// storage; who comes later is told to come again.
const MAX_AT_ONCE: usize = 64;

/// For handling one document with all that it tells of.
const HANDLE_LIMIT: Duration = Duration::from_secs(60);

/// Who pushes events, and how they prove it.
pub enum Sender {
    /// Pub/Sub, with tokens of Google's.
    PubSub {
        /// Where the keys of the tokens come from.
        keys: RemoteKeys,
        /// Whose tokens they must be.
        expected: ExpectedToken,
    },
    /// Whoever knows one of these secrets.
    Webhook(Vec<Secret>),
}

/// The senders that may push.
pub struct Push {
    senders: Vec<(Sender, Handler)>,
    places: Semaphore,
}

/// Why an event is not taken. The sender keeps it and comes again, or lays it aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushRefusal {
    /// No such sender is configured.
    UnknownSender,
    /// The sender did not prove who it is.
    Unauthenticated,
    /// Too many are being handled.
    Overloaded,
    /// It cannot be read.
    Malformed(Malformed),
    /// What was asked for it failed.
    Failed(Error),
}

/// A sender that has proved who it is, with its place among those that are handled.
pub struct Admitted<'a> {
    handler: &'a Handler,
    _place: SemaphorePermit<'a>,
}

impl Push {
    /// Takes events of these senders. `None` without any.
    #[must_use]
    pub fn new(senders: Vec<(Sender, Handler)>) -> Option<Self> {
        (!senders.is_empty()).then(|| Self { senders, places: Semaphore::new(MAX_AT_ONCE) })
    }

    /// Lets a sender in, before anything of its event is read.
    ///
    /// # Errors
    /// [`PushRefusal::UnknownSender`], [`PushRefusal::Unauthenticated`],
    /// [`PushRefusal::Overloaded`].
    pub async fn admit(
        &self,
        source: EventSource,
        credential: Option<&str>,
        now: SystemTime,
    ) -> Result<Admitted<'_>, PushRefusal> {
        let mut senders = self.senders.iter();
        let found = senders.find(|(_, handler)| handler.source() == source);
        let (sender, handler) = found.ok_or(PushRefusal::UnknownSender)?;
        if !sender.is_proved_by(credential.unwrap_or_default(), now).await {
            handler.metrics().count(EventOutcome::Unauthenticated);
            return Err(PushRefusal::Unauthenticated);
        }
        match self.places.try_acquire() {
            Ok(place) => Ok(Admitted { handler, _place: place }),
            Err(_) => {
                handler.metrics().count(EventOutcome::Overloaded);
                Err(PushRefusal::Overloaded)
            }
        }
    }
}

impl Sender {
    async fn is_proved_by(&self, credential: &str, now: SystemTime) -> bool {
        match self {
            Self::PubSub { keys, expected } => {
                let verified = async {
                    let keys = keys.with(&key_id(credential)?, now).await;
                    verify(credential, &keys, expected, now)
                };
                let refusal: Option<TokenRefusal> = verified.await.err();
                if let Some(reason) = refusal {
                    tracing::debug!(%reason, "a token of an event was refused");
                }
                refusal.is_none()
            }
            // All are compared, whichever fits: the time tells nothing but how many there are.
            Self::Webhook(secrets) => {
                let found = secrets.iter().fold(Choice::from(0), |found, secret| {
                    found | secret.expose().ct_eq(credential.as_bytes())
                });
                found.into()
            }
        }
    }
}

impl Admitted<'_> {
    /// Handles the event.
    ///
    /// # Errors
    /// [`PushRefusal::Malformed`], [`PushRefusal::Failed`].
    pub async fn handle(self, document: &[u8], now: SystemTime) -> Result<(), PushRefusal> {
        let handled = tokio::time::timeout(HANDLE_LIMIT, self.handler.handle(document, now)).await;
        match handled {
            Ok(Disposition::Acknowledge) => Ok(()),
            Ok(Disposition::Malformed(malformed)) => Err(PushRefusal::Malformed(malformed)),
            Ok(Disposition::Retry(error)) => Err(PushRefusal::Failed(error)),
            Err(_) => {
                self.handler.metrics().count(EventOutcome::Retry);
                Err(PushRefusal::Failed(Error::StorageTimeout))
            }
        }
    }
}
