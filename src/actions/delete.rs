//! Deleting an image: it is served by nobody any more, and its bytes go.
//!
//! The record says so first, and for ever: it is the tombstone from which reads, events, signed
//! URLs and sweeps learn that nothing lives under this key. Then the bytes go. If the process ends
//! in between, or storage fails, the sweeper finishes it: the tombstone is due for a look.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{Caller, Error, MintedKey, ObjectKey, UploadRecord, UploadState};
use crate::records::RecordsError;

use super::clear::clear;
use super::reconcile::unowned;
use super::upload::take_call;
use super::verify::{forget, mark_deleted};
use super::{Services, records_failed};

/// How often a deletion that loses a race looks again. Every loss means that somebody else brought
/// the upload a step further, and none of its few steps leads back out of `deleted`.
const MAX_ATTEMPTS: usize = 8;

/// Deletes an image, whatever state its upload is in. Safe to repeat.
///
/// # Errors
/// [`Error::NotFound`] for an unknown image and for one that the caller has no right to alike;
/// [`Error::Forbidden`] for a credential that gives no right to delete; [`Error::InvalidRequest`]
/// where the application names a key that was not made here; [`Error::RateLimited`],
/// [`Error::RecordsUnavailable`]. The failures of storage: then the image is served no more, and its
/// bytes go later.
pub async fn delete(
    app: &App,
    services: &Services,
    key: &ObjectKey,
    caller: &Caller,
    now: SystemTime,
) -> Result<(), Error> {
    let Some(key) = key.minted() else { return Err(refuse_foreign(caller)) };
    let record = bury(app, services, key, caller, now).await?;
    clear(app, &record).await
}

/// Makes the record a tombstone, and gives it.
async fn bury(
    app: &App,
    services: &Services,
    key: &MintedKey,
    caller: &Caller,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    for attempt in 0..MAX_ATTEMPTS {
        let found = services.records.get(&app.name, key.id()).await;
        let buried = match found.map_err(|error| records_failed(&error))? {
            Some(record) => {
                check_right(caller, &record)?;
                if attempt == 0 {
                    take_call(app, key.id())?;
                }
                bury_recorded(app, services, record, now).await
            }
            None => bury_unrecorded(app, services, key, caller, now).await,
        };
        match buried {
            // Somebody else moved it on: look where.
            Err(Error::Conflict) => {}
            ended => return ended,
        }
    }
    Err(Error::Conflict)
}

/// Whether the caller may delete an image; what is another's is as if it were not there.
fn check_right(caller: &Caller, record: &UploadRecord) -> Result<(), Error> {
    let owner = record.owner.as_ref();
    match (caller.may_act_for(owner), caller.may_delete_of(owner)) {
        (false, _) => Err(Error::NotFound),
        (true, false) => Err(Error::Forbidden),
        (true, true) => Ok(()),
    }
}

async fn bury_recorded(
    app: &App,
    services: &Services,
    mut record: UploadRecord,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    if record.state == UploadState::Deleted {
        return Ok(record);
    }
    mark_deleted(app, services, &mut record, now).await?;
    Ok(record)
}

/// Makes a tombstone where there is no record: one that was lost with its database. Whose the image
/// was, nobody knows any more, so only the application may have it gone.
async fn bury_unrecorded(
    app: &App,
    services: &Services,
    key: &MintedKey,
    caller: &Caller,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    if !caller.may_delete_of(None) {
        return Err(Error::NotFound);
    }
    let mut record = unowned(app, key.clone(), now).ok_or(Error::NotFound)?;
    record.state = UploadState::Deleted;
    record.look_at = record.next_look(UploadState::Deleted, services.grace, now);
    let inserted = services.records.insert(record.clone(), None).await;
    forget(app, services, key);
    match inserted {
        Ok(()) => {
            services.known.deleted(key.id());
            app.metrics.upload(UploadState::Deleted);
            Ok(record)
        }
        // It has one since a moment ago.
        Err(RecordsError::Duplicate) => Err(Error::Conflict),
        Err(error) => Err(records_failed(&error)),
    }
}

/// Nothing is recorded of what other systems named, so nothing could remember that it was deleted,
/// and the CDN's copy would be served on.
fn refuse_foreign(caller: &Caller) -> Error {
    if !caller.may_delete_of(None) {
        return Error::NotFound;
    }
    Error::InvalidRequest(
        "this key was not made here, so its deletion could not be remembered: delete the object \
         in storage, and invalidate it at the CDN"
            .to_owned(),
    )
}
