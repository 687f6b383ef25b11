//! Taking away what storage has of a deleted upload. The record says first that it is deleted, and
//! is final: so every object that lies under its key goes, whichever version it is, and parts as
//! well.

use crate::apps::App;
use crate::domain::{Error, StoragePath, UploadRecord};
use crate::storage::StorageErrorKind;

use super::inspect::failed;
use super::multipart::abort;

/// How many versions of one object are deleted at once. A signed URL that is used again while the
/// object goes brings another one; the sweeper comes for what is more than this.
const MAX_VERSIONS: usize = 16;

/// Takes everything away that storage has of a deleted upload.
///
/// # Errors
/// The failures of storage, [`Error::Conflict`] if there is always another object: something may
/// be left, and whoever sweeps tries again.
pub(super) async fn clear(app: &App, record: &UploadRecord) -> Result<(), Error> {
    // The parts first: from them an object could still be assembled.
    abort(app, record).await.map_err(|error| failed(app, &error))?;
    clear_path(app, &app.key_prefix.path_of_minted(&record.key)).await
}

/// Deletes what lies under a path, until nothing does. With versions, the one before comes to light
/// when one goes: by its id, each goes for good, and none is only hidden.
async fn clear_path(app: &App, path: &StoragePath) -> Result<(), Error> {
    for _ in 0..MAX_VERSIONS {
        let meta = match app.store.head(path).await {
            Ok(meta) => meta,
            Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(app, &error)),
        };
        // Without versions it does not matter which one goes.
        let only = meta.version.is_some().then_some(&meta);
        match app.store.delete(path, only).await {
            Ok(()) if only.is_none() => return Ok(()),
            Ok(()) => {}
            // Overwritten since the look.
            Err(error) if error.kind == StorageErrorKind::PreconditionFailed => {}
            Err(error) => return Err(failed(app, &error)),
        }
    }
    Err(Error::Conflict)
}
