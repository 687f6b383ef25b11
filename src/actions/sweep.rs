//! One look of the sweeper at one upload. The sweeper comes when nobody else has come: after an
//! upload's session for one that nobody finalized, and once more when the last signed URL has run
//! out, for what a URL could still write under a verdict.
//!
//! [`plan`] decides, from the record and what storage shows; [`look`] carries it out. Every change
//! of a record names the revision that was looked at, and an object is deleted only if it is still
//! the version that was seen: whoever comes at the same time is not undone.

use std::time::{Duration, SystemTime};

use crate::apps::App;
use crate::domain::{Error, LookOutcome, ObjectMeta, UploadRecord, UploadState};
use crate::records::{Look, RecordsError, Transition};

use super::clear::clear;
use super::inspect::{failed, head};
use super::multipart::abort;
use super::verify::{Finding, Occasion, change_state, verify};
use super::{Services, records_failed};

/// The longest pause between two looks at an upload whose looks keep failing.
const LONGEST_RETRY: Duration = Duration::from_secs(6 * 3600);

/// What storage shows under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing.
    Missing,
    /// What the record's verdict was given for.
    Same,
    /// Something else.
    Other,
}

/// What is to be done about an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Its object has to be verified.
    Verify,
    /// Its object should be gone, and goes.
    Remove,
    /// The object never came, and is not expected any more.
    Orphan,
    /// Nothing, until the next look; `None` if nothing can happen to it any more.
    Rest(Option<SystemTime>),
}

impl Plan {
    /// The word in the output of `safelight sweep --dry-run`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Remove => "remove",
            Self::Orphan => "orphan",
            Self::Rest(Some(_)) => "wait",
            Self::Rest(None) => "done",
        }
    }
}

/// Decides what a look at an upload leads to.
#[must_use]
pub fn plan(record: &UploadRecord, sight: Sight, grace: Duration, now: SystemTime) -> Plan {
    let rest = Plan::Rest(record.last_look(grace, now));
    match (record.state, sight) {
        (UploadState::Pending, Sight::Missing) => {
            let end = record.session_expires_at + grace;
            if end > now { Plan::Rest(Some(end)) } else { Plan::Orphan }
        }
        // It was there, and went before there was a verdict: as if it had never come.
        (UploadState::Uploaded, Sight::Missing) => Plan::Orphan,
        (
            UploadState::Pending | UploadState::Uploaded | UploadState::Orphaned,
            Sight::Same | Sight::Other,
        )
        | (UploadState::Ready | UploadState::Failed, Sight::Other) => Plan::Verify,
        (UploadState::Failed, Sight::Same) | (UploadState::Deleted, Sight::Same | Sight::Other) => {
            Plan::Remove
        }
        (UploadState::Ready, Sight::Same | Sight::Missing)
        | (UploadState::Orphaned | UploadState::Failed | UploadState::Deleted, Sight::Missing) => {
            rest
        }
    }
}

/// Looks at an upload, and says what would be done. Changes nothing.
///
/// # Errors
/// The failures of storage.
pub async fn preview(
    app: &App,
    services: &Services,
    record: &UploadRecord,
    now: SystemTime,
) -> Result<Plan, Error> {
    let meta = head(app, record).await?;
    Ok(plan(record, sight(record, meta.as_ref()), services.grace, now))
}

/// Looks at an upload whose time for a look has come, and does what is to be done. Where that
/// fails, another look follows: after `retry` at first, and after longer and longer pauses.
pub async fn look(
    app: &App,
    services: &Services,
    record: UploadRecord,
    retry: Duration,
    now: SystemTime,
) -> LookOutcome {
    let again = Look {
        app: app.name.clone(),
        id: record.key.id(),
        revision: record.revision,
        look_at: Some(retry_at(&record, services.grace, retry, now)),
    };
    let outcome = match (Sweep { app, services, now, retry_at: again.look_at }).run(record).await {
        Ok(outcome) => outcome,
        Err(Error::Conflict | Error::UploadNotFound) => LookOutcome::Contended,
        Err(Error::RecordsUnavailable | Error::Internal) => LookOutcome::RecordsFailed,
        Err(_) => LookOutcome::StorageFailed,
    };
    if outcome.is_failure() || outcome == LookOutcome::Contended {
        // A record that has changed has another time for a look by now, and one that cannot be
        // written stays due: none is lost.
        if let Err(error @ RecordsError::Unavailable(_)) = services.records.look_again(again).await
        {
            tracing::error!(app = %app.name, %error, "a look cannot be put off");
        }
    }
    outcome
}

