//! Taking away what storage has of a deleted upload. The record says first that it is deleted, and
//! is final: so every object that lies under its key goes, whichever version it is, and parts as
//! well.

use crate::apps::App;
use crate::domain::{Error, StoragePath, UploadRecord};
use crate::storage::{StorageError, StorageErrorKind};

use super::multipart::abort;
use super::read::refusal_of;

/// How many versions of one object are deleted at once. A signed URL that is used again while the
/// object goes brings another one; the sweeper comes for what is more than this.
const MAX_VERSIONS: usize = 16;

/// Takes everything away that storage has of a deleted upload.
///
/// # Errors
/// The failures of storage, [`Error::Conflict`] if there is always another object: something may
/// be left, and whoever sweeps tries again. What failed goes to the log, here.
pub(super) async fn clear(app: &App, record: &UploadRecord) -> Result<(), Error> {
    let path = app.key_prefix.path_of_minted(&record.key);
    let cleared = async {
        // The parts first: from them an object could still be assembled.
        abort(app, record).await?;
        clear_path(app, &path).await
    };
    cleared.await.map_err(|error| {
        let (app, id) = (&app.name, record.key.id());
        tracing::error!(%app, %id, %error, "what storage has of a deleted upload stays for now");
        match error.kind {
            StorageErrorKind::PreconditionFailed => Error::Conflict,
            // The bucket, not an object.
            StorageErrorKind::NotFound => Error::StorageFailed,
            kind => refusal_of(kind),
        }
    })
}

/// Deletes what lies under a path, until nothing does. With versions, the one before comes to light
/// when one goes: by its id, each goes for good, and none is only hidden.
async fn clear_path(app: &App, path: &StoragePath) -> Result<(), StorageError> {
    for _ in 0..MAX_VERSIONS {
        let only = match app.store.head(path).await {
            // Without versions it does not matter which one goes.
            Ok(meta) => meta.version.is_some().then_some(meta),
            Err(error) => match error.kind {
                StorageErrorKind::NotFound => return Ok(()),
                // It may hide that there is nothing; whatever there is, goes.
                StorageErrorKind::AccessDenied => None,
                _ => return Err(error),
            },
        };
        match app.store.delete(path, only.as_ref()).await {
            Ok(()) if only.is_none() => return Ok(()),
            Ok(()) => {}
            // Overwritten since the look.
            Err(error) if error.kind == StorageErrorKind::PreconditionFailed => {}
            Err(error) => return Err(error),
        }
    }
    let detail = "there is always another version";
    Err(StorageError::new(StorageErrorKind::PreconditionFailed, detail))
}
