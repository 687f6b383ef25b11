//! The program's commands, as an operator types them and as an init system runs them.

mod api_keys;
mod checking;
mod logging;
mod serving;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::gateway::{offline_app_file, settings_text};

/// A folder with the files of a gateway.
struct Files {
    folder: TempDir,
}

impl Files {
    /// Good settings, and one good app whose store does not exist.
    fn good() -> Self {
        Self::with_app(&offline_app_file("", ""))
    }

    /// Good settings, and an app of this file.
    fn with_app(file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["apps.d", "data", "secrets"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let files = Self { folder };
        files.write("safelight.toml", &settings_text(files.folder.path(), ""));
        files.write("apps.d/shop.toml", file);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> String {
        self.path("safelight.toml").to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Changes a file that has this text in it.
    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replacen(from, to, 1));
    }
}
