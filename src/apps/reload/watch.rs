//! Whether the files have changed, told by looking again and again.
//!
//! The directory is looked at, and not each file listened to: Kubernetes swaps a whole mount by one
//! symbolic link, editors write another file and rename it, and neither shows at a file that was
//! opened before. A look is a `stat` of each file, through its links, and of each file of secrets that
//! the apps name: microseconds each. It works on every file system; the events of the kernel do not
//! tell what other machines write to a shared one, nor what happens behind a link.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::load::stem_of;

/// The time between two looks. A change is taken up after two that see the same: whoever writes a
/// file has as long to finish it.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Files that never come to rest are read all the same after so long.
const LONGEST_UNREST: Duration = Duration::from_secs(2);

/// After so long, files that were just read are read once more. A file that is written twice within
/// one tick of its file system's clock looks the same after the second time; no clock ticks more
/// slowly than every two seconds (FAT).
const CONFIRM_AFTER: Duration = Duration::from_secs(2);

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Of each file, there or not. By names as they are: to compare two as paths takes longer than to
/// look at a file.
type Stamps = BTreeMap<OsString, Option<Stamp>>;

/// What was seen at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// The files of apps, by name; `None` if the directory cannot be read.
    files: Option<Stamps>,
    /// The files of secrets that they name, there or not, by path.
    secrets: Stamps,
}

/// Why files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The gateway starts.
    Start,
    /// They have changed.
    Change,
    /// The operator wants it.
    Signal,
    /// A change might not have shown.
    Confirmation,
    /// The time of an app is up whose file is gone.
    Removal,
}

/// Tells from looks when it is time to read.
pub struct Watch {
    /// What was seen just before the files were last read.
    read: Look,
    /// What was seen last, if it was something else.
    last: Option<Look>,
    /// Since when it is something else.
    restless_since: Option<Instant>,
    confirm_at: Option<Instant>,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Look {
    /// Looks at the files of apps in a directory, and at these files of secrets.
    #[must_use]
    pub fn take(dir: &Path, secret_files: &BTreeSet<PathBuf>) -> Self {
        let mut look = Self { files: files(dir).ok(), secrets: BTreeMap::new() };
        look.follow(secret_files);
        look
    }

    /// Looks at these files of secrets as well, and at no others any more.
    pub fn follow(&mut self, secret_files: &BTreeSet<PathBuf>) {
        let seen = std::mem::take(&mut self.secrets);
        let stamp =
            |path: &PathBuf| seen.get(path.as_os_str()).copied().unwrap_or_else(|| Stamp::of(path));
        self.secrets = secret_files.iter().map(|path| (path.into(), stamp(path))).collect();
    }

    /// Whether the directory could be read.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.files.is_some()
    }
}

fn files(dir: &Path) -> std::io::Result<Stamps> {
    let mut files = Stamps::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if stem_of(&path).is_some() {
            files.insert(entry.file_name(), Stamp::of(&path));
        }
    }
    Ok(files)
}

impl Watch {
    /// A watch over files that were read after this look.
    #[must_use]
    pub fn new(read: Look, now: Instant) -> Self {
        let confirm_at = Some(now + CONFIRM_AFTER);
        Self { read, last: None, restless_since: None, confirm_at }
    }

    /// Takes note of a look: whether, and why, the files are to be read now.
    pub fn see(&mut self, look: &Look, now: Instant) -> Option<Occasion> {
        if *look == self.read {
            self.rest();
            return self.confirm_at.take_if(|at| *at <= now).map(|_| Occasion::Confirmation);
        }
        let since = *self.restless_since.get_or_insert(now);
        let has_settled = self.last.as_ref() == Some(look);
        self.last = Some(look.clone());
        let is_overdue = now.saturating_duration_since(since) >= LONGEST_UNREST;
        (has_settled || is_overdue).then_some(Occasion::Change)
    }

    /// Notes that the files were read after this look.
    pub fn read_after(&mut self, look: Look, now: Instant) {
        if look != self.read {
            self.confirm_at = Some(now + CONFIRM_AFTER);
        }
        self.read = look;
        self.rest();
    }

    fn rest(&mut self) {
        (self.last, self.restless_since) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A look that differs from others of another number.
    fn look(number: u64) -> Look {
        let stamp = Stamp { device: 1, inode: number, size: 1, modified: (0, 0), changed: (0, 0) };
        Look { files: Some([("a.toml".into(), Some(stamp))].into()), secrets: BTreeMap::new() }
    }

    #[test]
    fn a_change_is_taken_up_when_it_has_come_to_rest() {
        use Occasion::{Change, Confirmation};
        // Milliseconds, what is seen, and whether it is read then.
        for (name, looks) in [
            ("nothing", vec![(500, 1, None), (1500, 1, None)]),
            (
                "one read more",
                vec![(1500, 1, None), (2000, 1, Some(Confirmation)), (9000, 1, None)],
            ),
            ("one change", vec![(500, 2, None), (1000, 2, Some(Change)), (1500, 2, None)]),
            (
                "confirmed",
                vec![(500, 2, None), (1000, 2, Some(Change)), (3000, 2, Some(Confirmation))],
            ),
            ("still writing", vec![(500, 2, None), (1000, 3, None), (1500, 3, Some(Change))]),
            ("taken back", vec![(500, 2, None), (1000, 1, None), (1500, 2, None)]),
            (
                "never at rest",
                vec![
                    (500, 2, None),
                    (1000, 3, None),
                    (1500, 4, None),
                    (2000, 5, None),
                    (2500, 6, Some(Change)),
                    (3000, 7, None),
                ],
            ),
        ] {
            let begun = Instant::now();
            let mut watch = Watch::new(look(1), begun);
            for (millis, seen, expected) in looks {
                let now = begun + Duration::from_millis(millis);
                let occasion = watch.see(&look(seen), now);
                assert_eq!(occasion, expected, "{name} at {millis}");
                if occasion.is_some() {
                    watch.read_after(look(seen), now);
                }
            }
        }
    }

    #[test]
    fn every_way_to_change_a_file_shows() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let secret = BTreeSet::from([at("secrets/shop/key")]);
        let mut last = Look::take(dir.path(), &secret);
        let mut changed = |what: &str, expected: bool| {
            let now = Look::take(dir.path(), &secret);
            assert_eq!(now != last, expected, "{what}");
            last = now;
        };
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("shop.toml"), "the same").unwrap();
        }
        fs::write(at(".hidden.toml"), "x").unwrap();
        fs::write(at("README.md"), "x").unwrap();
        changed("files of nobody", false);
        symlink("..1", at("..data")).unwrap();
        symlink("..data/shop.toml", at("shop.toml")).unwrap();
        changed("a new file", true);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        changed("the swap of a mount, to a text of the same length", true);
        fs::write(at("..2/shop.toml"), "more text").unwrap();
        changed("a write", true);
        fs::write(at("next"), "more text").unwrap();
        fs::remove_file(at("shop.toml")).unwrap();
        fs::rename(at("next"), at("shop.toml")).unwrap();
        changed("a rename", true);
        changed("nothing", false);
        fs::create_dir_all(at("secrets/shop")).unwrap();
        fs::write(at("secrets/shop/key"), "k").unwrap();
        changed("a secret that was not there", true);
        fs::remove_file(at("shop.toml")).unwrap();
        changed("a deletion", true);
        fs::remove_dir_all(dir.path()).unwrap();
        changed("no directory", true);
        assert!(!last.is_readable());
    }
}