/// When to look again after a failure: after as long as the look is overdue, within bounds. So each
/// pause is about twice the one before, and nothing has to be counted.
fn retry_at(
    record: &UploadRecord,
    grace: Duration,
    shortest: Duration,
    now: SystemTime,
) -> SystemTime {
    let expected = match record.state {
        UploadState::Pending => record.session_expires_at + grace,
        UploadState::Uploaded => record.updated_at,
        UploadState::Ready | UploadState::Failed | UploadState::Orphaned | UploadState::Deleted => {
            record.url_expires_at + grace
        }
    };
    let overdue = now.duration_since(expected.max(record.updated_at)).unwrap_or_default();
    now + overdue.min(LONGEST_RETRY).max(shortest)
}

fn sight(record: &UploadRecord, meta: Option<&ObjectMeta>) -> Sight {
    match (meta, &record.stored) {
        (None, _) => Sight::Missing,
        (Some(meta), Some(stored)) if stored.covers(meta) => Sight::Same,
        (Some(_), _) => Sight::Other,
    }
}

/// A look that is being taken.
struct Sweep<'a> {
    app: &'a App,
    services: &'a Services,
    now: SystemTime,
    /// When to look again at something that is not finished yet.
    retry_at: Option<SystemTime>,
}

impl Sweep<'_> {
    async fn run(&self, record: UploadRecord) -> Result<LookOutcome, Error> {
        let meta = head(self.app, &record).await?;
        match plan(&record, sight(&record, meta.as_ref()), self.services.grace, self.now) {
            Plan::Verify => self.verify(&record).await,
            Plan::Orphan => self.orphan(record).await,
            Plan::Remove => {
                self.remove(&record, meta.as_ref()).await?;
                self.rest(&record, self.last_look(&record)).await?;
                Ok(LookOutcome::Removed)
            }
            Plan::Rest(until) => {
                self.rest(&record, until).await?;
                if record.state == UploadState::Ready && meta.is_none() {
                    let (app, id) = (&self.app.name, record.key.id());
                    tracing::warn!(%app, %id, "the object of a ready upload is gone");
                    return Ok(LookOutcome::Missing);
                }
                Ok(LookOutcome::Unchanged)
            }
        }
    }

    async fn verify(&self, record: &UploadRecord) -> Result<LookOutcome, Error> {
        let Self { app, services, now, .. } = self;
        let id = record.key.id();
        match verify(app, services, id, Occasion::MayHaveChanged, *now).await? {
            Finding::Settled(found) => Ok(match found.state {
                UploadState::Ready => LookOutcome::Ready,
                UploadState::Failed => LookOutcome::Failed,
                UploadState::Pending
                | UploadState::Uploaded
                | UploadState::Orphaned
                | UploadState::Deleted => LookOutcome::Unchanged,
            }),
            // It went between two looks.
            Finding::Missing(_) => Err(Error::Conflict),
        }
    }

    /// Parts that storage keeps are paid for: they go with the hope for the object. The record says
    /// so first, and is not done before they are gone.
    async fn orphan(&self, mut record: UploadRecord) -> Result<LookOutcome, Error> {
        let last_look = self.last_look(&record);
        let change = Transition {
            app: self.app.name.clone(),
            id: record.key.id(),
            revision: record.revision,
            from: record.state,
            to: UploadState::Orphaned,
            reason: None,
            stored: None,
            look_at: if record.multipart.is_some() { self.retry_at } else { last_look },
            at: self.now,
        };
        change_state(self.app, self.services, &mut record, change).await?;
        self.rest(&record, last_look).await?;
        Ok(LookOutcome::Orphaned)
    }

    /// Deletes what lies under a key that should have none: under a deleted one whatever it is,
    /// else only the version that was seen.
    async fn remove(&self, record: &UploadRecord, seen: Option<&ObjectMeta>) -> Result<(), Error> {
        if record.state == UploadState::Deleted {
            return clear(self.app, record).await;
        }
        let path = self.app.key_prefix.path_of_minted(&record.key);
        let deleted = self.app.store.delete(&path, seen).await;
        deleted.map_err(|error| failed(self.app, &error))
    }

    /// Nothing is left to do now. Parts of a file that will not be assembled do not stay at storage.
    async fn rest(&self, record: &UploadRecord, look_at: Option<SystemTime>) -> Result<(), Error> {
        if matches!(record.state, UploadState::Orphaned | UploadState::Deleted) {
            abort(self.app, record).await.map_err(|error| failed(self.app, &error))?;
        }
        if record.look_at == look_at {
            return Ok(());
        }
        let (app, id, revision) = (self.app.name.clone(), record.key.id(), record.revision);
        let look = Look { app, id, revision, look_at };
        self.services.records.look_again(look).await.map_err(|error| records_failed(&error))
    }

    fn last_look(&self, record: &UploadRecord) -> Option<SystemTime> {
        record.last_look(self.services.grace, self.now)
    }
}

#[cfg(test)]
mod tests;
