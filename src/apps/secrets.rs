//! Secrets that a tenant's file names: `env:NAME` and `file:NAME`. A file can name its own app's
//! secrets, never the operator's or another tenant's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::{AppName, Grants, Secret};

/// The largest secret that is read from a file, in bytes. A private key of any kind is smaller.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// What an app's file may name secrets from.
pub(super) struct SecretScope<'a> {
    pub app: &'a AppName,
    /// The apps that there are, this one included or not.
    pub apps: &'a [AppName],
    /// The directory that has a directory for each app.
    pub secrets_dir: &'a Path,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Which apps may use the process's own credentials, and where.
    pub grants: &'a Grants,
    /// The files that were read, or were to be: a change of theirs is one of the app's.
    pub files: &'a RefCell<BTreeSet<PathBuf>>,
}

impl SecretScope<'_> {
    /// The secret that a value of the file stands for: the named one, or the value itself.
    ///
    /// # Errors
    /// A text for the tenant, which tells no secret.
    pub fn resolve(&self, value: &str) -> Result<Secret, String> {
        let secret = if let Some(name) = value.strip_prefix("env:") {
            Secret::new(self.variable(name)?)
        } else if let Some(name) = value.strip_prefix("file:") {
            Secret::new(self.file(name)?)
        } else {
            Secret::new(value)
        };
        // Credentials travel in headers and URLs: a stray byte there would fail much later, in
        // words that nobody understands.
        if !secret.expose().iter().all(u8::is_ascii_graphic) {
            return Err("the secret holds a space, a line break or another character that no \
                        credential has"
                .to_owned());
        }
        Ok(secret)
    }

    /// What a file of the app's secrets holds, in lines or not: what the value of a `…File` key
    /// stands for.
    ///
    /// # Errors
    /// A text for the tenant, which tells no secret.
    pub fn document(&self, name: &str) -> Result<Secret, String> {
        self.file(name).map(Secret::new)
    }

    fn variable(&self, name: &str) -> Result<Vec<u8>, String> {
        let own = env_prefix(self.app);
        if !name.starts_with(&own) {
            return Err(format!("the names of this app's variables begin with {own}"));
        }
        // MY_APP_KEY begins with the prefix of `my` as well as with that of `my-app`.
        let longer = |other: &&AppName| {
            let theirs = env_prefix(other);
            theirs.len() > own.len() && name.starts_with(&theirs)
        };
        if let Some(other) = self.apps.iter().find(longer) {
            return Err(format!("{name} belongs to the app {other}: choose another name"));
        }
        match (self.env)(name) {
            None => Err(format!("the environment variable {name} is not set")),
            Some(value) if value.is_empty() => {
                Err(format!("the environment variable {name} is empty"))
            }
            Some(value) => Ok(value.into_bytes()),
        }
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, String> {
        let place = format!("{{SecretsDir}}/{}/", self.app);
        let mut parts = Path::new(name).components().peekable();
        // `..data` is a name; `..` is not.
        if parts.peek().is_none() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("name a file in {place}, without '..' or a leading '/'"));
        }
        let base = self.secrets_dir.join(self.app.as_str());
        self.files.borrow_mut().insert(base.join(name));
        let unreadable = |error: std::io::Error| format!("{place}{name} cannot be read: {error}");
        // Kubernetes mounts secrets as links to links, so links are followed, and where they end
        // decides. The directory itself is the operator's, who may link it as well.
        let base = base.canonicalize().map_err(unreadable)?;
        let path = base.join(name).canonicalize().map_err(unreadable)?;
        if !path.starts_with(&base) {
            return Err(format!("{place}{name} is a link that leads out of {place}"));
        }
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(format!("{place}{name} is not a regular file"));
        }
        // As large as it may become: no smaller copy is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 2));
        File::open(&path)
            .and_then(|file| file.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if bytes.len() > MAX_SECRET_BYTES {
            return Err(format!("{place}{name} is larger than 64 KiB: this is no secret"));
        }
        // Editors and `echo` end a file with a line break that is not meant.
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.is_empty() {
            Err(format!("{place}{name} is empty"))
        } else {
            // As large as it is: the room for the largest is not kept with it.
            Ok(bytes.to_vec())
        }
    }
}

