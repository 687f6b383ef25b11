//! Multipart uploads in the index.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use s3s::{S3Result, s3_error};

use super::index::{
    self, Index, Replace, StoredHeaders, StoredObject, from_seconds, headers_of, require_bucket,
    size_of, to_integer, to_seconds,
};
use super::internal;

/// A part that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredPart {
    /// 1 to 10,000.
    pub(super) number: i32,
    pub(super) blob: String,
    /// In bytes.
    pub(super) size: u64,
    /// The MD5 in hexadecimal, without quotes.
    pub(super) etag: String,
    /// To the second.
    pub(super) modified_at: SystemTime,
}

/// Names one multipart upload. The id alone does not: it must have been given for this key.
#[derive(Debug, Clone)]
pub(super) struct UploadRef {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) id: String,
}

impl Index {
    /// Begins an upload.
    pub(super) fn begin_upload(
        &mut self,
        upload: &UploadRef,
        headers: &StoredHeaders,
    ) -> S3Result<()> {
        let tx = self.begin()?;
        require_bucket(&tx, &upload.bucket)?;
        let headers = serde_json::to_string(headers).map_err(internal)?;
        tx.execute(
            "INSERT INTO uploads (id, bucket, key, headers) VALUES (?1, ?2, ?3, ?4)",
            params![upload.id, upload.bucket, upload.key.as_bytes(), headers],
        )
        .map_err(internal)?;
        tx.commit().map_err(internal)
    }

    /// Succeeds with the header fields of the object to be, if the upload exists.
    pub(super) fn upload(&self, upload: &UploadRef) -> S3Result<StoredHeaders> {
        require_upload(&self.db, upload)
    }

    /// Writes a part's row. Returns the blob of the part that had this number before.
    pub(super) fn put_part(
        &mut self,
        upload: &UploadRef,
        part: &StoredPart,
    ) -> S3Result<Option<String>> {
        let tx = self.begin()?;
        require_upload(&tx, upload)?;
        let replaced = tx
            .query_row(
                "SELECT blob FROM parts WHERE upload = ?1 AND number = ?2",
                params![upload.id, part.number],
                |row| row.get(0),
            )
            .optional()
            .map_err(internal)?;
        tx.execute(
            "INSERT OR REPLACE INTO parts (upload, number, blob, size, etag, modified_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                upload.id,
                part.number,
                part.blob,
                to_integer(part.size),
                part.etag,
                to_seconds(part.modified_at)
            ],
        )
        .map_err(internal)?;
        tx.commit().map_err(internal)?;
        Ok(replaced)
    }

    /// The parts behind number `after`, in order, at most `limit`.
    pub(super) fn parts(
        &self,
        upload: &UploadRef,
        after: i32,
        limit: usize,
    ) -> S3Result<Vec<StoredPart>> {
        require_upload(&self.db, upload)?;
        parts(&self.db, &upload.id, after, limit).map_err(internal)
    }

    /// Turns an upload into an object that consists of `assembled`, in one transaction. Returns the
    /// blobs that are free now.
    ///
    /// A part that was uploaded anew in the meantime has another blob, and fails the call.
    pub(super) fn complete_upload(
        &mut self,
        upload: &UploadRef,
        assembled: &[StoredPart],
        new: &StoredObject,
        replace: &Replace,
    ) -> S3Result<Vec<String>> {
        let tx = self.begin()?;
        require_upload(&tx, upload)?;
        let all = parts(&tx, &upload.id, 0, usize::MAX).map_err(internal)?;
        if !assembled.iter().all(|part| all.contains(part)) {
            return Err(s3_error!(InvalidPart, "A part was replaced during the completion."));
        }
        let replaced = index::put(&tx, &upload.bucket, &upload.key, new, replace)?;
        delete_upload(&tx, &upload.id).map_err(internal)?;
        tx.commit().map_err(internal)?;
        Ok(all.into_iter().map(|part| part.blob).chain(replaced).collect())
    }

    /// Gives an upload up. Returns the blobs that are free now.
    pub(super) fn abort_upload(&mut self, upload: &UploadRef) -> S3Result<Vec<String>> {
        let tx = self.begin()?;
        require_upload(&tx, upload)?;
        let all = parts(&tx, &upload.id, 0, usize::MAX).map_err(internal)?;
        delete_upload(&tx, &upload.id).map_err(internal)?;
        tx.commit().map_err(internal)?;
        Ok(all.into_iter().map(|part| part.blob).collect())
    }
}

fn require_upload(db: &Connection, upload: &UploadRef) -> S3Result<StoredHeaders> {
    let found = db
        .query_row(
            "SELECT headers FROM uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3",
            params![upload.id, upload.bucket, upload.key.as_bytes()],
            |row| headers_of(row, 0),
        )
        .optional()
        .map_err(internal)?;
    found.ok_or_else(|| {
        s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may \
             have been aborted or completed."
        )
    })
}

fn parts(
    db: &Connection,
    upload: &str,
    after: i32,
    limit: usize,
) -> rusqlite::Result<Vec<StoredPart>> {
    let mut all = db.prepare_cached(
        "SELECT number, blob, size, etag, modified_at FROM parts
         WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    all.query_map(params![upload, after, limit], part_of)?.collect()
}

fn part_of(row: &Row<'_>) -> rusqlite::Result<StoredPart> {
    Ok(StoredPart {
        number: row.get(0)?,
        blob: row.get(1)?,
        size: size_of(row, 2)?,
        etag: row.get(3)?,
        modified_at: from_seconds(row.get(4)?),
    })
}

/// The parts go with it.
fn delete_upload(db: &Connection, id: &str) -> rusqlite::Result<usize> {
    db.execute("DELETE FROM uploads WHERE id = ?1", [id])
}
