//! Uploads in parts: parallel, because parts are sent in any order, and resumable, because storage
//! keeps those that came.
//!
//! | file | what it does |
//! |---|---|
//! | `begin.rs` | begins one: checks, storage's session, the record, the first URLs |
//! | `urls.rs` | signs the URLs of parts |
//! | `parts.rs` | which parts storage has, and whether they are the right ones |
//! | `complete.rs` | has the object assembled, and verified |
//!
//! What storage keeps of an upload in parts is its *session*. No signed URL writes the object itself:
//! it comes to be by the completion, which only the gateway can ask for.

mod begin;
mod complete;
mod parts;
mod urls;

use crate::apps::App;
use crate::domain::{Error, Multipart, PartPlan, UploadRecord, UploadState};
use crate::storage::{StorageError, StorageErrorKind};

use super::read::refusal_of;

pub use begin::{BeginRequest, Begun, Granted, begin};
pub use complete::complete;
pub use parts::{NamedPart, uploaded_parts};
pub use urls::{MAX_URLS, PartUrl, PartUrls, part_urls};

/// Gives up storage's session of an upload, if it comes in parts, and with it the parts. A failure
/// leaves them in the bucket; it is logged, and whoever sweeps tries again.
pub(super) async fn give_up(app: &App, record: &UploadRecord) {
    if let Err(error) = abort(app, record).await {
        let (app, id) = (&app.name, record.key.id());
        tracing::warn!(%app, %id, %error, "the parts of an upload that was given up stay");
    }
}

/// The same, for whoever can try again: the parts are gone, or it is an error.
pub(super) async fn abort(app: &App, record: &UploadRecord) -> Result<(), StorageError> {
    let Some(multipart) = &record.multipart else { return Ok(()) };
    let path = app.key_prefix.path_of_minted(&record.key);
    app.store.abort_multipart(&path, &multipart.id).await
}

/// How an upload is cut.
///
/// # Errors
/// [`Error::InvalidRequest`] if it does not come in parts.
fn cut(record: &UploadRecord) -> Result<(&Multipart, PartPlan), Error> {
    let multipart = record.multipart.as_ref().ok_or_else(|| {
        let text = "this upload does not come in parts: PUT the file to uploadURL, then finalize";
        Error::InvalidRequest(text.into())
    })?;
    let size = record.declared.size;
    let plan = size.and_then(|size| PartPlan::of_record(size, multipart.part_size));
    let plan = plan.ok_or_else(|| {
        tracing::error!(id = %record.key.id(), "the record cuts the file as no file is cut");
        Error::Internal
    })?;
    Ok((multipart, plan))
}

/// Whether parts can still come.
///
/// # Errors
/// [`Error::Conflict`] if they have been assembled, [`Error::UploadExpired`] if the upload ended.
fn still_pending(record: &UploadRecord) -> Result<(), Error> {
    match record.state {
        UploadState::Pending => Ok(()),
        UploadState::Uploaded | UploadState::Ready => Err(Error::Conflict),
        UploadState::Failed | UploadState::Orphaned | UploadState::Deleted => {
            Err(Error::UploadExpired)
        }
    }
}

/// What the caller is told when storage fails; the cause goes to the log, here.
fn storage_failed(app: &App, error: &StorageError) -> Error {
    tracing::error!(app = %app.name, %error, "storage failed on an upload in parts");
    match error.kind {
        StorageErrorKind::Unsupported => Error::MultipartUnsupported,
        // The bucket, not an image: nothing that the caller could look for elsewhere.
        StorageErrorKind::NotFound => Error::StorageFailed,
        kind => refusal_of(kind),
    }
}
