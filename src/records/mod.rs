//! The durable records of uploads: the trait that every engine implements.

mod sqlite;
mod traced;

use std::collections::HashMap;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::domain::{
    AppName, IdempotencyClaim, Stored, UploadId, UploadRecord, UploadState, VerificationFailure,
};

pub use sqlite::{SqliteRecords, Tuning, back_up};
pub use traced::TracedRecords;

/// A compare-and-set change of an upload's state.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The app.
    pub app: AppName,
    /// The upload.
    pub id: UploadId,
    /// The revision that it must have: that of the record on which the change was decided.
    pub revision: u32,
    /// The state that it must be in.
    pub from: UploadState,
    /// The state that it goes to.
    pub to: UploadState,
    /// Why it failed, if it did; `None` clears what is recorded.
    pub reason: Option<VerificationFailure>,
    /// What storage has; `None` leaves what is recorded.
    pub stored: Option<Stored>,
    /// When the sweeper is to look at the object.
    pub look_at: Option<SystemTime>,
    /// When.
    pub at: SystemTime,
}

/// Another time at which the sweeper is to look at an object.
#[derive(Debug, Clone)]
pub struct Look {
    /// The app.
    pub app: AppName,
    /// The upload.
    pub id: UploadId,
    /// The revision that it must have.
    pub revision: u32,
    /// The time; `None` for never again.
    pub look_at: Option<SystemTime>,
}

/// What was done under an [`IdempotencyClaim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The digest of the request.
    pub request: [u8; 32],
    /// The upload.
    pub id: UploadId,
}

/// An app's uploads whose time for a look has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The earliest of those times.
    pub since: SystemTime,
    /// The uploads, the earliest first.
    pub uploads: Vec<UploadId>,
}

/// A new upload URL for an upload that is still pending.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The app.
    pub app: AppName,
    /// The upload.
    pub id: UploadId,
    /// When the new URL ends. An earlier URL that ends later keeps its time in the record.
    pub url_expires_at: SystemTime,
    /// When.
    pub at: SystemTime,
}

/// Why the record store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// There is a record with this id already: mint another. Or the claim is taken by now: look at
    /// what was done under it.
    #[error("an upload with this id, or under this claim, exists already")]
    Duplicate,
    /// The record is not in the state that the change starts from, or does not exist.
    #[error("the upload is not in the expected state")]
    Conflict,
    /// The state machine does not have this transition.
    #[error(transparent)]
    InvalidTransition(#[from] crate::domain::InvalidTransition),
    /// Another process has the store. The text is for the operator.
    #[error("the record store is in use: {0}")]
    InUse(String),
    /// The store is full, locked, broken, closed, or too far behind. The text is for the log.
    ///
    /// The change is not durable as far as the store knows; after a failure of the disk it may
    /// still turn out to have been made.
    #[error("the record store is unavailable: {0}")]
    Unavailable(String),
}

/// A durable store of upload records.
///
/// What a call has answered survives `kill -9` and power loss, and every later read shows it. A call
/// that was dropped before its answer may still be carried out. Times are kept to the millisecond.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// How many changes wait to be committed. 0 where they do not queue.
    fn waiting_writes(&self) -> usize {
        0
    }

    /// Adds a record, and with it what it was asked for under, if the claim is not taken.
    ///
    /// # Errors
    /// [`RecordsError::Duplicate`], [`RecordsError::Unavailable`].
    async fn insert(
        &self,
        record: UploadRecord,
        claim: Option<IdempotencyClaim>,
    ) -> Result<(), RecordsError>;

    /// What was done under the claim of that scope, if it has not expired.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn claimed(
        &self,
        scope: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<Claimed>, RecordsError>;

    /// Reads a record; `None` if this app has none of that id.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError>;

    /// Changes the state of a record, if it is of the revision and in the state that the change
    /// starts from.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`], [`RecordsError::InvalidTransition`],
    /// [`RecordsError::Unavailable`].
    async fn transition(&self, change: Transition) -> Result<(), RecordsError>;

    /// Records that a pending upload gets another URL.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`] if it is not pending any more, [`RecordsError::Unavailable`].
    async fn renew(&self, renewal: Renewal) -> Result<(), RecordsError>;

    /// Sets the time of the next look at an object, if the record has not changed. The revision stays.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`], [`RecordsError::Unavailable`].
    async fn look_again(&self, look: Look) -> Result<(), RecordsError>;

    /// The uploads of every app whose time for a look is not later than `now`: of each app the
    /// earliest, at most `limit`. Apps of which nothing is due are left out.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn due(
        &self,
        now: SystemTime,
        limit: usize,
    ) -> Result<HashMap<AppName, Due>, RecordsError>;

    /// The records of those of the app's uploads that are due at `now`, in the order in which they are
    /// named. Others may have been looked at since they were found due.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn still_due(
        &self,
        app: &AppName,
        uploads: &[UploadId],
        now: SystemTime,
    ) -> Result<Vec<UploadRecord>, RecordsError>;

    /// The ids of deleted uploads whose record changed at `since` or later, in the order of those
    /// changes, each with its time.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn deleted_since(
        &self,
        since: SystemTime,
        limit: u32,
    ) -> Result<Vec<(UploadId, SystemTime)>, RecordsError>;

    /// Forgets at most `limit` claims that expired before `now`, and says how many there were.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn forget_claims(&self, now: SystemTime, limit: u32) -> Result<u32, RecordsError>;

    /// Commits what is queued and closes the store. Calls after this are unavailable.
    async fn close(&self);
}
