//! Who we are: what signs URLs, and the tokens that calls carry.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use google_cloud_auth::credentials::AccessTokenCredentials;
use http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::credentials::{Key, ServiceAccount};
use super::process::GcsProcessCredentials;
use super::sign_blob::{self, SignBlob};
use super::v4;
use crate::storage::{StorageError, StorageErrorKind};

/// Where signatures by keys on this machine wait for their turn.
static SIGNING: LazyLock<Line> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Line::new(processors, WAITING)
});

/// How many signatures may wait for each processor: some 50 ms of its work, by a key of 2048 bits.
/// Whoever comes then is better told at once: a line that grows under load soon has nobody in it who
/// still waits for the answer, and all of the work is for nothing.
const WAITING: usize = 64;

/// A line that no more join than it has places.
struct Line {
    /// As many signatures at a time as there are processors: an RSA signature is nothing but their
    /// work, and more threads would only take them from everybody else.
    turns: Arc<Semaphore>,
    /// Those who have their turn and those who wait for it.
    places: Semaphore,
}

/// A turn in a line, and the place in it.
struct Turn<'a> {
    turn: OwnedSemaphorePermit,
    _place: SemaphorePermit<'a>,
}

impl Line {
    fn new(processors: usize, waiting: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(processors)),
            places: Semaphore::new(processors * (1 + waiting)),
        }
    }

    /// Waits for a turn, if there is a place to wait in.
    async fn enter(&self) -> Result<Turn<'_>, StorageError> {
        let place = self.places.try_acquire().map_err(|_| {
            let detail = "more is to be signed than can be in time";
            StorageError::new(StorageErrorKind::Overloaded, detail)
        })?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("it is never closed");
        Ok(Turn { turn, _place: place })
    }
}

/// Who a store is to its server.
#[derive(Debug, Clone)]
pub enum GcsCredentials {
    /// Nobody: an emulator on this machine asks for no credentials. Signs nothing.
    Anonymous,
    /// This account, for as long as the store lives.
    Account(ServiceAccount),
    /// Whoever the process is.
    Process(GcsProcessCredentials),
}

/// Who makes the calls of a store. Cheap to clone.
#[derive(Clone)]
pub(super) enum Caller {
    Nobody,
    Account(Arc<Identity>),
    Process(GcsProcessCredentials),
}

impl Caller {
    pub(super) fn new(credentials: &GcsCredentials) -> Result<Self, String> {
        Ok(match credentials {
            GcsCredentials::Anonymous => Self::Nobody,
            GcsCredentials::Account(account) => {
                Self::Account(Arc::new(Identity::of_account(account)?))
            }
            GcsCredentials::Process(process) => Self::Process(process.clone()),
        })
    }

    /// Who it is now; `None` for nobody.
    pub(super) fn identity(&self) -> Result<Option<Arc<Identity>>, StorageError> {
        match self {
            Self::Nobody => Ok(None),
            Self::Account(identity) => Ok(Some(Arc::clone(identity))),
            Self::Process(process) => process.current().map(Some),
        }
    }

    /// What a call says in `Authorization`.
    pub(super) async fn bearer(&self) -> Result<Option<HeaderValue>, StorageError> {
        match self.identity()? {
            Some(identity) => identity.bearer().await.map(Some),
            None => Ok(None),
        }
    }
}

/// An account at work.
pub(super) struct Identity {
    client_email: String,
    signer: Signer,
    tokens: Tokens,
}

/// What signs URLs.
enum Signer {
    /// A key on this machine.
    Key(Key),
    /// Google, by a call for each URL.
    Remote(Arc<SignBlob>),
}

/// What calls carry.
pub(super) enum Tokens {
    /// What Google's crate keeps fresh by itself.
    Kept(AccessTokenCredentials),
    /// One token, and when it ends.
    Held { bearer: HeaderValue, ends: SystemTime },
}

