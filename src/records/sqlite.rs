//! Upload records in an SQLite database: one file, one writer thread, a few readers.
//!
//! A commit waits for the disk, and SQLite takes one writer at a time. So everything that waits is
//! committed as one group ([`writer`]), and each caller is answered when its group is on disk. Reads
//! go through connections of their own ([`readers`]) and never wait for the writer (write-ahead
//! log).

mod open;
mod readers;
mod rows;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::OptionalExtension as _;

use self::readers::Readers;
use self::writer::{Write, Writer};
use super::{Records, RecordsError, Renewal, Transition};
use crate::domain::{AppName, UploadId, UploadRecord};

/// Upload records in one SQLite database, which no other gateway process may use meanwhile.
pub struct SqliteRecords {
    writer: Writer,
    readers: Readers,
}

impl SqliteRecords {
    /// Opens the database, creating or migrating it where needed. Blocks: for start-up.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`], with a text for the operator: no such directory, another
    /// process has the database open, it is of a newer version, or not a database.
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
        let database = open::database(path)?;
        let readers = Readers::open(&database.path)?;
        let writer = Writer::start(database, Box::new(on_commit))?;
        Ok(Self { writer, readers })
    }
}

#[async_trait]
impl Records for SqliteRecords {
    async fn insert(&self, record: UploadRecord) -> Result<(), RecordsError> {
        let values = rows::insert_values(&record)?;
        let write = Write { sql: rows::INSERT, values, if_unchanged: RecordsError::Duplicate };
        self.writer.write(write).await
    }

    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError> {
        let app = app.clone();
        let read = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(rows::SELECT)?;
            let parameters = (id.to_bytes(), app.as_str());
            statement.query_row(parameters, |row| Ok(rows::record(row, &app, id))).optional()
        };
        self.readers.read(read).await?.transpose()
    }

    async fn transition(&self, change: Transition) -> Result<(), RecordsError> {
        change.from.transition(change.to)?;
        let (sql, values) = rows::transition(&change)?;
        self.writer.write(Write { sql, values, if_unchanged: RecordsError::Conflict }).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<(), RecordsError> {
        let values = rows::renewal_values(&renewal)?;
        let write = Write { sql: rows::RENEW, values, if_unchanged: RecordsError::Conflict };
        self.writer.write(write).await
    }

    async fn close(&self) {
        // The writer last: the last connection to leave empties the write-ahead log.
        self.readers.close().await;
        self.writer.close().await;
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
