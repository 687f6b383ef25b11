//! The bytes of objects and parts: files with random names.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt as _;

use crate::domain::hex;

/// The folder of the blobs.
pub(super) struct Blobs {
    dir: PathBuf,
}

/// A blob that is being written. It is removed when it is dropped, unless it was [kept](Self::keep).
pub(super) struct Draft {
    name: String,
    path: PathBuf,
    file: tokio::fs::File,
    kept: bool,
}

impl Blobs {
    /// Opens the folder, and makes it if there is none.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Begins a blob under a new random name.
    pub(super) async fn create(&self) -> io::Result<Draft> {
        let name = random_name()?;
        let path = self.dir.join(&name);
        let file = tokio::fs::File::options().write(true).create_new(true).open(&path).await?;
        Ok(Draft { name, path, file, kept: false })
    }

    /// Opens a blob for reading.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        File::open(self.dir.join(name))
    }

    /// Removes blobs that no row names any more. A failure leaves an orphan, which the next `open`
    /// of the store removes.
    pub(super) fn remove(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            if let Err(error) = std::fs::remove_file(self.dir.join(&name)) {
                tracing::warn!(%error, "cannot remove an old blob");
            }
        }
    }

    /// Removes everything but the blobs in `known`, and says how many files that were.
    pub(super) fn retain(&self, known: &HashSet<String>) -> io::Result<u64> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Makes the names of new blobs survive a power failure; their content is synced by
    /// [`Draft::sync`]. To be called before a row names them.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        // Elsewhere a folder cannot be opened as a file, and its names need no sync.
        if cfg!(unix) { File::open(&self.dir)?.sync_all() } else { Ok(()) }
    }
}

impl Draft {
    /// The name that a row is to have.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Appends bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Appends a whole other blob, without reading it into memory: where the file system can, the
    /// kernel copies or shares the blocks itself.
    pub(super) async fn append(&mut self, mut source: File) -> io::Result<()> {
        self.file.flush().await?;
        let mut target = self.file.try_clone().await?.into_std().await;
        tokio::task::spawn_blocking(move || io::copy(&mut source, &mut target))
            .await
            .map_err(io::Error::other)??;
        Ok(())
    }

    /// Makes the content survive a power failure.
    pub(super) async fn sync(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await
    }

    /// A row names the blob now: it stays.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // One unlink; and what cannot be removed is an orphan that the next `open` removes.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// 128 random bits in hexadecimal: the name of a blob, or of a multipart upload.
pub(super) fn random_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex(&bytes))
}
