//! The data folder of `safelight dev`: written once, then the developer's to edit.
//!
//! ```text
//! {dir}/safelight.toml    the settings, with secrets of their own
//! {dir}/apps.d/demo.toml  the demo app
//! {dir}/photo.jpg         something to upload
//! {dir}/safelight.db      the records
//! {dir}/store/            the embedded store
//! ```

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::domain::hex;

/// The bucket that the embedded store is made with.
pub const BUCKET: &str = "media";

/// The photograph to try it with; see `tests/photos/README.md`.
const PHOTO: &[u8] = include_bytes!("../../tests/photos/portrait.jpg");

/// A data folder whose files exist.
#[derive(Debug)]
pub struct DataFolder {
    dir: PathBuf,
}

impl DataFolder {
    /// Opens a data folder, and writes what is missing in it. Nothing that exists is changed.
    ///
    /// # Errors
    /// If a file cannot be written, or the system gives no random numbers.
    pub fn open(dir: &Path, cdn: SocketAddr) -> io::Result<Self> {
        let folder = Self { dir: dir.to_owned() };
        fs::create_dir_all(folder.apps_dir())?;
        write_new(&folder.settings_file(), settings(&folder)?.as_bytes())?;
        write_new(&folder.demo_file(), demo_app(cdn).as_bytes())?;
        write_new(&folder.photo(), PHOTO)?;
        Ok(folder)
    }

    /// The settings.
    #[must_use]
    pub fn settings_file(&self) -> PathBuf {
        self.dir.join("safelight.toml")
    }

    /// The folder of the apps' files.
    #[must_use]
    pub fn apps_dir(&self) -> PathBuf {
        self.dir.join("apps.d")
    }

    /// The demo app's file.
    #[must_use]
    pub fn demo_file(&self) -> PathBuf {
        self.apps_dir().join("demo.toml")
    }

    /// Something to upload.
    #[must_use]
    pub fn photo(&self) -> PathBuf {
        self.dir.join("photo.jpg")
    }

    /// The folder of the embedded store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Whether the demo app still reads through a CDN at this address.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn demo_reads_from(&self, cdn: SocketAddr) -> io::Result<bool> {
        match fs::read_to_string(self.demo_file()) {
            Ok(text) => Ok(text.contains(&format!("http://{cdn}\""))),
            // Somebody has removed the demo app: then it reads from nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Writes a file that does not exist yet. It may hold secrets, so nobody else may read it.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(content),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn settings(folder: &DataFolder) -> io::Result<String> {
    let in_dir = |name: &str| quoted(&folder.dir.join(name).display().to_string());
    let records = quoted(&format!("sqlite:{}", folder.dir.join("safelight.db").display()));
    Ok(format!(
        r#"# Written by `safelight dev` when it first ran here; change what you like.
# Where it listens is said on its command line, which overrides this file.

[Server]
PublicBaseURL = "http://127.0.0.1:8080"
AppsDir = {}
SecretsDir = {}
AllowLoopbackUpstreams = true

[Records]
URL = {records}

[Keys]
MintSecrets = ["{}"]
SigningSecrets = ["{}"]
"#,
        in_dir("apps.d"),
        in_dir("secrets"),
        secret()?,
        secret()?,
    ))
}

/// A TOML string: every JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn demo_app(cdn: SocketAddr) -> String {
    format!(
        r#"# The demo app of `safelight dev`. What you change here is in force a second later.

AllowPublicUpload = true
CloudFrontURL = "http://{cdn}"

[Storage]
Kind = "embedded"
Bucket = "{BUCKET}"
KeyPrefix = "images/"

[Read]   # so that each read shows what the CDN does, and what follows when it fails
MemoryCacheMaxObject = "0B"
OriginShare = 0
HedgeAfter = "off"

[CORS]
AllowedOrigins = ["*"]
"#
    )
}

/// A secret of 32 random bytes, in hexadecimal.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cdn() -> SocketAddr {
        ([127, 0, 0, 1], 9080).into()
    }

    #[test]
    fn what_exists_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(dir.path(), cdn()).unwrap();
        let secrets = fs::read_to_string(folder.settings_file()).unwrap();
        fs::write(folder.demo_file(), "edited").unwrap();
        let folder = DataFolder::open(dir.path(), cdn()).unwrap();
        assert_eq!(fs::read_to_string(folder.settings_file()).unwrap(), secrets);
        assert_eq!(fs::read_to_string(folder.demo_file()).unwrap(), "edited");
        assert!(!folder.demo_reads_from(cdn()).unwrap());
    }

    #[test]
    fn two_folders_share_no_secret() {
        let texts = [(); 2].map(|()| {
            let dir = tempfile::tempdir().unwrap();
            let folder = DataFolder::open(dir.path(), cdn()).unwrap();
            assert!(folder.demo_reads_from(cdn()).unwrap());
            let text = fs::read_to_string(folder.settings_file()).unwrap();
            text.lines().find(|line| line.starts_with("MintSecrets")).unwrap().to_owned()
        });
        assert_ne!(texts[0], texts[1]);
    }
}
