//! What a promise about an upload becomes: signed headers, which the server compares with those of
//! the request, and `x-goog-…` ones that it also obeys.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use google_cloud_storage::builder::storage::SignedUrlBuilder;
use http::Method;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::GcsStore;
use crate::storage::{PutGrant, SignedRequest, StorageError, StorageErrorKind};

/// The longest life of a signed URL, by the protocol. The crate signs longer ones all the same.
const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// As many signatures at a time as there are processors: an RSA signature is nothing but their
/// work, and more threads would only take them from everybody else.
static SIGNING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new(processors))
});

impl GcsStore {
    pub(super) async fn grant_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        let Some(identity) = &self.identity else {
            let detail = "there is no key to sign with: name one in Storage.CredentialsFile";
            return Err(StorageError::new(StorageErrorKind::Credentials, detail));
        };
        if grant.sha256.is_some() {
            let detail = "Google Cloud Storage does not check a SHA-256 of an upload";
            return Err(StorageError::new(StorageErrorKind::Unsupported, detail));
        }
        let mut headers = vec![("Content-Type", grant.media_type.as_str().to_owned())];
        if let Some(size) = grant.size {
            headers.push(("x-goog-content-length-range", format!("{size},{size}")));
        }
        if grant.prevent_overwrite {
            headers.push(("x-goog-if-generation-match", "0".to_owned()));
        }
        let (life, expires_at) = life(grant.expires_in, now, SystemTime::now())?;

        let bucket = format!("projects/_/buckets/{}", self.bucket);
        let mut builder = SignedUrlBuilder::for_object(bucket, grant.path.as_str())
            .with_endpoint(self.address.endpoint.as_str())
            .with_method(Method::PUT)
            .with_client_email(identity.client_email())
            .with_expiration(life);
        for (name, value) in &headers {
            builder = builder.with_header(*name, value.as_str());
        }
        let url = sign(builder, identity.signer()).await?;
        Ok(SignedRequest { url, headers, expires_at })
    }
}

/// How long a URL lives that is signed at `clock` for a grant of `now`, and when it ends. URLs tell
/// the time in whole seconds. The crate stamps a URL with its own clock, so what has passed of the
/// grant by then comes off.
fn life(
    granted: Duration,
    now: SystemTime,
    clock: SystemTime,
) -> Result<(Duration, SystemTime), StorageError> {
    let refuse = |detail| Err(StorageError::new(StorageErrorKind::Unsupported, detail));
    if granted > MAX_LIFE {
        return refuse("a signed URL lives for 7 days at most");
    }
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ends = seconds(now) + granted.as_secs();
    match ends.checked_sub(seconds(clock)) {
        None | Some(0) => refuse("the grant has run out before it could be signed"),
        Some(left) if left > MAX_LIFE.as_secs() => refuse("the grant begins in the future"),
        Some(left) => Ok((Duration::from_secs(left), UNIX_EPOCH + Duration::from_secs(ends))),
    }
}

/// Signs on a thread for such work: an RSA signature takes about a millisecond, in which a worker
/// of the runtime would serve nobody.
async fn sign(
    builder: SignedUrlBuilder,
    signer: google_cloud_auth::signer::Signer,
) -> Result<String, StorageError> {
    let failed = |detail: String| StorageError::new(StorageErrorKind::Credentials, detail);
    let turn = Arc::clone(&SIGNING).acquire_owned().await.expect("it is never closed");
    let runtime = Handle::current();
    let signed = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        // A future only by its type: with a key at hand it waits for nothing.
        runtime.block_on(builder.sign_with(&signer))
    });
    let signed = signed.await.map_err(|_| failed("signing was given up".to_owned()))?;
    signed.map_err(|error| failed(format!("the key does not sign: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_url_ends_when_its_grant_ends() {
        let quarter = Duration::from_secs(900);
        let week = MAX_LIFE.as_secs();
        for (granted, now, clock, expected) in [
            (quarter, at(5_000), at(5_000), Some(900)),
            (quarter, at(5_100), at(5_900), Some(900)),
            // The second has changed in between.
            (quarter, at(5_999), at(6_001), Some(899)),
            (quarter, at(6_001), at(5_999), Some(901)),
            (Duration::from_secs(1), at(5_000), at(6_000), None),
            (quarter, at(0), at(1_000_000), None),
            (MAX_LIFE, at(5_000), at(5_000), Some(week)),
            (MAX_LIFE + Duration::from_secs(1), at(5_000), at(6_000), None),
            (MAX_LIFE, at(6_000), at(5_000), None),
        ] {
            let lived = life(granted, now, clock).ok();
            let seconds = lived.map(|(life, _)| life.as_secs());
            assert_eq!(seconds, expected, "{granted:?} {now:?} {clock:?}");
            if let Some((_, ends)) = lived {
                assert!(ends <= now + granted);
            }
        }
    }
}
