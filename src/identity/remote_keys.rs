//! Public keys that an issuer publishes at a URL: fetched when one is needed that is not there, and
//! kept.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::Mutex;
use url::{Position, Url};

use super::jwks::{Algorithm, PublicKeys};
use crate::upstream::{Client, Origin, Timeouts};

/// How long keys are used without another look: one that was withdrawn ends with that. Issuers let
/// them be cached for some hours and announce new ones before they sign.
const FRESH: Duration = Duration::from_secs(3600);

/// The least time between two fetches, whatever tokens ask for.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// For a fetch from its beginning to its last byte.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// For the parts of a fetch.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(2), first_byte: Duration::from_secs(3) };

/// The largest key set that is read, in bytes. Google's has about 2 KiB.
const MAX_BYTES: usize = 128 * 1024;

/// The keys, and where they come from.
pub struct RemoteKeys(Arc<Shared>);

struct Shared {
    /// Whose keys they are, for the log.
    whose: String,
    algorithm: Algorithm,
    client: Client,
    origin: Origin,
    path: PathAndQuery,
    held: RwLock<Held>,
    /// When they were last asked for; held by whoever asks, so that one does for all.
    asked: Arc<Mutex<Option<SystemTime>>>,
}

#[derive(Clone, Default)]
struct Held {
    keys: Arc<PublicKeys>,
    since: Option<SystemTime>,
}

impl Held {
    /// Whether there is no reason to ask again for the sake of this key.
    fn does_for(&self, key_id: &str, now: SystemTime) -> bool {
        self.keys.has(key_id) && self.since.is_some_and(|since| is_within(since, FRESH, now))
    }
}

/// A clock that was set back ends every wait.
fn is_within(since: SystemTime, time: Duration, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|passed| passed < time)
}

impl RemoteKeys {
    /// Keys for signatures of this algorithm that are published at a URL. `whose` they are is for the
    /// log. Nobody is asked before there is a token.
    ///
    /// # Errors
    /// A text for the author of the configuration.
    pub fn new(
        whose: impl Into<String>,
        url: &Url,
        algorithm: Algorithm,
        client: Client,
    ) -> Result<Self, String> {
        let path = url[Position::BeforePath..Position::AfterQuery].parse();
        Ok(Self(Arc::new(Shared {
            whose: whose.into(),
            algorithm,
            client,
            origin: Origin::from_url(url)?,
            path: path.map_err(|error| format!("the path of {url} cannot be sent: {error}"))?,
            held: RwLock::default(),
            asked: Arc::default(),
        })))
    }

    /// The keys, with this one among them if there is such a key. Those that were there last are
    /// used for as long as no others can be had; without any, nobody could ever be asked.
    pub async fn with(&self, key_id: &str, now: SystemTime) -> Arc<PublicKeys> {
        let shared = &self.0;
        let held = shared.held();
        if held.does_for(key_id, now) {
            return held.keys;
        }
        let mut asked = match Arc::clone(&shared.asked).try_lock_owned() {
            Ok(asked) => asked,
            // Somebody is asking already: only who has no key waits for that.
            Err(_) if held.keys.has(key_id) => return held.keys,
            Err(_) => Arc::clone(&shared.asked).lock_owned().await,
        };
        let held = shared.held();
        let too_soon = asked.is_some_and(|asked| is_within(asked, MIN_INTERVAL, now));
        if held.does_for(key_id, now) || too_soon {
            return held.keys;
        }
        *asked = Some(now);
        // A task of its own: a client that asks with a made-up key and hangs up would else end the
        // fetch, and with it everybody's until the next interval.
        let fetching = Arc::clone(shared);
        let fetched = tokio::spawn(async move {
            fetching.refresh(now).await;
            drop(asked);
        });
        if let Err(error) = fetched.await {
            tracing::error!(whose = %shared.whose, %error, "fetching keys ended badly");
        }
        shared.held().keys
    }
}

impl Shared {
    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refresh(&self, now: SystemTime) {
        let whose = &self.whose;
        match tokio::time::timeout(FETCH_LIMIT, self.fetch()).await {
            Ok(Ok(keys)) => {
                let held = Held { keys: Arc::new(keys), since: Some(now) };
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
            }
            Ok(Err(error)) => {
                tracing::warn!(%whose, %error, "the keys that sign tokens cannot be fetched");
            }
            Err(_) => {
                tracing::warn!(%whose, limit = ?FETCH_LIMIT, "the keys that sign tokens come too slowly");
            }
        }
    }

    async fn fetch(&self) -> Result<PublicKeys, String> {
        let request = Request::builder().method(Method::GET).uri(self.path.clone());
        let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
        let sent = self.client.send(&self.origin, request, &TIMEOUTS).await;
        let answer = sent.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        PublicKeys::parse(&body, self.algorithm)
    }
}