impl Identity {
    /// An account whose key is here. Starts the task that keeps a token fresh.
    pub(super) fn of_account(account: &ServiceAccount) -> Result<Self, String> {
        prepare_cryptography();
        Ok(Self {
            client_email: account.client_email().to_owned(),
            signer: Signer::Key(account.key().clone()),
            tokens: Tokens::Kept(account.tokens()?),
        })
    }

    /// An account whose key is Google's.
    pub(super) fn without_key(client_email: String, tokens: Tokens, signer: Arc<SignBlob>) -> Self {
        Self { client_email, signer: Signer::Remote(signer), tokens }
    }

    pub(super) fn client_email(&self) -> &str {
        &self.client_email
    }

    /// How long a URL may live that is to live `expires_in`: no longer than the key that signs it
    /// is known to be good for.
    pub(super) fn url_life(&self, expires_in: Duration) -> Duration {
        match self.signer {
            Signer::Key(_) => expires_in,
            Signer::Remote(_) => expires_in.min(sign_blob::KEY_LIFE),
        }
    }

    /// When the token ends, where that is known; tokens that are kept fresh have no end.
    pub(super) fn ends(&self) -> Option<SystemTime> {
        match self.tokens {
            Tokens::Kept(_) => None,
            Tokens::Held { ends, .. } => Some(ends),
        }
    }

    /// What a call says in `Authorization`. Waits only for the first token, and for one after an
    /// outage.
    pub(super) async fn bearer(&self) -> Result<HeaderValue, StorageError> {
        let broken = |detail: String| StorageError::new(StorageErrorKind::Credentials, detail);
        match &self.tokens {
            Tokens::Held { ends, .. } if *ends <= SystemTime::now() => {
                Err(broken("the token of the process has ended".to_owned()))
            }
            Tokens::Held { bearer, .. } => Ok(bearer.clone()),
            Tokens::Kept(tokens) => {
                let token = tokens.access_token().await;
                let token = token.map_err(|error| broken(format!("there is no token: {error}")))?;
                bearer(&token.token).ok_or_else(|| broken("the token is not one".to_owned()))
            }
        }
    }

    /// Signs a request. With a key it is done beside the threads that serve: an RSA signature takes
    /// about a millisecond, in which a worker of the runtime would serve nobody.
    pub(super) async fn sign(&self, request: &v4::Unsigned) -> Result<Vec<u8>, StorageError> {
        let content = request.string_to_sign();
        let key = match &self.signer {
            Signer::Remote(remote) => {
                let bearer = self.bearer().await?;
                return remote.sign(&self.client_email, bearer, content.as_bytes()).await;
            }
            Signer::Key(key) => key.clone(),
        };
        let failed = |detail: String| StorageError::new(StorageErrorKind::Credentials, detail);
        let content = content.as_bytes().to_vec();
        let Turn { turn, _place } = SIGNING.enter().await?;
        let signed = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            key.sign(&content)
        });
        let signed = signed.await.map_err(|_| failed("signing was given up".to_owned()))?;
        signed.map_err(|error| failed(format!("the key does not sign: {error}")))
    }
}

/// A token as calls carry it.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    bearer.set_sensitive(true);
    Some(bearer)
}

/// Google's crate takes the RSA of its tokens, and the TLS of its requests, from the process's
/// default provider of cryptography. Whoever installed one before has set it for the same purpose.
pub(super) fn prepare_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_finds_no_place_in_the_line_is_told_at_once() {
        let line = Line::new(2, 1);
        let first = line.enter().await.unwrap();
        let _second = line.enter().await.unwrap();
        let (mut third, mut fourth) = (Box::pin(line.enter()), Box::pin(line.enter()));
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        let refused = line.enter().now_or_never().expect("it does not wait").err().unwrap();
        assert_eq!(refused.kind, StorageErrorKind::Overloaded);

        drop(fourth);
        let mut fifth = Box::pin(line.enter());
        assert!((&mut fifth).now_or_never().is_none(), "whoever leaves makes room");
        drop(first);
        third.await.unwrap();
    }
}
