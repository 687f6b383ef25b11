//! Completing an upload in parts: storage assembles the object, and then it is an upload like any
//! other, to be verified. Whoever asks again, after a lost answer or beside somebody else, comes to
//! the same verdict.

use std::time::SystemTime;

use crate::actions::finalize::answer;
use crate::actions::inspect::head;
use crate::actions::upload::Right;
use crate::actions::verify::{Finding, Occasion, verify};
use crate::actions::{Services, upload};
use crate::apps::App;
use crate::domain::{Error, UploadId, UploadRecord, UploadState};
use crate::storage::StorageErrorKind;

use super::parts::{NamedPart, whole_list};
use super::{cut, storage_failed};

/// Completes an upload, of the parts that the client names or of those that storage has. Safe to
/// repeat: once the object is assembled, the list does not matter any more.
///
/// # Errors
/// [`Error::WrongParts`] for the first part that is not right, [`Error::UploadExpired`] if the
/// session ended without an object, [`Error::VerificationFailed`] with the reason,
/// [`Error::InvalidRequest`] if the upload does not come in parts, [`Error::UploadNotFound`], and the
/// failures of storage and records.
pub async fn complete(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
    named: Option<&[NamedPart]>,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    let record = upload::ask(app, services, id, right).await?;
    cut(&record)?;
    // A part that was sent in time may have taken longer. Afterwards the upload is swept.
    let is_open = record.session_expires_at + services.grace > now;
    let occasion = match record.state {
        UploadState::Pending if is_open => assemble(app, &record, named).await?,
        _ => Occasion::Asked,
    };
    match verify(app, services, id, occasion, now).await? {
        Finding::Missing(_) => Err(Error::UploadExpired),
        found => answer(found),
    }
}

/// Has storage assemble the object. Says what that means for what the record knows: also where
/// somebody else has moved it on meanwhile, there may be an object now.
async fn assemble(
    app: &App,
    record: &UploadRecord,
    named: Option<&[NamedPart]>,
) -> Result<Occasion, Error> {
    let (multipart, plan) = cut(record)?;
    let path = app.key_prefix.path_of_minted(&record.key);
    let stored = match app.store.list_parts(&path, &multipart.id).await {
        Ok(stored) => stored,
        Err(error) if error.kind == StorageErrorKind::NoSuchUpload => return Ok(Occasion::Asked),
        Err(error) => return Err(storage_failed(app, &error)),
    };
    let parts = match whole_list(plan, multipart.checksums, named, &stored) {
        Ok(parts) => parts,
        Err(wrong) => return unless_assembled(app, record, wrong).await,
    };
    match app.store.complete_multipart(&path, &multipart.id, &parts).await {
        Ok(()) => Ok(Occasion::MayHaveChanged),
        Err(error) => match error.kind {
            StorageErrorKind::NoSuchUpload => Ok(Occasion::MayHaveChanged),
            StorageErrorKind::WrongParts => {
                let wrong = "storage has other parts by now: complete again, with the list that \
                             GET parts gives";
                unless_assembled(app, record, Error::WrongParts(wrong.into())).await
            }
            _ => Err(storage_failed(app, &error)),
        },
    }
}

/// The parts are wrong, unless somebody else's completion has just made the object of them:
/// `SeaweedFS` writes it first, and takes the parts away after that.
async fn unless_assembled(
    app: &App,
    record: &UploadRecord,
    wrong: Error,
) -> Result<Occasion, Error> {
    // Nothing but a completion writes this object: no URL for it was ever signed.
    match head(app, record).await? {
        Some(_) => Ok(Occasion::MayHaveChanged),
        None => Err(wrong),
    }
}
