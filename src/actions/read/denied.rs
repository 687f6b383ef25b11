//! A 403 of storage: a missing object that is hidden, or a bucket that may not be read?
//!
//! Broken credentials must never look like missing photos, so it is a missing object only if no
//! record says that the object is there, and another object can be read with the same credentials.

use std::time::Instant;

use crate::apps::{App, Reads};
use crate::domain::{ObjectKey, RangeRequest, UploadState};
use crate::records::Records;
use crate::storage::{GetOptions, StorageErrorKind};

/// Whether the object is missing, as far as that can be known.
pub(super) async fn is_missing(app: &App, records: &dyn Records, key: &ObjectKey) -> bool {
    !is_recorded_as_ready(app, records, key).await && reads_work(app).await
}

/// With the record store down nothing is known, and nothing is called missing.
async fn is_recorded_as_ready(app: &App, records: &dyn Records, key: &ObjectKey) -> bool {
    let Some(key) = key.minted() else { return false };
    match records.get(&app.name, key.id()).await {
        Ok(record) => record.is_some_and(|record| record.state == UploadState::Ready),
        Err(error) => {
            tracing::error!(app = %app.name, %error, "a record could not be read");
            true
        }
    }
}

async fn reads_work(app: &App) -> bool {
    let path = match app.read_proof.reads(Instant::now()) {
        Reads::Work => return true,
        Reads::Unknown => return false,
        Reads::Probe(path) => path,
    };
    let first_byte =
        GetOptions { range: Some(RangeRequest::Between(0, 0)), ..GetOptions::default() };
    match app.store.get(&path, &first_byte).await.map_err(|error| error.kind) {
        // An empty object has no first byte, and was found to say so.
        Ok(_) | Err(StorageErrorKind::RangeNotSatisfiable { .. }) => {
            app.read_proof.worked(&path, Instant::now());
            true
        }
        Err(kind) => {
            app.read_proof.failed(kind == StorageErrorKind::NotFound, Instant::now());
            false
        }
    }
}
