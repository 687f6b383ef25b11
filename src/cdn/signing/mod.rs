//! Requests to a CloudFront distribution that is restricted to signed ones.
//!
//! A signature under a *custom policy* with a wildcard holds for every object of an app, so one is
//! made every few minutes and goes out with each request until the next: a read costs no signature.
//! It travels in cookies, not in the query. CloudFront takes either; with cookies the URL is the one
//! that is asked for without: whatever a cache policy makes of query strings, there is one copy of an
//! object, and the distribution's access log, which shows query strings, shows no signature.
//! ("Set signed cookies using a custom policy", CloudFront Developer Guide.)

mod key;

use std::sync::{Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::base64;
use http::HeaderValue;
use url::Url;

use crate::domain::KeyPrefix;

pub use key::{KeyPair, KeyPairId, SigningKey};

/// How long CloudFront accepts a pass.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// The age at which whoever needs a pass makes the next one.
const RENEWED_AFTER: Duration = Duration::from_millis(LIFE.as_secs() * 1000 / 2);

/// The age from which a pass is not sent any more. What is left of its life is how far this
/// machine's clock may be behind CloudFront's. Ahead it may be by any time: a pass has no beginning.
const USED_FOR: Duration = Duration::from_secs(10 * 60);

/// Signs an app's requests to its CDN.
pub struct RequestSigner {
    keys: KeyPair,
    /// What a pass holds for: a URL with a `*` at its end.
    resource: String,
    pass: RwLock<Option<Pass>>,
    /// Held by the one who makes the next pass.
    turn: Mutex<()>,
}

/// What a request needs to be let through.
#[derive(Clone)]
struct Pass {
    cookie: HeaderValue,
    signed_at: SystemTime,
}

impl RequestSigner {
    /// A signer for what is under a prefix at a CDN's URL.
    #[must_use]
    pub fn new(keys: KeyPair, url: &Url, prefix: &KeyPrefix) -> Self {
        // The characters of a URL without a query and those of a prefix need no escape in JSON, and
        // none of them is a wildcard.
        let resource = format!("{}/{}*", url.as_str().trim_end_matches('/'), prefix.as_str());
        Self { keys, resource, pass: RwLock::default(), turn: Mutex::default() }
    }

    /// The `Cookie` of a request at this time. `None` where nothing can be signed: the CDN then
    /// answers 403, and the read is served from storage and counted as that.
    ///
    /// Half-way through the life of a pass, one request makes the next one and the others go on with
    /// the old one; only without a usable pass they wait for it. This holds a thread for the time of
    /// one signature, under a millisecond, every few minutes.
    pub fn cookie(&self, now: SystemTime) -> Option<HeaderValue> {
        let pass = self.pass();
        if let Some(pass) = &pass
            && pass.is_younger_than(RENEWED_AFTER, now)
        {
            return Some(pass.cookie.clone());
        }
        let usable = pass.filter(|pass| pass.is_younger_than(USED_FOR, now));
        let turn = match &usable {
            None => self.turn.lock(),
            Some(pass) => match self.turn.try_lock() {
                Err(TryLockError::WouldBlock) => return Some(pass.cookie.clone()),
                Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
                Ok(turn) => Ok(turn),
            },
        };
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have had the turn before.
        let pass = self.pass().filter(|pass| pass.is_younger_than(RENEWED_AFTER, now));
        let pass = pass.or_else(|| self.renew(now)).or(usable);
        pass.map(|pass| pass.cookie)
    }

    fn pass(&self) -> Option<Pass> {
        self.pass.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(&self, now: SystemTime) -> Option<Pass> {
        let policy = policy(&self.resource, now + LIFE);
        // The key has signed before: what fails now is the machine's source of random numbers.
        let signature = self.keys.key.sign(policy.as_bytes()).inspect_err(|error| {
            tracing::error!(%error, "requests to the CDN cannot be signed; it will refuse them");
        });
        let mut cookie = HeaderValue::try_from(cookie(&self.keys.id, &policy, &signature.ok()?))
            .expect("base64 and an id of letters and digits are valid in a header");
        cookie.set_sensitive(true);
        let pass = Pass { cookie, signed_at: now };
        *self.pass.write().unwrap_or_else(PoisonError::into_inner) = Some(pass.clone());
        Some(pass)
    }
}

impl Pass {
    fn is_younger_than(&self, age: Duration, now: SystemTime) -> bool {
        match now.duration_since(self.signed_at) {
            Ok(passed) => passed < age,
            // Whoever made it has looked at the clock a moment later. Where it is more than that, the
            // clock was set back, and the pass would be in use for longer than is meant.
            Err(ahead) => ahead.duration() < LIFE,
        }
    }
}

/// A custom policy, without spaces, as CloudFront wants it.
fn policy(resource: &str, until: SystemTime) -> String {
    let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!(
        r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{until}}}}}}}]}}"#
    )
}

fn cookie(id: &KeyPairId, policy: &str, signature: &[u8]) -> String {
    format!(
        "CloudFront-Policy={}; CloudFront-Signature={}; CloudFront-Key-Pair-Id={}; \
         CloudFront-Hash-Algorithm=SHA256",
        encoded(policy.as_bytes()),
        encoded(signature),
        id.as_str(),
    )
}

/// Base64 in the letters that CloudFront takes for those that a URL cannot carry.
fn encoded(bytes: &[u8]) -> String {
    base64::encode(bytes).replace('+', "-").replace('=', "_").replace('/', "~")
}

#[cfg(test)]
mod tests;
