//! An object store that speaks S3, on one folder: for development and tests.
//!
//! It takes signatures as seriously as S3 does, because that is what it is there to prove: a URL
//! that was signed for one type, length, key or method is refused for every other.
//!
//! ```text
//! {dir}/store.lock     held while the store is open
//! {dir}/store.db       SQLite: buckets, objects, multipart uploads
//! {dir}/blobs/{name}   the bytes, under random names
//! ```
//!
//! - A write streams into a new blob, which is synced and then committed by one transaction on the
//!   index. A blob that no row names does not exist; `open` removes such leftovers.
//! - A key is only ever a value in a row, never a file name: `../x`, `a` and `a/b` are just names.
//! - A read opens its blob in the same breath in which it looks up the row, so it keeps the version
//!   that it began with.
//!
//! Missing on purpose: versioning, access lists, tags, encryption, copies. Where a request asks for
//! something of the kind, it is refused with `NotImplemented` and not quietly weakened.

mod api;
mod blobs;
mod checksums;
mod front;
mod index;
mod multipart;
mod reads;
mod signing;
mod uploads;
mod writes;

#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result};
use tokio::net::TcpListener;

use crate::domain::Secret;

use super::listen;
use blobs::Blobs;
use index::Index;

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct DevStoreOptions {
    /// The only access key id that is known.
    pub access_key: String,
    /// Its secret; ASCII text.
    pub secret_key: Secret,
    /// Buckets that are made if they do not exist.
    pub buckets: Vec<String>,
    /// Origins from which browsers may use the store, `https://app.example` or `*`, besides those
    /// on loopback addresses, which always may.
    pub cors_origins: Vec<String>,
}

/// An open store.
pub struct DevStore {
    service: S3Service,
    cors: front::Cors,
}

impl DevStore {
    /// Opens the store in `dir`, and makes it if there is none. Reads and writes files: not for an
    /// async worker of a busy runtime.
    ///
    /// # Errors
    /// If the folder cannot be used, if another process has it open, or if an option makes no
    /// sense; the text says which.
    pub fn open(dir: &Path, options: DevStoreOptions) -> io::Result<Self> {
        let DevStoreOptions { access_key, secret_key, buckets, cors_origins } = options;
        let auth = signing::OneKeyPair::new(access_key, &secret_key)?;
        let cors = front::Cors::new(cors_origins)?;
        if let Some(bad) = buckets.iter().find(|name| !s3s::path::check_bucket_name(name)) {
            return Err(invalid(format!(
                "`{bad}` is no bucket name: use 3 to 63 of a-z, 0-9, `-` and `.`"
            )));
        }
        let core = Core::open(dir, &buckets)?;
        let mut builder = S3ServiceBuilder::new(api::Api::new(Arc::new(core)));
        builder.set_auth(auth);
        builder.set_access(signing::SignedThroughout);
        Ok(Self { service: builder.build(), cors })
    }

    /// Serves the store until `shutdown`; buckets are the first segment of the path.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let front = Arc::new(front::Front::new(self.service, self.cors));
        listen::accept(listener, shutdown, |stream, ending| {
            Arc::clone(&front).serve_connection(stream, ending)
        })
        .await;
    }
}

impl std::fmt::Debug for DevStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevStore").finish_non_exhaustive()
    }
}

/// The index and the blobs, and the lock that keeps both to this process.
struct Core {
    index: Mutex<Index>,
    blobs: Blobs,
    _lock: File,
}

impl Core {
    fn open(dir: &Path, buckets: &[String]) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("store.lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is in use by another process: stop that one first", dir.display()),
            ),
            TryLockError::Error(error) => error,
        })?;
        let blobs = Blobs::open(&dir.join("blobs"))?;
        let index = Index::open(&dir.join("store.db"), buckets).map_err(io::Error::other)?;
        let removed = blobs.retain(&index.blobs().map_err(io::Error::other)?)?;
        if removed > 0 {
            tracing::debug!(removed, "removed blobs of writes that were never completed");
        }
        Ok(Self { index: Mutex::new(index), blobs, _lock: lock })
    }

    /// Runs `work` with the index, on a thread that may block.
    async fn with_index<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Index, &Blobs) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let core = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            // A panic leaves no half-made transaction behind: SQLite rolls it back.
            let mut index = core.index.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut index, &core.blobs)
        });
        done.await.map_err(internal)?
    }
}

/// A failure of the store itself. The cause goes to the log, not to the client.
fn internal(error: impl std::error::Error) -> S3Error {
    tracing::error!(%error, "the development store failed");
    S3Error::with_message(S3ErrorCode::InternalError, "We encountered an internal error.")
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
