//! Moving an upload on: storage is asked what is there, and the record follows. A client's finalize,
//! a storage event and the sweeper all come here, in any order and as often as they like, and the
//! record converges on what storage has.
//!
//! The verdict belongs to the very bytes it was given for: the bytes are read under `If-Match` of
//! the tag that the head showed, a refused object is deleted only if it is still that version, and
//! a change of the record names the revision on which it was decided.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{
    Error, MintedKey, ObjectMeta, Stored, UploadId, UploadRecord, UploadState, VerificationFailure,
};
use crate::memory::Sought;
use crate::records::Transition;

use super::clear::clear;
use super::inspect::{Seen, head, inspect, judge};
use super::{Services, records_failed};

/// How often a verification that loses a race looks again. Every loss means that somebody else made
/// progress, and the machine has few steps.
pub(super) const MAX_ATTEMPTS: usize = 4;

/// Why an upload is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody wants to know the verdict: one that was given is given again.
    Asked,
    /// The object may have changed: a verdict stands only if it was given for what is there.
    MayHaveChanged,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The record is `ready`, `failed` or `deleted`, and that covers whatever storage has.
    Settled(UploadRecord),
    /// There is no object; the record is as it was.
    Missing(UploadRecord),
}

/// Verifies an upload.
///
/// # Errors
/// [`Error::UploadNotFound`] without a record, [`Error::Conflict`] if others kept changing it, and
/// the failures of storage and records.
pub async fn verify(
    app: &App,
    services: &Services,
    id: UploadId,
    occasion: Occasion,
    now: SystemTime,
) -> Result<Finding, Error> {
    for _ in 0..MAX_ATTEMPTS {
        let record = services.records.get(&app.name, id).await.map_err(|e| records_failed(&e))?;
        let record = record.ok_or(Error::UploadNotFound)?;
        match (Verification { app, services, record, now }).run(occasion).await {
            // Somebody else moved it on: whoever looks again finds where.
            Err(Error::Conflict) => {}
            found => return found,
        }
    }
    Err(Error::Conflict)
}

/// Gives an upload that has no verdict a good one if its object deserves it. A bad one is only told:
/// the record stays as it is, and nothing is deleted. `None` if there is no object.
///
/// # Errors
/// [`Error::Conflict`] if record or object changed meanwhile, and the failures of storage and
/// records.
pub(super) async fn accept(
    app: &App,
    services: &Services,
    record: UploadRecord,
    now: SystemTime,
) -> Result<Option<Result<UploadRecord, VerificationFailure>>, Error> {
    let Some(seen) = look_at_object(app, &record).await? else { return Ok(None) };
    if let Err(reason) = judge(app, &record.declared, &seen) {
        return Ok(Some(Err(reason)));
    }
    let mut verification = Verification { app, services, record, now };
    if verification.record.state != UploadState::Uploaded {
        verification.go(UploadState::Uploaded, None, seen.stored()).await?;
    }
    verification.go(UploadState::Ready, None, seen.stored()).await?;
    Ok(Some(Ok(verification.record)))
}

/// What storage has under the key of a record; `None` if nothing.
pub(super) async fn look_at_object(
    app: &App,
    record: &UploadRecord,
) -> Result<Option<Seen>, Error> {
    match head(app, record).await? {
        Some(meta) => inspect(app, record, meta).await,
        None => Ok(None),
    }
}

/// One attempt, on the record as it was read.
struct Verification<'a> {
    app: &'a App,
    services: &'a Services,
    record: UploadRecord,
    now: SystemTime,
}

