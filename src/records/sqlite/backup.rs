//! A copy of a database, taken while it is in use.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::open;

/// The copy while it is being written; removed if it does not come to its end.
struct Partial {
    path: PathBuf,
}

/// Copies the database at `source` to a new file `target`, and says how many uploads the copy has.
/// Takes no lock: a gateway that runs goes on writing, and everything that it had answered before
/// this began is in the copy. The file appears under its name only when it is whole, checked and on
/// disk. Blocks for as long as the copy takes.
///
/// # Errors
/// A text for the operator: there is such a file already, the directory cannot be written or is
/// full, or the database cannot be read.
pub fn back_up(source: &Path, target: &Path) -> Result<u64, String> {
    if target.symlink_metadata().is_ok() {
        return Err(exists(target));
    }
    let partial = Partial::create(target)?;
    let source = source.canonicalize().map_err(|error| failed("read", source, &error))?;
    let database =
        open::reading_connection(&source).map_err(|error| failed("read", &source, &error))?;
    // One read transaction: what is committed meanwhile is not in it, and does not wait for it.
    let name = partial.path.to_string_lossy();
    database
        .execute("VACUUM INTO ?1", [&*name])
        .map_err(|error| failed("copy", &source, &error))?;
    let uploads = checked(&partial.path)?;
    partial.publish(target)?;
    Ok(uploads)
}

/// Whether a copy is whole; how many uploads it has.
fn checked(copy: &Path) -> Result<u64, String> {
    let unreadable = |error: rusqlite::Error| failed("check", copy, &error);
    let database = open::reading_connection(copy).map_err(unreadable)?;
    let verdict: String = database
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(unreadable)?;
    if verdict != "ok" {
        return Err(failed("use", copy, &format!("the copy is damaged: {verdict}")));
    }
    count(&database).map_err(unreadable)
}

fn count(database: &Connection) -> rusqlite::Result<u64> {
    let uploads: i64 = database.query_row("SELECT COUNT(*) FROM uploads", [], |row| row.get(0))?;
    Ok(uploads.unsigned_abs())
}

impl Partial {
    /// An empty file beside the target, which SQLite fills. It names owners: it is for nobody else.
    fn create(target: &Path) -> Result<Self, String> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let path = PathBuf::from(name);
        // SQLite takes names of text only.
        if path.to_str().is_none() {
            return Err(failed("create", target, &"the path is not UTF-8"));
        }
        let created = File::options().write(true).create_new(true).mode(0o600).open(&path);
        created.map_err(|error| failed("create", &path, &error))?;
        Ok(Self { path })
    }

    /// Gives the file its name, if nothing else has it by now.
    fn publish(self, target: &Path) -> Result<(), String> {
        let unsaved = |error: std::io::Error| failed("save", target, &error);
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(unsaved)?;
        match fs::hard_link(&self.path, target) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(target)),
            // Not every file system has links. A renaming would replace what is there.
            Err(_) if target.symlink_metadata().is_ok() => return Err(exists(target)),
            Err(_) => fs::rename(&self.path, target).map_err(unsaved)?,
        }
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        File::open(directory).and_then(|file| file.sync_all()).map_err(unsaved)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone already where it was renamed.
        let _ = fs::remove_file(&self.path);
    }
}

fn exists(target: &Path) -> String {
    let target = target.display();
    format!("{target} exists already, and a backup replaces nothing")
}

fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