/// What the names of an app's environment variables begin with. Names of apps have no `_`, so two
/// apps never have the same one.
fn env_prefix(app: &AppName) -> String {
    format!("SAFELIGHT_APP_{}_", app.as_str().to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn app(name: &str) -> AppName {
        AppName::parse(name).unwrap()
    }

    fn resolve(name: &str, dir: &Path, value: &str) -> Result<String, String> {
        let env = |variable: &str| match variable {
            "SAFELIGHT_APP_MY_KEY" => Some("mine".to_owned()),
            "SAFELIGHT_APP_MY_APP_KEY" => Some("theirs".to_owned()),
            "SAFELIGHT_APP_MY_APPS" => Some("mine-too".to_owned()),
            "SAFELIGHT_APP_MY_BAD" => Some("two words".to_owned()),
            "SAFELIGHT_APP_MY_EMPTY" => Some(String::new()),
            "SAFELIGHT__KEYS__MINTSECRETS" | "AWS_SECRET_ACCESS_KEY" => Some("operator".to_owned()),
            _ => None,
        };
        let apps = [app("my"), app("my-app"), app("shop")];
        let (grants, files) = (&Grants::default(), &RefCell::default());
        let scope = SecretScope {
            app: &app(name),
            apps: &apps,
            secrets_dir: dir,
            env: &env,
            grants,
            files,
        };
        scope.resolve(value).map(|secret| secret.expose_str().unwrap().to_owned())
    }

    #[test]
    fn variables_are_the_apps_own() {
        for (name, value, expected) in [
            ("my", "literal", Ok("literal")),
            ("my", "env:SAFELIGHT_APP_MY_KEY", Ok("mine")),
            ("my", "env:SAFELIGHT_APP_MY_APPS", Ok("mine-too")),
            ("my-app", "env:SAFELIGHT_APP_MY_APP_KEY", Ok("theirs")),
            (
                "my",
                "env:SAFELIGHT_APP_MY_APP_KEY",
                Err("SAFELIGHT_APP_MY_APP_KEY belongs to the app my-app: choose another name"),
            ),
            (
                "my-app",
                "env:SAFELIGHT_APP_MY_KEY",
                Err("the names of this app's variables begin with SAFELIGHT_APP_MY_APP_"),
            ),
            (
                "my",
                "env:AWS_SECRET_ACCESS_KEY",
                Err("the names of this app's variables begin with SAFELIGHT_APP_MY_"),
            ),
            (
                "my",
                "env:SAFELIGHT__KEYS__MINTSECRETS",
                Err("the names of this app's variables begin with SAFELIGHT_APP_MY_"),
            ),
            (
                "my",
                "env:safelight_app_my_key",
                Err("the names of this app's variables begin with SAFELIGHT_APP_MY_"),
            ),
            (
                "my",
                "env:SAFELIGHT_APP_MY_NONE",
                Err("the environment variable SAFELIGHT_APP_MY_NONE is not set"),
            ),
            (
                "my",
                "env:SAFELIGHT_APP_MY_EMPTY",
                Err("the environment variable SAFELIGHT_APP_MY_EMPTY is empty"),
            ),
            (
                "my",
                "env:SAFELIGHT_APP_MY_BAD",
                Err(
                    "the secret holds a space, a line break or another character that no credential has",
                ),
            ),
        ] {
            let resolved = resolve(name, Path::new("/nowhere"), value);
            assert_eq!(resolved.as_deref().map_err(String::as_str), expected, "{name} {value}");
        }
    }

    #[test]
    fn files_are_the_apps_own() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["shop/..2026", "shop/sub", "my"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for (file, text) in [
            ("shop/key", "k\n"),
            ("shop/..2026/mounted", "m\r\n"),
            ("shop/sub/deep", "d"),
            ("shop/empty", "\n"),
            ("my/key", "theirs"),
            ("operator", "operators"),
        ] {
            std::fs::write(at(file), text).unwrap();
        }
        // As Kubernetes does it.
        symlink("..2026", at("shop/..data")).unwrap();
        symlink("..data/mounted", at("shop/mounted")).unwrap();
        symlink("../operator", at("shop/out")).unwrap();
        symlink(at("my"), at("shop/neighbour")).unwrap();

        for (name, expected) in [
            ("key", "k"),
            ("./key", "without '..'"),
            ("mounted", "m"),
            ("..data/mounted", "m"),
            ("sub/deep", "d"),
            ("out", "is a link that leads out of {SecretsDir}/shop/"),
            ("neighbour/key", "is a link that leads out of {SecretsDir}/shop/"),
            ("../operator", "without '..'"),
            ("sub/../../operator", "without '..'"),
            ("/etc/passwd", "without '..'"),
            ("", "without '..'"),
            ("sub", "is not a regular file"),
            ("empty", "is empty"),
            ("none", "cannot be read: No such file"),
            ("nul\0", "cannot be read"),
        ] {
            match resolve("shop", dir.path(), &format!("file:{name}")) {
                Ok(secret) => assert_eq!(secret, expected, "{name}"),
                Err(told) => assert!(told.contains(expected), "{name}: {told}"),
            }
        }
    }
}
