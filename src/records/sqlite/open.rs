//! Opening a database file: the lock, the settings of a connection, the migrations.

use std::cmp::Ordering;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::RecordsError;

refinery::embed_migrations!("src/records/sqlite/migrations");

/// How long a connection waits for a lock. Only tools of an operator (a shell, a backup) can hold
/// one against the writer; readers wait for nobody but a recovery after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this after a burst, in bytes.
const LOG_SIZE_LIMIT: u32 = 64 << 20;

/// An open database, before its writer runs.
pub(super) struct Database {
    /// The file, without symbolic links.
    pub(super) path: PathBuf,
    /// The connection that writes.
    pub(super) connection: Connection,
    /// Held as long as anything is written.
    pub(super) lock: File,
}

/// Locks, opens and migrates a database. If it is durable, each commit waits for the disk.
pub(super) fn database(path: &Path, durable: bool) -> Result<Database, RecordsError> {
    let path = resolve(path)?;
    let lock = lock(&path)?;
    let refused = |error: &dyn std::fmt::Display| {
        RecordsError::Unavailable(format!("cannot open {}: {error}", path.display()))
    };
    let mut connection = writing_connection(&path, durable).map_err(|error| refused(&error))?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| refused(&error))?;
    if mode != "wal" {
        return Err(refused(&"this file system has no write-ahead log: use a local disk"));
    }
    migrations::runner().run(&mut connection).map_err(|error| {
        RecordsError::Unavailable(format!("cannot migrate {}: {error}", path.display()))
    })?;
    Ok(Database { path, connection, lock })
}

/// The name of a database that exists and has the tables of this version.
pub(super) fn existing(path: &Path) -> Result<PathBuf, RecordsError> {
    let refused = |error: &dyn std::fmt::Display| {
        RecordsError::Unavailable(format!("cannot read {}: {error}", path.display()))
    };
    let real = path.canonicalize().map_err(|error| refused(&error))?;
    let connection = reading_connection(&real).map_err(|error| refused(&error))?;
    let found: i32 = connection
        .query_row("SELECT MAX(version) FROM refinery_schema_history", [], |row| row.get(0))
        .map_err(|error| refused(&error))?;
    let runner = migrations::runner();
    let known = runner.get_migrations().iter().map(refinery::Migration::version);
    match known.max().unwrap_or_default().cmp(&found) {
        Ordering::Equal => Ok(real),
        Ordering::Greater => Err(refused(&"it is of an older version: start the gateway once")),
        Ordering::Less => Err(refused(&"it is of a newer version: use that program")),
    }
}

/// A connection that only reads.
pub(super) fn reading_connection(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn writing_connection(path: &Path, durable: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // FULL is not only consistent but durable: each commit waits for the disk.
    connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "OFF" })?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_LIMIT)?;
    Ok(connection)
}

/// The one name of the file, so that two names of it do not have two locks.
fn resolve(path: &Path) -> Result<PathBuf, RecordsError> {
    let file = path.file_name().ok_or_else(|| {
        RecordsError::Unavailable(format!("{} is not the name of a file", path.display()))
    })?;
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    // It does not exist yet; its directory must. A directory made here could hide that the volume
    // which should be mounted there is not.
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = directory.canonicalize().map_err(|error| {
        RecordsError::Unavailable(format!(
            "the directory {} of the database cannot be used: {error}",
            directory.display()
        ))
    })?;
    Ok(directory.join(file))
}

/// Takes the lock that keeps a second gateway off the database. It is a file of its own because
/// closing any handle of the database file would drop SQLite's locks on it (POSIX), and it is never
/// deleted because two processes could then hold locks on two files of that name.
fn lock(database: &Path) -> Result<File, RecordsError> {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.map_err(|error| {
        RecordsError::Unavailable(format!("cannot open {}: {error}", path.display()))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RecordsError::InUse(format!(
            "{} is in use by another process, which holds {}: stop that one, or give this one a \
             database of its own",
            database.display(),
            path.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(RecordsError::Unavailable(format!("cannot lock {}: {error}", path.display())))
        }
    }
}
