//! What a record looks like as a row: the statements, and the translation both ways.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Row;
use rusqlite::types::Value;

use super::{Claimed, Look, RecordsError, Renewal, Transition};
use crate::domain::{
    AppName, Declared, ETag, IdempotencyClaim, MediaType, MintedKey, Multipart, MultipartId,
    OwnerId, Stored, UploadId, UploadRecord, UploadState, VerificationFailure,
};

/// The owner of an object that was found without a record. No owner has this name.
const NO_OWNER: &str = "";

/// The columns of a record that a reader takes, in the order that [`record`] takes them.
macro_rules! columns {
    () => {
        "id, app, owner, key, state, reason, declared_type, declared_size, declared_sha256,
        stored_size, stored_type, stored_etag, stored_version, stored_width, stored_height,
        multipart_id, part_size, part_checksums,
        created_at, url_expires_at, session_expires_at, updated_at, revision, look_at"
    };
}

/// The values of [`columns`], as parameters from 1 on.
macro_rules! values {
    () => {
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
        ?21, ?22, ?23, ?24"
    };
}

/// How many parameters an insertion has at most: those of [`INSERT_UNCLAIMED`].
const MOST_INSERT_VALUES: usize = 26;

/// Adds a row, or changes nothing if the id is taken. (`INSERT OR IGNORE` would swallow every other
/// violated constraint as well.) The parameters are those of [`insert_values`].
pub(super) const INSERT: &str = concat!(
    "INSERT INTO uploads (",
    columns!(),
    ") VALUES (",
    values!(),
    ") ON CONFLICT (id) DO NOTHING"
);

/// The same, but only if nothing was done under the scope (25) that still holds at a time (26).
pub(super) const INSERT_UNCLAIMED: &str = concat!(
    "INSERT INTO uploads (",
    columns!(),
    ") SELECT ",
    values!(),
    " WHERE NOT EXISTS (SELECT 1 FROM idempotency_claims WHERE scope = ?25 AND expires_at > ?26)
    ON CONFLICT (id) DO NOTHING"
);

/// Keeps what was done under a scope; one that has expired gives way.
pub(super) const CLAIM: &str = "
    INSERT OR REPLACE INTO idempotency_claims (scope, request, upload, expires_at)
    VALUES (?1, ?2, ?3, ?4)";

/// Reads what was done under a scope (1), if it still holds at a time (2).
pub(super) const CLAIMED: &str =
    "SELECT request, upload FROM idempotency_claims WHERE scope = ?1 AND expires_at > ?2";

