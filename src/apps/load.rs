//! The files of all apps: which there are, and that no two apps share a part of a bucket.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::AppConfig;
use super::file;
use super::not_built::NOT_BUILT;
use super::overlap::{overlap, rivals};
use super::secrets::SecretScope;
use crate::config::{Asked, ConfigError, Place, Source, asked, read, read_text};
use crate::domain::{AppName, Grants, TrustedProxies};
use crate::upstream::guard::AddressPolicy;

/// What the process's settings say about the apps' files.
#[derive(Clone, Copy)]
pub struct LoadContext<'a> {
    /// What tenants' URLs may lead to.
    pub address_policy: &'a AddressPolicy,
    /// The longest life of an upload URL.
    pub max_url_expiry: Duration,
    /// The directory that has a directory of secrets for each app.
    pub secrets_dir: &'a Path,
    /// The environment: the value of a variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Which apps may use the process's own credentials, and where.
    pub grants: &'a Grants,
    /// The proxies in front of the gateway, where the operator has said whether there are any.
    pub trusted_proxies: Option<&'a TrustedProxies>,
}

/// The files of a directory, as they were read.
pub struct Directory {
    /// Those of apps, in the order of names.
    pub(super) files: Vec<AppFile>,
    /// What is wrong with files that cannot be an app's.
    pub(super) strays: Vec<ConfigError>,
}

/// The file of an app, as it was read.
#[derive(Clone)]
pub(super) struct AppFile {
    pub name: AppName,
    /// The directory joined with the file's name.
    pub file: String,
    /// What it says, or everything that is wrong with it.
    pub read: Result<Located, Vec<ConfigError>>,
    /// The files of secrets that it names.
    pub secret_files: BTreeSet<PathBuf>,
}

/// What a file says, and where in its text.
#[derive(Clone)]
pub(super) struct Located {
    pub config: AppConfig,
    pub text: String,
    pub storage_place: Place,
}

/// Reads every `*.toml` in the directory, hidden files aside. The apps come in the order of their
/// names, with everything that is wrong with the files that gave none. An error's `file` is the
/// directory joined with the file's name.
#[must_use]
pub fn load_apps(dir: &Path, context: &LoadContext<'_>) -> (Vec<AppConfig>, Vec<ConfigError>) {
    let Directory { files, strays: mut errors } = match read_directory(dir, context) {
        Ok(directory) => directory,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let mut loaded = Vec::new();
    for AppFile { file, read, .. } in files {
        match read {
            Ok(located) => loaded.push((file, located)),
            Err(wrong) => errors.extend(wrong),
        }
    }
    (without_overlaps(loaded, &mut errors), errors)
}

/// Reads the files of all apps, each by itself.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn read_directory(
    dir: &Path,
    context: &LoadContext<'_>,
) -> Result<Directory, ConfigError> {
    let mut strays = Vec::new();
    let files = app_files(dir, &mut strays).map_err(|error| {
        let name = dir.display().to_string();
        let error = ConfigError::of_file(name, format!("cannot be read: {error}"));
        error.with_hint("Server.AppsDir names the directory")
    })?;
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let files = files.into_iter().map(|(name, path)| {
        let file = path.display().to_string();
        let secret_files = RefCell::default();
        let read = read_text(&path).map_err(|error| vec![error]).and_then(|text| {
            let (config, storage_place) =
                read_located(&name, &file, &text, &names, context, &secret_files)?;
            Ok(Located { config, text, storage_place })
        });
        AppFile { name, file, read, secret_files: secret_files.into_inner() }
    });
    Ok(Directory { files: files.collect(), strays })
}

/// Reads the text of one app's file. `others` are the apps that there are besides: variables that
/// are theirs by name are not this app's.
///
/// # Errors
/// Everything that is wrong.
pub fn read_app(
    name: &AppName,
    file: &str,
    text: &str,
    others: &[AppName],
    context: &LoadContext<'_>,
) -> Result<AppConfig, Vec<ConfigError>> {
    read_located(name, file, text, others, context, &RefCell::default()).map(|(app, _)| app)
}

/// What an app's file with this text is asked for: its keys, and what each takes. What `[Storage]` may
/// hold depends on its `Kind`.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "it never does")]
pub fn asked_of_app(text: &str) -> Vec<Asked> {
    let name = AppName::parse("app").expect("this is a name");
    let (policy, grants) = (AddressPolicy::default(), Grants::default());
    let (secrets_dir, env) = (Path::new(""), &|_: &str| None);
    let context = LoadContext {
        address_policy: &policy,
        max_url_expiry: Duration::MAX,
        secrets_dir,
        env,
        grants: &grants,
        trusted_proxies: None,
    };
    let files = &RefCell::default();
    let secrets = SecretScope { app: &name, apps: &[], secrets_dir, env, grants: &grants, files };
    let source = Source::new("", text).with_not_built(&NOT_BUILT);
    asked(&source, |section| file::app(section, &name, &context, &secrets))
}

fn read_located(
    name: &AppName,
    file: &str,
    text: &str,
    apps: &[AppName],
    context: &LoadContext<'_>,
    files: &RefCell<BTreeSet<PathBuf>>,
) -> Result<(AppConfig, Place), Vec<ConfigError>> {
    let LoadContext { secrets_dir, env, grants, .. } = *context;
    let secrets = SecretScope { app: name, apps, secrets_dir, env, grants, files };
    let source = Source::new(file, text).with_not_built(&NOT_BUILT);
    read(&source, |section| file::app(section, name, context, &secrets))
}

/// The files of apps, in the order of names. Files whose names cannot be apps are errors.
fn app_files(
    dir: &Path,
    errors: &mut Vec<ConfigError>,
) -> std::io::Result<Vec<(AppName, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(stem) = stem_of(&path) else { continue };
        match AppName::parse(&stem) {
            Ok(name) => files.push((name, path)),
            Err(invalid) => errors.push(
                ConfigError::of_file(
                    path.display().to_string(),
                    format!("{stem:?} is the name of no app: {invalid}"),
                )
                .with_hint("rename the file: its name is the name of the app"),
            ),
        }
    }
    files.sort();
    errors.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(files)
}

/// The name of a file without `.toml`; `None` for every other file, and for hidden ones.
pub(super) fn stem_of(path: &Path) -> Option<String> {
    let file_name = path.file_name()?.to_string_lossy();
    let stem = file_name.strip_suffix(".toml").filter(|stem| !stem.starts_with('.'))?;
    Some(stem.to_owned())
}

/// Takes out the apps whose parts of a bucket overlap, all of them: which of two was there first,
/// a file does not say, and one tenant must not displace another.
fn without_overlaps(
    loaded: Vec<(String, Located)>,
    errors: &mut Vec<ConfigError>,
) -> Vec<AppConfig> {
    let parts: Vec<_> = loaded.iter().map(|(_, located)| &located.config.storage).collect();
    let rivals = rivals(&parts);
    let refused = rivals.iter().enumerate().filter_map(|(index, rival)| {
        let ((file, one), (other_file, other)) = (&loaded[index], &loaded[(*rival)?]);
        Some(overlap(file, one, other_file, &other.config.storage))
    });
    errors.extend(refused);
    let apps = loaded.into_iter().zip(rivals);
    apps.filter_map(|((_, one), rival)| rival.is_none().then_some(one.config)).collect()
}
