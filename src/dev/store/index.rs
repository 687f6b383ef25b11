//! The index in SQLite: which buckets and objects there are, and which blob holds which bytes.
//!
//! Keys are stored as bytes, so that they are compared as S3 orders them: by their UTF-8.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use s3s::dto::ETagCondition;
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::internal;

/// The version of [`SCHEMA`], in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE buckets (
        name        TEXT PRIMARY KEY,
        created_at  INTEGER NOT NULL          -- seconds since 1970, as all times here
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE objects (
        bucket      TEXT NOT NULL REFERENCES buckets (name),
        key         BLOB NOT NULL,            -- UTF-8
        blob        TEXT NOT NULL,
        size        INTEGER NOT NULL,
        etag        TEXT NOT NULL,            -- without quotes
        sha256      TEXT,                     -- base64, where the client declared it
        modified_at INTEGER NOT NULL,
        headers     TEXT NOT NULL,            -- JSON
        PRIMARY KEY (bucket, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE uploads (
        id          TEXT PRIMARY KEY,
        bucket      TEXT NOT NULL REFERENCES buckets (name),
        key         BLOB NOT NULL,
        headers     TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE parts (
        upload      TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
        number      INTEGER NOT NULL,
        blob        TEXT NOT NULL,
        size        INTEGER NOT NULL,
        etag        TEXT NOT NULL,
        modified_at INTEGER NOT NULL,
        PRIMARY KEY (upload, number)
    ) STRICT, WITHOUT ROWID;
";

/// The header fields that are stored with an object and come back with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredHeaders {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// One object: what is known of it, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredObject {
    pub(super) blob: String,
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    /// Base64.
    pub(super) sha256: Option<String>,
    /// To the second.
    pub(super) modified_at: SystemTime,
    pub(super) headers: StoredHeaders,
}

/// What a write may replace.
#[derive(Debug, Clone)]
pub(super) enum Replace {
    /// Whatever there is.
    Anything,
    /// Nothing: `If-None-Match: *`.
    Nothing,
    /// Only this version: `If-Match`.
    Only(ETagCondition),
}

/// One line of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Object(String, Box<StoredObject>),
    /// All keys that begin so, taken together.
    CommonPrefix(String),
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) entries: Vec<Listed>,
    /// The position after the last entry, if there are more.
    pub(super) next: Option<Vec<u8>>,
}

/// The open database.
pub(super) struct Index {
    pub(super) db: Connection,
}

impl Index {
    /// Opens the database, makes it if there is none, and adds the buckets that are missing.
    pub(super) fn open(path: &Path, buckets: &[String]) -> rusqlite::Result<Self> {
        let mut db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // A commit that was answered survives a power failure.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            tx.execute_batch(SCHEMA)?;
            tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        for name in buckets {
            insert_bucket(&tx, name)?;
        }
        tx.commit()?;
        Ok(Self { db })
    }

    /// The names of all blobs that rows name.
    pub(super) fn blobs(&self) -> rusqlite::Result<HashSet<String>> {
        let mut all = self.db.prepare("SELECT blob FROM objects UNION SELECT blob FROM parts")?;
        all.query_map([], |row| row.get(0))?.collect()
    }

    /// Adds a bucket; `false` if there is one of that name.
    pub(super) fn create_bucket(&self, name: &str) -> S3Result<bool> {
        insert_bucket(&self.db, name).map_err(internal)
    }

    /// All buckets with their time of creation, in order.
    pub(super) fn buckets(&self) -> S3Result<Vec<(String, SystemTime)>> {
        let all = || {
            let mut all = self.db.prepare("SELECT name, created_at FROM buckets ORDER BY name")?;
            let rows = all.query_map([], |row| Ok((row.get(0)?, from_seconds(row.get(1)?))))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        all().map_err(internal)
    }

    /// Succeeds if there is such a bucket.
    pub(super) fn require_bucket(&self, bucket: &str) -> S3Result<()> {
        require_bucket(&self.db, bucket)
    }

    /// Looks an object up.
    pub(super) fn object(&self, bucket: &str, key: &str) -> S3Result<StoredObject> {
        match object(&self.db, bucket, key)? {
            Some(object) => Ok(object),
            None => {
                self.require_bucket(bucket)?;
                Err(s3_error!(NoSuchKey, "The specified key does not exist."))
            }
        }
    }

    /// Writes an object's row. The check and the write are one transaction: of several writers that
    /// may replace [`Nothing`](Replace::Nothing), one wins.
    ///
    /// Returns the blob that was replaced.
    pub(super) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        new: &StoredObject,
        replace: &Replace,
    ) -> S3Result<Option<String>> {
        let tx = self.begin()?;
        let replaced = put(&tx, bucket, key, new, replace)?;
        tx.commit().map_err(internal)?;
        Ok(replaced)
    }

