//! What is due for a look, of all apps at once.
//!
//! The index is ordered by time, so that a commit of many apps' uploads changes one place of it. Whose an
//! upload is, is sorted out here: one pass over what is due, which reads the index and no row. The rows
//! are read later, a batch of one app at a time.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::readers::Readers;
use super::{Due, RecordsError, rows};
use crate::domain::{AppName, UploadId, UploadRecord};

/// Of each app the earliest uploads that are due, at most `limit`.
pub(super) async fn of_all_apps(
    readers: &Readers,
    now: SystemTime,
    limit: usize,
) -> Result<HashMap<AppName, Due>, RecordsError> {
    let now = rows::millis(now)?;
    let found = readers
        .read(move |connection| {
            let mut found: HashMap<String, Due> = HashMap::new();
            let mut statement = connection.prepare_cached(rows::DUE)?;
            let mut due = statement.query([now])?;
            while let Some(row) = due.next()? {
                let Ok(app) = row.get_ref(0)?.as_str() else { continue };
                let known = found.get_mut(app);
                if known.as_ref().is_some_and(|known| known.uploads.len() >= limit) {
                    continue;
                }
                let Some((id, at)) = readable(rows::due(row)) else { continue };
                match known {
                    Some(known) => known.uploads.push(id),
                    None if limit == 0 => {}
                    None => {
                        found.insert(app.to_owned(), Due { since: at, uploads: vec![id] });
                    }
                }
            }
            Ok(found)
        })
        .await?;
    // What no app can be called is no app's.
    let named = found.into_iter().filter_map(|(app, due)| Some((AppName::parse(&app).ok()?, due)));
    Ok(named.collect())
}

/// The records of those uploads that are due.
pub(super) async fn still(
    readers: &Readers,
    app: &AppName,
    uploads: &[UploadId],
    now: SystemTime,
) -> Result<Vec<UploadRecord>, RecordsError> {
    let (app, uploads, now) = (app.clone(), uploads.to_vec(), rows::millis(now)?);
    let read = move |connection: &Connection| {
        let mut statement = connection.prepare_cached(rows::STILL_DUE)?;
        let mut due = Vec::with_capacity(uploads.len());
        for id in uploads {
            let parameters = params![id.to_bytes(), app.as_str(), now];
            let row = statement.query_row(parameters, |row| Ok(rows::record(row))).optional()?;
            due.extend(row.and_then(readable));
        }
        Ok(due)
    };
    readers.read(read).await
}

/// A row that was written by nobody's rules must not keep the others from being seen.
fn readable<T>(row: Result<T, RecordsError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(%error, "a record is passed over")).ok()
}
