//! Finalizing an upload: a client says that its file has arrived, and asks for the verdict.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{Error, UploadId, UploadRecord, UploadState, VerificationFailure};

use super::upload::Right;
use super::verify::{Finding, Occasion, verify};
use super::{Services, upload};

/// Finalizes an upload. Safe to repeat: a verdict that was given is given again.
///
/// # Errors
/// [`Error::NotUploaded`] before the file arrived, [`Error::VerificationFailed`] with the reason,
/// [`Error::UploadNotFound`], [`Error::UploadExpired`], and the failures of storage and records.
pub async fn finalize(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    upload::ask(app, services, id, right).await?;
    answer(verify(app, services, id, Occasion::Asked, now).await?)
}

/// What a finding is to whoever asked for the verdict.
pub(super) fn answer(finding: Finding) -> Result<UploadRecord, Error> {
    match finding {
        Finding::Missing(_) => Err(Error::NotUploaded),
        Finding::Settled(record) => match record.state {
            UploadState::Deleted => Err(Error::UploadExpired),
            UploadState::Failed => {
                let reason = record.reason.unwrap_or(VerificationFailure::Content);
                Err(Error::VerificationFailed(reason))
            }
            UploadState::Ready
            | UploadState::Pending
            | UploadState::Uploaded
            | UploadState::Orphaned => Ok(record),
        },
    }
}
