//! What a record looks like as a row: the statements, and the translation both ways.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Row;
use rusqlite::types::Value;

use super::{RecordsError, Renewal, Transition};
use crate::domain::{
    AppName, Declared, ETag, MediaType, MintedKey, OwnerId, Stored, UploadId, UploadRecord,
    UploadState, VerificationFailure,
};

/// Adds a row, or changes nothing if the id is taken. (`INSERT OR IGNORE` would swallow every other
/// violated constraint as well.) The parameters are those of [`insert_values`].
pub(super) const INSERT: &str = "
    INSERT INTO uploads (
        id, app, owner, key, state, reason, declared_type, declared_size, declared_sha256,
        stored_size, stored_type, stored_etag, stored_version, stored_width, stored_height,
        created_at, url_expires_at, session_expires_at, updated_at
    ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
    ON CONFLICT (id) DO NOTHING";

/// Reads the row of an id (1) and app (2), in the order that [`record`] takes.
pub(super) const SELECT: &str = "
    SELECT owner, key, state, reason, declared_type, declared_size, declared_sha256,
        stored_size, stored_type, stored_etag, stored_version, stored_width, stored_height,
        created_at, url_expires_at, session_expires_at, updated_at
    FROM uploads WHERE id = ?1 AND app = ?2";

/// Changes the state of a row that is in the expected one.
const TRANSITION: &str = "
    UPDATE uploads SET state = ?5, reason = ?6, updated_at = ?4
    WHERE id = ?1 AND app = ?2 AND state = ?3";

/// The same, with what storage has.
const TRANSITION_STORED: &str = "
    UPDATE uploads SET state = ?5, reason = ?6, updated_at = ?4, stored_size = ?7, stored_type = ?8,
        stored_etag = ?9, stored_version = ?10, stored_width = ?11, stored_height = ?12
    WHERE id = ?1 AND app = ?2 AND state = ?3";

/// Moves the end of the upload URLs of a row that is pending; never back. The parameters are those
/// of [`renewal_values`].
pub(super) const RENEW: &str = "
    UPDATE uploads SET url_expires_at = MAX(url_expires_at, ?4), updated_at = ?5
    WHERE id = ?1 AND app = ?2 AND state = ?3";

/// The parameters of [`INSERT`].
pub(super) fn insert_values(record: &UploadRecord) -> Result<Vec<Value>, RecordsError> {
    let mut values = vec![
        id(record.key.id()),
        text(record.app.as_str()),
        text(record.owner.as_str()),
        text(record.key.as_str()),
        text(record.state.as_str()),
        optional(record.reason.map(|reason| text(reason.as_str()))),
        text(record.declared.media_type.as_str()),
        optional(record.declared.size.map(size).transpose()?),
        optional(record.declared.sha256.map(|digest| Value::Blob(digest.to_vec()))),
    ];
    values.extend(stored_values(record.stored.as_ref())?);
    for time in
        [record.created_at, record.url_expires_at, record.session_expires_at, record.updated_at]
    {
        values.push(millis(time)?);
    }
    Ok(values)
}

/// The statement of a transition and its parameters.
pub(super) fn transition(change: &Transition) -> Result<(&'static str, Vec<Value>), RecordsError> {
    let mut values = vec![
        id(change.id),
        text(change.app.as_str()),
        text(change.from.as_str()),
        millis(change.at)?,
        text(change.to.as_str()),
        optional(change.reason.map(|reason| text(reason.as_str()))),
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

fn millis(time: SystemTime) -> Result<Value, RecordsError> {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .map(Value::Integer)
        .ok_or_else(|| {
            RecordsError::Unavailable("a time before 1970 cannot be recorded".to_owned())
        })
}

/// Takes a record out of a row of [`SELECT`].
pub(super) fn record(
    row: &Row<'_>,
    app: &AppName,
    id: UploadId,
) -> Result<UploadRecord, RecordsError> {
    let mut columns = Columns { row, id, next: 0 };
    Ok(UploadRecord {
        app: app.clone(),
        owner: columns.parsed(|text| OwnerId::parse(text.as_bytes()).ok())?,
        key: columns.parsed(|text| MintedKey::from_record(text).filter(|key| key.id() == id))?,
        state: columns.parsed(UploadState::parse)?,
        reason: columns.parsed_if_any(VerificationFailure::parse)?,
        declared: Declared {
            media_type: columns.parsed(MediaType::parse)?,
            size: columns.unsigned_if_any()?,
            sha256: columns.value()?,
        },
        stored: stored(&mut columns)?,
        created_at: columns.time()?,
        url_expires_at: columns.time()?,
        session_expires_at: columns.time()?,
        updated_at: columns.time()?,
    })
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
    id: UploadId,
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
        let millis: i64 = self.value()?;
        u64::try_from(millis)
            .ok()
            .and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)))
            .ok_or_else(|| self.unreadable(column, "it is no time"))
    }

    /// Says which column of which record is wrong, but not what is in it: it can name a person.
    fn unreadable(&self, column: usize, what: &str) -> RecordsError {
        let name = self.row.as_ref().column_name(column).unwrap_or("?");
        RecordsError::Unavailable(format!("the record {} cannot be read: {name}: {what}", self.id))
    }
}
