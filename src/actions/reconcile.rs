//! Comparing a bucket with the records, object by object: which were uploaded here and have no
//! record, or one that does not know of them. That is what is left after a database was restored
//! from a backup.
//!
//! Nothing is ever deleted here, and no verdict but a good one is recorded: what a lost record knew
//! is lost, and a photo must not be.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{
    Declared, Discrepancy, Error, MintedKey, UploadRecord, UploadState, VerificationFailure,
};
use crate::records::RecordsError;
use crate::storage::Listed;

use super::inspect::judge;
use super::verify::{accept, look_at_object};
use super::{Services, records_failed};

/// What is done about what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is told.
    Report,
    /// It gets a record, or the state that it should have, if the app's policy lets it pass.
    Adopt,
}

/// Compares an object of a listing with its record. `None` where there is nothing to say: the two
/// agree, or the object is not the gateway's, or too young to tell.
///
/// # Errors
/// The failures of storage and records.
pub async fn reconcile(
    app: &App,
    services: &Services,
    object: &Listed,
    remedy: Remedy,
    now: SystemTime,
) -> Result<Option<Discrepancy>, Error> {
    let Some(key) = minted(app, services, object) else { return Ok(None) };
    // What is on its way yet has others who look after it.
    if key.id().minted_at() + services.grace > now {
        return Ok(None);
    }
    let record = services.records.get(&app.name, key.id()).await;
    let found = match (record.map_err(|error| records_failed(&error))?, remedy) {
        (None, Remedy::Report) => Some(Discrepancy::Unrecorded),
        (None, Remedy::Adopt) => adopt(app, services, key.clone(), now).await?,
        (Some(record), _) if !is_unfinished(&record, services, now) => None,
        (Some(_), Remedy::Report) => Some(Discrepancy::Unfinished),
        (Some(record), Remedy::Adopt) => match accept(app, services, record, now).await {
            Ok(Some(Ok(_))) => Some(Discrepancy::Verified),
            Ok(Some(Err(reason))) => Some(refused(app, &key, reason)),
            // Gone since it was listed, or somebody else is at it.
            Ok(None) | Err(Error::Conflict) => None,
            Err(error) => return Err(error),
        },
    };
    if let Some(discrepancy) = found {
        let (app, id) = (&app.name, key.id());
        tracing::info!(%app, %id, found = discrepancy.label(), "bucket and records differ");
    }
    Ok(found)
}

/// The key of an object that was uploaded by way of this gateway.
fn minted(app: &App, services: &Services, object: &Listed) -> Option<MintedKey> {
    let name = object.path.as_str().strip_prefix(app.key_prefix.as_str())?;
    MintedKey::verify(&services.mint_secrets, &app.name, name)
}

/// Whether the record should have known of the object by now.
fn is_unfinished(record: &UploadRecord, services: &Services, now: SystemTime) -> bool {
    match record.state {
        UploadState::Orphaned => true,
        UploadState::Pending => record.session_expires_at + services.grace <= now,
        UploadState::Uploaded => record.updated_at + services.grace <= now,
        UploadState::Ready | UploadState::Failed | UploadState::Deleted => false,
    }
}

/// Gives an object a record, if it passes. Whose it is, nobody knows any more.
async fn adopt(
    app: &App,
    services: &Services,
    key: MintedKey,
    now: SystemTime,
) -> Result<Option<Discrepancy>, Error> {
    let Some(mut record) = unowned(app, key, now) else { return Ok(None) };
    let seen = match look_at_object(app, &record).await {
        Ok(Some(seen)) => seen,
        Ok(None) | Err(Error::Conflict) => return Ok(None),
        Err(error) => return Err(error),
    };
    if let Err(reason) = judge(app, &record.declared, &seen) {
        return Ok(Some(refused(app, &record.key, reason)));
    }
    record.state = UploadState::Ready;
    record.stored = Some(seen.stored());
    record.look_at = record.next_look(UploadState::Ready, services.grace, now);
    let id = record.key.id();
    match services.records.insert(record, None).await {
        Ok(()) => {
            // A read may have found that there is no record.
            services.known.forget(id);
            app.metrics.upload(UploadState::Ready);
            Ok(Some(Discrepancy::Adopted))
        }
        Err(RecordsError::Duplicate) => Ok(None),
        Err(error) => Err(records_failed(&error)),
    }
}

/// What the key alone tells of an upload.
pub(super) fn unowned(app: &App, key: MintedKey, now: SystemTime) -> Option<UploadRecord> {
    let minted_at = key.id().minted_at();
    let end = minted_at + app.upload_url_life();
    Some(UploadRecord {
        app: app.name.clone(),
        owner: None,
        state: UploadState::Pending,
        reason: None,
        declared: Declared { media_type: key.media_type()?, size: None, sha256: None },
        key,
        stored: None,
        multipart: None,
        created_at: minted_at,
        url_expires_at: end,
        session_expires_at: end,
        updated_at: now,
        revision: 0,
        look_at: None,
    })
}

fn refused(app: &App, key: &MintedKey, reason: VerificationFailure) -> Discrepancy {
    let (app, id, reason) = (&app.name, key.id(), reason.as_str());
    tracing::warn!(%app, %id, reason, "an object without a verdict would be refused; it stays");
    Discrepancy::Refused
}