    /// Deletes an object, if it is `only` that version. Returns the blob that is free now.
    pub(super) fn delete(
        &mut self,
        bucket: &str,
        key: &str,
        only: Option<&ETagCondition>,
    ) -> S3Result<Option<String>> {
        let tx = self.begin()?;
        require_bucket(&tx, bucket)?;
        let current = object(&tx, bucket, key)?;
        if only.is_some_and(|only| !current.as_ref().is_some_and(|now| is_version(now, only))) {
            return Err(precondition_failed());
        }
        tx.execute("DELETE FROM objects WHERE bucket = ?1 AND key = ?2", (bucket, key.as_bytes()))
            .map_err(internal)?;
        tx.commit().map_err(internal)?;
        Ok(current.map(|object| object.blob))
    }

    /// Lists what begins with `prefix` and lies behind `after`, in order. With a delimiter, keys
    /// that have one behind the prefix are taken together up to it.
    pub(super) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        after: Vec<u8>,
        limit: usize,
    ) -> S3Result<Page> {
        self.require_bucket(bucket)?;
        let sql = "SELECT key, blob, size, etag, sha256, modified_at, headers FROM objects
                   WHERE bucket = ?1 AND key > ?2 AND key >= ?3 ORDER BY key LIMIT 1";
        let mut seek = self.db.prepare_cached(sql).map_err(internal)?;
        let mut page = Page::default();
        let mut after = after;
        loop {
            let found = seek
                .query_row(params![bucket, after, prefix.as_bytes()], |row| {
                    Ok((key_of(row, 0)?, object_of(row, 1)?))
                })
                .optional()
                .map_err(internal)?;
            let Some((key, object)) = found.filter(|(key, _)| key.starts_with(prefix)) else {
                return Ok(page);
            };
            if page.entries.len() == limit {
                // A limit of 0 asks for nothing, and so there is nothing to go on with.
                page.next = (limit > 0).then_some(after);
                return Ok(page);
            }
            let rest = &key[prefix.len()..];
            let cut = delimiter.and_then(|d| Some(rest.find(d)? + d.len()));
            if let Some(cut) = cut {
                let common = &key[..prefix.len() + cut];
                // No UTF-8 has this byte: it lies behind every key that begins so.
                after = [common.as_bytes(), &[0xff]].concat();
                page.entries.push(Listed::CommonPrefix(common.to_owned()));
            } else {
                after = key.clone().into_bytes();
                page.entries.push(Listed::Object(key, Box::new(object)));
            }
        }
    }

    /// Begins a transaction that may write.
    pub(super) fn begin(&mut self) -> S3Result<Transaction<'_>> {
        self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(internal)
    }
}

/// Writes an object's row inside of a transaction; see [`Index::put`].
pub(super) fn put(
    tx: &Transaction<'_>,
    bucket: &str,
    key: &str,
    new: &StoredObject,
    replace: &Replace,
) -> S3Result<Option<String>> {
    require_bucket(tx, bucket)?;
    let current = object(tx, bucket, key)?;
    match (replace, &current) {
        (Replace::Anything, _) | (Replace::Nothing, None) => {}
        (Replace::Only(version), Some(now)) if is_version(now, version) => {}
        (Replace::Only(_), None) => {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        }
        (Replace::Nothing | Replace::Only(_), Some(_)) => return Err(precondition_failed()),
    }
    let headers = serde_json::to_string(&new.headers).map_err(internal)?;
    tx.execute(
        "INSERT OR REPLACE INTO objects
             (bucket, key, blob, size, etag, sha256, modified_at, headers)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            bucket,
            key.as_bytes(),
            new.blob,
            to_integer(new.size),
            new.etag,
            new.sha256,
            to_seconds(new.modified_at),
            headers
        ],
    )
    .map_err(internal)?;
    Ok(current.map(|object| object.blob))
}