/// Forgets claims that have expired by a time (1), at most so many (2).
pub(super) const FORGET_CLAIMS: &str = "
    DELETE FROM idempotency_claims WHERE scope IN
        (SELECT scope FROM idempotency_claims WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

/// Reads the row of an id (1) and app (2).
pub(super) const SELECT: &str =
    concat!("SELECT ", columns!(), " FROM uploads WHERE id = ?1 AND app = ?2");

/// Reads which uploads' time for a look is not later than a time (1), of all apps: from the index
/// alone.
pub(super) const DUE: &str =
    "SELECT app, id, look_at FROM uploads WHERE look_at <= ?1 ORDER BY look_at";

/// Reads the row of an id (1) and app (2) whose time for a look is not later than a time (3).
pub(super) const STILL_DUE: &str =
    concat!("SELECT ", columns!(), " FROM uploads WHERE id = ?1 AND app = ?2 AND look_at <= ?3");

/// Reads which uploads were deleted at a time (1) or later, at most so many (2).
pub(super) const DELETED: &str = "
    SELECT id, updated_at FROM uploads
    WHERE state = 'deleted' AND updated_at >= ?1 ORDER BY updated_at LIMIT ?2";

/// Changes the state of a row that has the expected state and revision.
const TRANSITION: &str = "
    UPDATE uploads
    SET state = ?5, reason = ?6, look_at = ?7, updated_at = ?8, revision = revision + 1
    WHERE id = ?1 AND app = ?2 AND state = ?3 AND revision = ?4";

/// The same, with what storage has.
const TRANSITION_STORED: &str = "
    UPDATE uploads
    SET state = ?5, reason = ?6, look_at = ?7, updated_at = ?8, revision = revision + 1,
        stored_size = ?9, stored_type = ?10, stored_etag = ?11, stored_version = ?12,
        stored_width = ?13, stored_height = ?14
    WHERE id = ?1 AND app = ?2 AND state = ?3 AND revision = ?4";

/// Moves the end of the upload URLs of a row that is pending; never back. The parameters are those
/// of [`renewal_values`].
pub(super) const RENEW: &str = "
    UPDATE uploads
    SET url_expires_at = MAX(url_expires_at, ?4), updated_at = ?5, revision = revision + 1
    WHERE id = ?1 AND app = ?2 AND state = ?3";

/// Sets the time of the next look at a row of the expected revision.
pub(super) const LOOK_AGAIN: &str =
    "UPDATE uploads SET look_at = ?4 WHERE id = ?1 AND app = ?2 AND revision = ?3";

/// The parameters of [`INSERT`].
pub(super) fn insert_values(record: &UploadRecord) -> Result<Vec<Value>, RecordsError> {
    // At its size from the beginning, so that it is not copied on its way there.
    let mut values = Vec::with_capacity(MOST_INSERT_VALUES);
    values.extend([
        id(record.key.id()),
        text(record.app.as_str()),
        text(record.owner.as_ref().map_or(NO_OWNER, OwnerId::as_str)),
        text(record.key.as_str()),
        text(record.state.as_str()),
        optional(record.reason.map(|reason| text(reason.as_str()))),
        text(record.declared.media_type.as_str()),
        optional(record.declared.size.map(size).transpose()?),
        optional(record.declared.sha256.map(|digest| Value::Blob(digest.to_vec()))),
    ]);
    values.extend(stored_values(record.stored.as_ref())?);
    let multipart = record.multipart.as_ref();
    values.push(optional(multipart.map(|multipart| text(&multipart.id.0))));
    values.push(optional(multipart.map(|multipart| size(multipart.part_size)).transpose()?));
    values.push(Value::Integer(multipart.is_some_and(|multipart| multipart.checksums).into()));
    for time in
        [record.created_at, record.url_expires_at, record.session_expires_at, record.updated_at]
    {
        values.push(millis(time)?);
    }
    values.push(Value::Integer(record.revision.into()));
    values.push(optional(record.look_at.map(millis).transpose()?));
    Ok(values)
}

/// The two more parameters of [`INSERT_UNCLAIMED`].
pub(super) fn unclaimed_values(
    claim: &IdempotencyClaim,
    now: SystemTime,
) -> Result<[Value; 2], RecordsError> {
    Ok([Value::Blob(claim.scope.to_vec()), millis(now)?])
}

/// The parameters of [`CLAIM`].
pub(super) fn claim_values(
    claim: &IdempotencyClaim,
    upload: UploadId,
) -> Result<Vec<Value>, RecordsError> {
    Ok(vec![
        Value::Blob(claim.scope.to_vec()),
        Value::Blob(claim.request.to_vec()),
        id(upload),
        millis(claim.expires_at)?,
    ])
}

/// The parameters of a statement that takes a time and a limit.
pub(super) fn until_values(time: SystemTime, limit: u32) -> Result<Vec<Value>, RecordsError> {
    Ok(vec![millis(time)?, Value::Integer(limit.into())])
}

/// The parameters of [`CLAIMED`].
pub(super) fn scope_values(scope: [u8; 32], now: SystemTime) -> Result<Vec<Value>, RecordsError> {
    Ok(vec![Value::Blob(scope.to_vec()), millis(now)?])
}

/// The statement of a transition and its parameters.
pub(super) fn transition(change: &Transition) -> Result<(&'static str, Vec<Value>), RecordsError> {
    let mut values = vec![
        id(change.id),
        text(change.app.as_str()),
        text(change.from.as_str()),
        Value::Integer(change.revision.into()),
        text(change.to.as_str()),
        optional(change.reason.map(|reason| text(reason.as_str()))),
        optional(change.look_at.map(millis).transpose()?),
        millis(change.at)?,
    ];
    if change.stored.is_none() {
        return Ok((TRANSITION, values));
    }
    values.extend(stored_values(change.stored.as_ref())?);
    Ok((TRANSITION_STORED, values))
}

/// The parameters of [`RENEW`].
pub(super) fn renewal_values(renewal: &Renewal) -> Result<Vec<Value>, RecordsError> {
    Ok(vec![
        id(renewal.id),
        text(renewal.app.as_str()),
        text(UploadState::Pending.as_str()),
        millis(renewal.url_expires_at)?,
        millis(renewal.at)?,
    ])
}

/// The parameters of [`LOOK_AGAIN`].
pub(super) fn look_values(look: &Look) -> Result<Vec<Value>, RecordsError> {
    Ok(vec![
        id(look.id),
        text(look.app.as_str()),
        Value::Integer(look.revision.into()),
        optional(look.look_at.map(millis).transpose()?),
    ])
}

/// The six columns of what storage has.
fn stored_values(stored: Option<&Stored>) -> Result<[Value; 6], RecordsError> {
    let Some(stored) = stored else { return Ok([const { Value::Null }; 6]) };
    let (width, height) = stored.dimensions.unzip();
    Ok([
        size(stored.size)?,
        optional(stored.content_type.as_deref().map(text)),
        optional(stored.etag.as_ref().map(|etag| text(etag.as_str()))),
        optional(stored.version.as_deref().map(text)),
        optional(width.map(|pixels| Value::Integer(pixels.into()))),
        optional(height.map(|pixels| Value::Integer(pixels.into()))),
    ])
}

fn id(id: UploadId) -> Value {
    Value::Blob(id.to_bytes().to_vec())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn optional(value: Option<Value>) -> Value {
    value.unwrap_or(Value::Null)
}

/// SQLite's integers are signed; no object has 2⁶³ bytes.
fn size(bytes: u64) -> Result<Value, RecordsError> {
    i64::try_from(bytes).map(Value::Integer).map_err(|_| {
        RecordsError::Unavailable(format!("a size of {bytes} bytes cannot be recorded"))
    })
}

pub(super) fn millis(time: SystemTime) -> Result<Value, RecordsError> {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .map(Value::Integer)
        .ok_or_else(|| {
            RecordsError::Unavailable("a time before 1970 cannot be recorded".to_owned())
        })
}

/// Takes a record out of a row of all columns.
pub(super) fn record(row: &Row<'_>) -> Result<UploadRecord, RecordsError> {
    let mut columns = Columns { row, id: None, next: 0 };
    let id = UploadId::from_bytes(&columns.value()?);
    columns.id = Some(id);
    Ok(UploadRecord {
        app: columns.parsed(|text| AppName::parse(text).ok())?,
        owner: columns.parsed(|text| match text {
            NO_OWNER => Some(None),
            text => OwnerId::parse(text.as_bytes()).ok().map(Some),
        })?,
        key: columns.parsed(|text| MintedKey::from_record(text).filter(|key| key.id() == id))?,
        state: columns.parsed(UploadState::parse)?,
        reason: columns.parsed_if_any(VerificationFailure::parse)?,
        declared: Declared {
            media_type: columns.parsed(MediaType::parse)?,
            size: columns.unsigned_if_any()?,
            sha256: columns.value()?,
        },
        stored: stored(&mut columns)?,
        multipart: multipart(&mut columns)?,
        created_at: columns.time()?,
        url_expires_at: columns.time()?,
        session_expires_at: columns.time()?,
        updated_at: columns.time()?,
        revision: columns.value()?,
        look_at: columns.time_if_any()?,
    })
}

/// Takes what was done under a claim out of a row of [`CLAIMED`].
pub(super) fn claimed(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    Ok(Claimed { request: row.get(0)?, id: UploadId::from_bytes(&row.get(1)?) })
}

/// Takes an upload, and when it was to be looked at, out of a row of [`DUE`], behind the app.
pub(super) fn due(row: &Row<'_>) -> Result<(UploadId, SystemTime), RecordsError> {
    let mut columns = Columns { row, id: None, next: 1 };
    Ok((UploadId::from_bytes(&columns.value()?), columns.time()?))
}

/// Takes a deleted upload out of a row of [`DELETED`].
pub(super) fn deleted(row: &Row<'_>) -> Result<(UploadId, SystemTime), RecordsError> {
    let mut columns = Columns { row, id: None, next: 0 };
    let id = UploadId::from_bytes(&columns.value()?);
    columns.id = Some(id);
    Ok((id, columns.time()?))
}

fn multipart(columns: &mut Columns<'_>) -> Result<Option<Multipart>, RecordsError> {
    let id: Option<String> = columns.value()?;
    let part_size = columns.unsigned_if_any()?;
    let checksums = columns.value()?;
    let whole = id.map(MultipartId).zip(part_size);
    Ok(whole.map(|(id, part_size)| Multipart { id, part_size, checksums }))
}

fn stored(columns: &mut Columns<'_>) -> Result<Option<Stored>, RecordsError> {
    let size = columns.unsigned_if_any()?;
    let content_type = columns.value()?;
    let etag = columns.parsed_if_any(ETag::parse)?;
    let version = columns.value()?;
    let width: Option<u32> = columns.value()?;
    let dimensions = width.zip(columns.value()?);
    Ok(size.map(|size| Stored { size, content_type, etag, version, dimensions }))
}

/// The columns of a row, read from left to right.
struct Columns<'a> {
    row: &'a Row<'a>,
    /// `None` until it has been read.
    id: Option<UploadId>,
    next: usize,
}

impl Columns<'_> {
    fn value<T: rusqlite::types::FromSql>(&mut self) -> Result<T, RecordsError> {
        let column = self.next;
        self.next += 1;
        self.row.get(column).map_err(|error| self.unreadable(column, &error.to_string()))
    }

    fn parsed<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> Result<T, RecordsError> {
        let column = self.next;
        let text: String = self.value()?;
        parse(&text).ok_or_else(|| self.unreadable(column, "it has an unknown value"))
    }

    fn parsed_if_any<T>(
        &mut self,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, RecordsError> {
        let column = self.next;
        let text: Option<String> = self.value()?;
        text.map(|text| {
            parse(&text).ok_or_else(|| self.unreadable(column, "it has an unknown value"))
        })
        .transpose()
    }

    fn unsigned_if_any(&mut self) -> Result<Option<u64>, RecordsError> {
        let column = self.next;
        let number: Option<i64> = self.value()?;
        number
            .map(|number| {
                u64::try_from(number).map_err(|_| self.unreadable(column, "it is negative"))
            })
            .transpose()
    }

    fn time(&mut self) -> Result<SystemTime, RecordsError> {
        let column = self.next;
        self.time_if_any()?.ok_or_else(|| self.unreadable(column, "it is empty"))
    }

    fn time_if_any(&mut self) -> Result<Option<SystemTime>, RecordsError> {
        let column = self.next;
        let millis: Option<i64> = self.value()?;
        millis
            .map(|millis| {
                u64::try_from(millis)
                    .ok()
                    .and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)))
                    .ok_or_else(|| self.unreadable(column, "it is no time"))
            })
            .transpose()
    }

    /// Says which column of which record is wrong, but not what is in it: it can name a person.
    fn unreadable(&self, column: usize, what: &str) -> RecordsError {
        let name = self.row.as_ref().column_name(column).unwrap_or("?");
        let id = self.id.map_or_else(|| "without a readable id".to_owned(), |id| id.to_string());
        RecordsError::Unavailable(format!("the record {id} cannot be read: {name}: {what}"))
    }
}
