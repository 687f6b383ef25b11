//! Upload records in an SQLite database: one file, one writer thread, a few readers.
//!
//! A commit waits for the disk, and SQLite takes one writer at a time. So everything that waits is
//! committed as one group ([`writer`]), and each caller is answered when its group is on disk. Reads
//! go through connections of their own ([`readers`]) and never wait for the writer (write-ahead
//! log).

mod backup;
mod due;
mod open;
mod readers;
mod rows;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use self::readers::Readers;
use self::writer::{MAX_GROUP, Statement, Write, Writer};
use super::{Claimed, Due, Look, Records, RecordsError, Renewal, Transition};
use crate::domain::{AppName, IdempotencyClaim, UploadId, UploadRecord};

pub use self::backup::back_up;

/// Upload records in one SQLite database, which no other gateway process may write meanwhile.
pub struct SqliteRecords {
    /// `None` if it was opened for reading.
    writer: Option<Writer>,
    readers: Readers,
}

/// How a database is written. The default is what a gateway uses; the rest is there to measure what
/// that costs, and to show that a test of durability can fail.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Whether a commit waits for the disk.
    pub durable: bool,
    /// How many writes one commit may hold.
    pub max_group: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { durable: true, max_group: MAX_GROUP }
    }
}

impl SqliteRecords {
    /// Opens the database, creating or migrating it where needed. Blocks: for start-up.
    ///
    /// # Errors
    /// [`RecordsError::InUse`] if another process has the database open, and
    /// [`RecordsError::Unavailable`], with a text for the operator: no such directory, it is of a
    /// newer version, or not a database.
    pub fn open(path: &Path) -> Result<Self, RecordsError> {
        Self::open_observed(path, |_, _| {})
    }

    /// The same; `on_commit` is told of every group that was committed: how many writes it held, and
    /// how long it took from its beginning until it was on disk. It runs on the writer's thread.
    ///
    /// # Errors
    /// As [`SqliteRecords::open`].
    pub fn open_observed(
        path: &Path,
        on_commit: impl FnMut(usize, Duration) + Send + 'static,
    ) -> Result<Self, RecordsError> {
        Self::open_tuned(path, Tuning::default(), on_commit)
    }

    /// The same, written in another way.
    ///
    /// # Errors
    /// As [`SqliteRecords::open`].
    pub fn open_tuned(
        path: &Path,
        tuning: Tuning,
        on_commit: impl FnMut(usize, Duration) + Send + 'static,
    ) -> Result<Self, RecordsError> {
        let database = open::database(path, tuning.durable)?;
        let readers = Readers::open(&database.path)?;
        let writer = Writer::start(database, tuning.max_group, Box::new(on_commit))?;
        Ok(Self { writer: Some(writer), readers })
    }

    /// Opens a database that exists for reading, also beside the process that writes it: it takes
    /// no lock and migrates nothing. Every change is refused. Blocks.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`], with a text for the operator: there is no such database, or it
    /// is not of this version.
    pub fn open_for_reading(path: &Path) -> Result<Self, RecordsError> {
        let path = open::existing(path)?;
        Ok(Self { writer: None, readers: Readers::open(&path)? })
    }

    async fn write(&self, write: Write) -> Result<usize, RecordsError> {
        match &self.writer {
            Some(writer) => writer.write(write).await,
            None => Err(RecordsError::Unavailable("it was opened for reading".to_owned())),
        }
    }

    /// Changes one row that must be as the statement expects.
    async fn change(&self, statement: Statement) -> Result<(), RecordsError> {
        let if_unchanged = Some(RecordsError::Conflict);
        self.write(Write { first: statement, then: None, if_unchanged }).await.map(drop)
    }

    /// Reads all rows of a statement.
    async fn list<T: Send + 'static>(
        &self,
        sql: &'static str,
        values: Vec<Value>,
        row: fn(&Row<'_>) -> Result<T, RecordsError>,
    ) -> Result<Vec<Result<T, RecordsError>>, RecordsError> {
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params_from_iter(values), |taken| Ok(row(taken)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        self.readers.read(read).await
    }
}

#[async_trait]
impl Records for SqliteRecords {
    async fn insert(
        &self,
        record: UploadRecord,
        claim: Option<IdempotencyClaim>,
    ) -> Result<(), RecordsError> {
        let mut values = rows::insert_values(&record)?;
        let write = match claim {
            None => Write {
                first: (rows::INSERT, values),
                then: None,
                if_unchanged: Some(RecordsError::Duplicate),
            },
            Some(claim) => {
                values.extend(rows::unclaimed_values(&claim, record.created_at)?);
                Write {
                    first: (rows::INSERT_UNCLAIMED, values),
                    then: Some((rows::CLAIM, rows::claim_values(&claim, record.key.id())?)),
                    if_unchanged: Some(RecordsError::Duplicate),
                }
            }
        };
        self.write(write).await.map(drop)
    }

    async fn claimed(
        &self,
        scope: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<Claimed>, RecordsError> {
        let values = rows::scope_values(scope, now)?;
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(rows::CLAIMED)?;
            statement.query_row(params_from_iter(values), rows::claimed).optional()
        };
        self.readers.read(read).await
    }

    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError> {
        let app = app.clone();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(rows::SELECT)?;
            let parameters = (id.to_bytes(), app.as_str());
            statement.query_row(parameters, |row| Ok(rows::record(row))).optional()
        };
        self.readers.read(read).await?.transpose()
    }

    async fn transition(&self, change: Transition) -> Result<(), RecordsError> {
        change.from.transition(change.to)?;
        self.change(rows::transition(&change)?).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<(), RecordsError> {
        self.change((rows::RENEW, rows::renewal_values(&renewal)?)).await
    }

    async fn look_again(&self, look: Look) -> Result<(), RecordsError> {
        self.change((rows::LOOK_AGAIN, rows::look_values(&look)?)).await
    }

    async fn due(
        &self,
        now: SystemTime,
        limit: usize,
    ) -> Result<HashMap<AppName, Due>, RecordsError> {
        due::of_all_apps(&self.readers, now, limit).await
    }

    async fn still_due(
        &self,
        app: &AppName,
        uploads: &[UploadId],
        now: SystemTime,
    ) -> Result<Vec<UploadRecord>, RecordsError> {
        due::still(&self.readers, app, uploads, now).await
    }

    async fn deleted_since(
        &self,
        since: SystemTime,
        limit: u32,
    ) -> Result<Vec<(UploadId, SystemTime)>, RecordsError> {
        let deleted = self.list(rows::DELETED, rows::until_values(since, limit)?, rows::deleted);
        deleted.await?.into_iter().collect()
    }

    async fn forget_claims(&self, now: SystemTime, limit: u32) -> Result<u32, RecordsError> {
        let forget = (rows::FORGET_CLAIMS, rows::until_values(now, limit)?);
        let write = Write { first: forget, then: None, if_unchanged: None };
        let forgotten = self.write(write).await?;
        Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn waiting_writes(&self) -> usize {
        self.writer.as_ref().map_or(0, Writer::waiting)
    }

    async fn close(&self) {
        // The writer last: the last connection to leave empties the write-ahead log.
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}

/// What every call after the end of the store is told.
fn closed() -> RecordsError {
    RecordsError::Unavailable("it was closed".to_owned())
}

/// A failure of SQLite, for the log.
fn unavailable(error: &rusqlite::Error) -> RecordsError {
    RecordsError::Unavailable(error.to_string())
}