/// Succeeds if there is such a bucket.
pub(super) fn require_bucket(db: &Connection, bucket: &str) -> S3Result<()> {
    let found = db
        .query_row("SELECT 1 FROM buckets WHERE name = ?1", [bucket], |_| Ok(()))
        .optional()
        .map_err(internal)?;
    found.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
}

/// Seconds since 1970.
pub(super) fn to_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The time that [`to_seconds`] was given, to the second.
pub(super) fn from_seconds(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// A size as SQLite takes it; 2⁶³ bytes are more than any disk has.
pub(super) fn to_integer(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size that [`to_integer`] was given.
pub(super) fn size_of(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// Header fields from their JSON.
pub(super) fn headers_of(row: &Row<'_>, column: usize) -> rusqlite::Result<StoredHeaders> {
    let json: String = row.get(column)?;
    serde_json::from_str(&json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

fn insert_bucket(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "INSERT OR IGNORE INTO buckets (name, created_at) VALUES (?1, ?2)";
    Ok(db.execute(sql, (name, to_seconds(SystemTime::now())))? == 1)
}

fn object(db: &Connection, bucket: &str, key: &str) -> S3Result<Option<StoredObject>> {
    let sql = "SELECT blob, size, etag, sha256, modified_at, headers FROM objects
               WHERE bucket = ?1 AND key = ?2";
    let mut one = db.prepare_cached(sql).map_err(internal)?;
    one.query_row((bucket, key.as_bytes()), |row| object_of(row, 0)).optional().map_err(internal)
}

/// An object from six columns, beginning at `first`.
fn object_of(row: &Row<'_>, first: usize) -> rusqlite::Result<StoredObject> {
    Ok(StoredObject {
        blob: row.get(first)?,
        size: size_of(row, first + 1)?,
        etag: row.get(first + 2)?,
        sha256: row.get(first + 3)?,
        modified_at: from_seconds(row.get(first + 4)?),
        headers: headers_of(row, first + 5)?,
    })
}

fn key_of(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    let bytes: Vec<u8> = row.get(column)?;
    String::from_utf8(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Blob,
            Box::new(error),
        )
    })
}

fn is_version(object: &StoredObject, condition: &ETagCondition) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.as_strong() == Some(&object.etag),
    }
}

fn precondition_failed() -> s3s::S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn listed(index: &Index, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), Vec::new());
        loop {
            let page = index.list("media", prefix, delimiter, after, limit).unwrap();
            assert!(page.entries.len() <= limit);
            names.extend(page.entries.into_iter().map(|entry| match entry {
                Listed::Object(key, _) => key,
                Listed::CommonPrefix(prefix) => prefix,
            }));
            match page.next {
                Some(next) => after = next,
                None => return names,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pages_make_up_the_whole_listing(
            keys in prop::collection::btree_set("[ab/!\u{e9}\u{10ffff}]{1,5}", 0..20),
            prefix in "[ab/]{0,2}",
            delimiter in prop::option::of("/|b"),
            limit in 1_usize..5,
        ) {
            let buckets = ["media".to_owned(), "other".to_owned()];
            let mut index = Index::open(Path::new(":memory:"), &buckets).unwrap();
            let object = StoredObject {
                blob: "b".to_owned(),
                size: 1,
                etag: "e".to_owned(),
                sha256: None,
                modified_at: SystemTime::UNIX_EPOCH,
                headers: StoredHeaders::default(),
            };
            for key in &keys {
                index.put("media", key, &object, &Replace::Nothing).unwrap();
                index.put("other", &format!("a{key}"), &object, &Replace::Nothing).unwrap();
            }
            let model: BTreeSet<String> = keys
                .iter()
                .filter(|key| key.starts_with(&prefix))
                .map(|key| {
                    let rest = &key[prefix.len()..];
                    let cut = delimiter.as_deref().and_then(|d| rest.find(d));
                    cut.map_or(key.clone(), |cut| key[..=prefix.len() + cut].to_owned())
                })
                .collect();
            let model: Vec<String> = model.into_iter().collect();
            prop_assert_eq!(listed(&index, &prefix, delimiter.as_deref(), limit), model);
        }
    }
}
