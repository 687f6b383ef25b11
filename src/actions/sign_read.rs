//! A URL with which a private image can be read for a while, for whoever may give it on.

use std::time::{Duration, SystemTime};

use crate::apps::App;
use crate::domain::{Caller, Error, ObjectKey};
use crate::identity::SignedRead;

use super::Services;
use super::known::{NoAnswer, Verdict};

/// How long a signed URL holds, unless the caller says otherwise: a page that is left open for a
/// while still shows its images.
const EXPIRES_IN: Duration = Duration::from_secs(3600);

/// The longest that a signed URL may hold: as long as S3's own. It cannot be taken back but with the
/// image, or with the secret of all.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Signs a read. Nothing is stored, and where the verdict on the image is remembered nobody is
/// asked: it costs less than the read, and has no limit of its own either.
///
/// # Errors
/// [`Error::InvalidRequest`] for a time out of bounds, and where images are public;
/// [`Error::NotFound`] for what is not there, is not ready, or belongs to somebody else, alike;
/// [`Error::RecordsUnavailable`].
pub async fn sign_read(
    app: &App,
    services: &Services,
    key: &ObjectKey,
    caller: &Caller,
    expires_in: Option<Duration>,
    now: SystemTime,
) -> Result<SignedRead, Error> {
    if !app.is_private() {
        let text = "the images of this app are public: their publicURL needs no signature";
        return Err(Error::InvalidRequest(text.to_owned()));
    }
    let expires_in = expires_in.unwrap_or(EXPIRES_IN);
    if expires_in < Duration::from_secs(1) || expires_in > LONGEST {
        let text = format!("`expiresIn` takes whole seconds, 1 to {}", LONGEST.as_secs());
        return Err(Error::InvalidRequest(text));
    }
    let key = key.minted().ok_or(Error::NotFound)?;
    match services.known.verdict(app, key).await {
        Ok(Verdict::Ready(ready)) if caller.may_act_for(ready.owner.as_ref()) => {
            Ok(services.read_signatures.sign(&app.name, key.as_str(), now + expires_in))
        }
        Ok(Verdict::Ready(_) | Verdict::NotReady | Verdict::Deleted) => Err(Error::NotFound),
        Err(NoAnswer) => Err(Error::RecordsUnavailable),
    }
}