impl Verification<'_> {
    async fn run(self, occasion: Occasion) -> Result<Finding, Error> {
        match (self.record.state, occasion) {
            (UploadState::Ready | UploadState::Deleted, Occasion::Asked) => {
                Ok(Finding::Settled(self.record))
            }
            (UploadState::Failed, Occasion::Asked) => {
                // The deletion may have failed the last time, or the process ended before it.
                if let Some(stored) = &self.record.stored {
                    self.remove(&version_of(stored)).await;
                }
                Ok(Finding::Settled(self.record))
            }
            (UploadState::Deleted, Occasion::MayHaveChanged) => self.keep_deleted().await,
            (UploadState::Ready | UploadState::Failed, Occasion::MayHaveChanged) => {
                self.compare().await
            }
            (UploadState::Pending | UploadState::Uploaded | UploadState::Orphaned, _) => {
                match head(self.app, &self.record).await? {
                    Some(meta) => self.judge(meta).await,
                    None => self.missing().await,
                }
            }
        }
    }

    /// Whatever lies under a deleted key goes; also parts, which a signed URL may have brought late.
    async fn keep_deleted(self) -> Result<Finding, Error> {
        clear(self.app, &self.record).await?;
        Ok(Finding::Settled(self.record))
    }

    /// Whether the verdict was given for what is there now.
    async fn compare(self) -> Result<Finding, Error> {
        let Some(meta) = head(self.app, &self.record).await? else { return self.missing().await };
        match &self.record.stored {
            Some(stored) if stored.covers(&meta) => {
                if self.record.state == UploadState::Failed {
                    self.remove(&meta).await;
                }
                Ok(Finding::Settled(self.record))
            }
            _ => self.judge(meta).await,
        }
    }

    /// Gives a verdict on what is there.
    async fn judge(mut self, meta: ObjectMeta) -> Result<Finding, Error> {
        let Some(seen) = inspect(self.app, &self.record, meta).await? else {
            return self.missing().await;
        };
        if self.record.state != UploadState::Uploaded {
            self.go(UploadState::Uploaded, None, seen.stored()).await?;
        }
        match judge(self.app, &self.record.declared, &seen) {
            Ok(()) => self.go(UploadState::Ready, None, seen.stored()).await?,
            Err(reason) => {
                self.go(UploadState::Failed, Some(reason), seen.stored()).await?;
                self.remove(&seen.meta).await;
            }
        }
        Ok(Finding::Settled(self.record))
    }

    /// There is no object — unless somebody who verified at the same time refused and deleted it:
    /// then that verdict is the finding.
    async fn missing(self) -> Result<Finding, Error> {
        let Self { app, services, record, .. } = self;
        let found = services.records.get(&app.name, record.key.id()).await;
        match found.map_err(|error| records_failed(&error))? {
            Some(found) if found.revision == record.revision => Ok(Finding::Missing(record)),
            _ => Err(Error::Conflict),
        }
    }

    async fn go(
        &mut self,
        to: UploadState,
        reason: Option<VerificationFailure>,
        stored: Stored,
    ) -> Result<(), Error> {
        let look_at = self.record.next_look(to, self.services.grace, self.now);
        let change = Transition {
            app: self.app.name.clone(),
            id: self.record.key.id(),
            revision: self.record.revision,
            from: self.record.state,
            to,
            reason,
            stored: Some(stored),
            look_at,
            at: self.now,
        };
        change_state(self.app, self.services, &mut self.record, change).await
    }

    /// Deletes an object that the record refuses, if it is still that version. A failure leaves it
    /// in the bucket; it is logged, the verdict stands, and the sweeper tries again.
    async fn remove(&self, meta: &ObjectMeta) {
        let path = self.app.key_prefix.path_of_minted(&self.record.key);
        if let Err(error) = self.app.store.delete(&path, Some(meta)).await {
            let (app, id) = (&self.app.name, self.record.key.id());
            tracing::warn!(%app, %id, %error, "a refused object stays");
        }
    }
}

/// Makes a record that of a deleted upload, whatever it was.
///
/// # Errors
/// As [`change_state`].
pub(super) async fn mark_deleted(
    app: &App,
    services: &Services,
    record: &mut UploadRecord,
    now: SystemTime,
) -> Result<(), Error> {
    let change = Transition {
        app: app.name.clone(),
        id: record.key.id(),
        revision: record.revision,
        from: record.state,
        to: UploadState::Deleted,
        reason: None,
        stored: None,
        look_at: record.next_look(UploadState::Deleted, services.grace, now),
        at: now,
    };
    change_state(app, services, record, change).await
}

/// Carries out a change of state, in the record store and then in the record at hand.
///
/// # Errors
/// [`Error::Conflict`] if the record is another one by now, [`Error::RecordsUnavailable`].
pub(super) async fn change_state(
    app: &App,
    services: &Services,
    record: &mut UploadRecord,
    change: Transition,
) -> Result<(), Error> {
    let changed = services.records.transition(change.clone()).await;
    // Also where it failed: then somebody else changed the record, or nobody knows.
    forget(app, services, &record.key);
    changed.map_err(|error| records_failed(&error))?;
    if change.to == UploadState::Deleted {
        services.known.deleted(change.id);
    }
    app.metrics.upload(change.to);
    record.state = change.to;
    record.reason = change.reason;
    record.stored = change.stored.or_else(|| record.stored.take());
    record.look_at = change.look_at;
    record.updated_at = change.at;
    record.revision += 1;
    Ok(())
}

/// Forgets what is remembered of an upload whose record has changed. What is kept of its object may
/// be another version by now, or its 404 be over.
pub(super) fn forget(app: &App, services: &Services, key: &MintedKey) {
    services.known.forget(key.id());
    if let Some(memory) = &services.memory {
        memory.forget(&Sought { sources: app.sources, key: key.as_str() });
    }
}

/// The version that a verdict was given for.
fn version_of(stored: &Stored) -> ObjectMeta {
    ObjectMeta {
        size: stored.size,
        etag: stored.etag.clone(),
        version: stored.version.clone(),
        ..ObjectMeta::default()
    }
}
