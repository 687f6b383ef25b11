//! A fresh upload URL for an upload that is still pending, when the first one ran out before the
//! file was through.

use std::time::{Duration, SystemTime};

use crate::apps::App;
use crate::domain::{Error, UploadId, UploadRecord, UploadState};
use crate::records::Renewal;
use crate::storage::SignedRequest;

use super::presign::sign;
use super::upload::Right;
use super::{Services, records_failed, upload};

/// Signs another URL, for the same object and under the same promises.
///
/// # Errors
/// [`Error::UploadExpired`] once the session is over or the upload was given up,
/// [`Error::Conflict`] if the file has arrived already, [`Error::InvalidRequest`] if it comes in
/// parts, [`Error::UploadNotFound`], and the failures of records and signing.
pub async fn renew(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
    now: SystemTime,
) -> Result<(UploadRecord, SignedRequest), Error> {
    let record = upload::ask(app, services, id, right).await?;
    if record.multipart.is_some() {
        let text = "this upload comes in parts: ask for the URLs of its parts with part-urls";
        return Err(Error::InvalidRequest(text.into()));
    }
    match record.state {
        UploadState::Pending => {}
        UploadState::Uploaded | UploadState::Ready => return Err(Error::Conflict),
        UploadState::Failed | UploadState::Orphaned | UploadState::Deleted => {
            return Err(Error::UploadExpired);
        }
    }
    let signed = sign_again(app, services, &record, now).await?;
    Ok((record, signed))
}

/// Signs another URL for an upload that is pending, and records it.
///
/// # Errors
/// [`Error::UploadExpired`] once the session is over, and the failures of records and signing.
pub(super) async fn sign_again(
    app: &App,
    services: &Services,
    record: &UploadRecord,
    now: SystemTime,
) -> Result<SignedRequest, Error> {
    let expires_in = life_of_next_url(record, app.upload.url_expiry, now)?;
    let signed = sign(app, &record.key, &record.declared, expires_in, now).await?;
    record_life(services, record, expires_in, now).await?;
    Ok(signed)
}

/// Records that a pending upload has URLs of this life, before they are handed out: whoever looks
/// after expired uploads must know of them.
///
/// # Errors
/// [`Error::Conflict`] if it is not pending any more, [`Error::RecordsUnavailable`].
pub(super) async fn record_life(
    services: &Services,
    record: &UploadRecord,
    expires_in: Duration,
    now: SystemTime,
) -> Result<(), Error> {
    let (app, id) = (record.app.clone(), record.key.id());
    let renewal = Renewal { app, id, url_expires_at: now + expires_in, at: now };
    services.records.renew(renewal).await.map_err(|error| records_failed(&error))
}

/// No URL outlives the session, in whole seconds.
pub(super) fn life_of_next_url(
    record: &UploadRecord,
    url_expiry: Duration,
    now: SystemTime,
) -> Result<Duration, Error> {
    let left = record.session_expires_at.duration_since(now).unwrap_or_default();
    match left.as_secs().min(url_expiry.as_secs()) {
        0 => Err(Error::UploadExpired),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        AppName, CleanName, Declared, MediaType, MintSecrets, MintedKey, OwnerId, Secret,
    };

    fn pending(session: Duration) -> UploadRecord {
        let (app, now) = (AppName::parse("shop").unwrap(), SystemTime::UNIX_EPOCH);
        let secrets = MintSecrets::new(vec![Secret::new("a secret")]).unwrap();
        UploadRecord {
            key: MintedKey::mint(&secrets, &app, now, [0; 6], &CleanName::image(), "jpg"),
            app,
            owner: OwnerId::parse(b"owner").ok(),
            state: UploadState::Pending,
            reason: None,
            declared: Declared { media_type: MediaType::Jpeg, size: None, sha256: None },
            stored: None,
            multipart: None,
            created_at: now,
            url_expires_at: now,
            session_expires_at: now + session,
            updated_at: now,
            revision: 0,
            look_at: None,
        }
    }

    #[test]
    fn no_url_outlives_its_session() {
        let seconds = Duration::from_secs;
        let record = pending(seconds(1000));
        for (after, expected) in [
            (seconds(0), Ok(seconds(900))),
            (seconds(100), Ok(seconds(900))),
            (seconds(101), Ok(seconds(899))),
            (seconds(999), Ok(seconds(1))),
            (Duration::from_millis(999_500), Err(Error::UploadExpired)),
            (seconds(1000), Err(Error::UploadExpired)),
            (seconds(5000), Err(Error::UploadExpired)),
        ] {
            let now = SystemTime::UNIX_EPOCH + after;
            assert_eq!(life_of_next_url(&record, seconds(900), now), expected, "{after:?}");
        }
    }
}
