//! The durable records of uploads: the trait that every engine implements.

mod sqlite;

use std::time::SystemTime;

use async_trait::async_trait;

use crate::domain::{AppName, Stored, UploadId, UploadRecord, UploadState, VerificationFailure};

pub use sqlite::SqliteRecords;

/// A compare-and-set change of an upload's state.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The app.
    pub app: AppName,
    /// The upload.
    pub id: UploadId,
    /// The state that it must be in.
    pub from: UploadState,
    /// The state that it goes to.
    pub to: UploadState,
    /// Why it failed, if it did; `None` clears what is recorded.
    pub reason: Option<VerificationFailure>,
    /// What storage has; `None` leaves what is recorded.
    pub stored: Option<Stored>,
    /// When.
    pub at: SystemTime,
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
    /// There is a record with this id already: mint another.
    #[error("an upload with this id exists already")]
    Duplicate,
    /// The record is not in the state that the change starts from, or does not exist.
    #[error("the upload is not in the expected state")]
    Conflict,
    /// The state machine does not have this transition.
    #[error(transparent)]
    InvalidTransition(#[from] crate::domain::InvalidTransition),
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
    /// Adds a record.
    ///
    /// # Errors
    /// [`RecordsError::Duplicate`], [`RecordsError::Unavailable`].
    async fn insert(&self, record: UploadRecord) -> Result<(), RecordsError>;

    /// Reads a record; `None` if this app has none of that id.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError>;

    /// Changes the state of a record, if it is in the state that the change starts from.
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

    /// Commits what is queued and closes the store. Calls after this are unavailable.
    async fn close(&self);
}
