//! Abandoning an upload before its file was accepted: nothing of it stays.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{Error, UploadId, UploadRecord, UploadState};

use super::upload::Right;
use super::verify::{MAX_ATTEMPTS, Occasion, mark_deleted, verify};
use super::{Services, records_failed, upload};

/// Abandons an upload that is pending, or never came. Safe to repeat.
///
/// The record says so first: from then on nothing can make an image of it. Then storage's session is
/// given up, and a file that came meanwhile is deleted. What fails there is left to whoever sweeps.
///
/// # Errors
/// [`Error::Conflict`] if its file has been looked at, [`Error::UploadNotFound`],
/// [`Error::RecordsUnavailable`].
pub async fn abandon(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    let mut record = upload::ask(app, services, id, right).await?;
    for _ in 0..MAX_ATTEMPTS {
        let deleted = match record.state {
            UploadState::Deleted => Ok(()),
            UploadState::Pending | UploadState::Orphaned => {
                mark_deleted(app, services, &mut record, now).await
            }
            UploadState::Uploaded | UploadState::Ready | UploadState::Failed => {
                return Err(Error::Conflict);
            }
        };
        match deleted {
            Ok(()) => {
                clear(app, services, id, now).await;
                return Ok(record);
            }
            // Somebody else moved it on: look where.
            Err(Error::Conflict) => {
                let found = services.records.get(&app.name, id).await;
                let found = found.map_err(|error| records_failed(&error))?;
                record = found.ok_or(Error::UploadNotFound)?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::Conflict)
}

/// Takes away what storage has of a deleted upload.
async fn clear(app: &App, services: &Services, id: UploadId, now: SystemTime) {
    if let Err(error) = verify(app, services, id, Occasion::MayHaveChanged, now).await {
        let app = &app.name;
        tracing::warn!(%app, %id, %error, "something of an abandoned upload may stay");
    }
}
