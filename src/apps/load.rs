//! The files of all apps: which there are, and that no two apps share a part of a bucket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{AppConfig, StorageConfig};
use super::file;
use super::not_built::NOT_BUILT;
use super::secrets::SecretScope;
use crate::config::{ConfigError, Place, Source, read, read_text};
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

/// An app as its file gives it, before it is compared with others.
struct Loaded {
    app: AppConfig,
    file: String,
    text: String,
    storage_place: Place,
}

/// Reads every `*.toml` in the directory, hidden files aside. The apps come in the order of their
/// names, with everything that is wrong with the files that gave none. An error's `file` is the
/// directory joined with the file's name.
#[must_use]
pub fn load_apps(dir: &Path, context: &LoadContext<'_>) -> (Vec<AppConfig>, Vec<ConfigError>) {
    let mut errors = Vec::new();
    let files = match app_files(dir, &mut errors) {
        Ok(files) => files,
        Err(error) => {
            let name = dir.display().to_string();
            let error = ConfigError::of_file(name, format!("cannot be read: {error}"));
            return (Vec::new(), vec![error.with_hint("Server.AppsDir names the directory")]);
        }
    };
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let mut loaded = Vec::new();
    for (name, path) in files {
        let file = path.display().to_string();
        let read = read_text(&path).map_err(|error| vec![error]).and_then(|text| {
            let (app, storage_place) = read_located(&name, &file, &text, &names, context)?;
            Ok(Loaded { app, file, text, storage_place })
        });
        match read {
            Ok(app) => loaded.push(app),
            Err(wrong) => errors.extend(wrong),
        }
    }
    (without_overlaps(loaded, &mut errors), errors)
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
    read_located(name, file, text, others, context).map(|(app, _)| app)
}

fn read_located(
    name: &AppName,
    file: &str,
    text: &str,
    apps: &[AppName],
    context: &LoadContext<'_>,
) -> Result<(AppConfig, Place), Vec<ConfigError>> {
    let LoadContext { secrets_dir, env, grants, .. } = *context;
    let secrets = SecretScope { app: name, apps, secrets_dir, env, grants };
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
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(stem) = file_name.strip_suffix(".toml").filter(|stem| !stem.starts_with('.'))
        else {
            continue;
        };
        match AppName::parse(stem) {
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

/// Takes out the apps whose parts of a bucket overlap, all of them: which of two was there first,
/// a file does not say, and one tenant must not displace another.
fn without_overlaps(loaded: Vec<Loaded>, errors: &mut Vec<ConfigError>) -> Vec<AppConfig> {
    let rivals = rivals(&loaded);
    let refused = rivals.iter().enumerate().filter_map(|(index, rival)| {
        let (one, other) = (&loaded[index], &loaded[(*rival)?]);
        let message = format!(
            "the bucket {:?} with the prefix {:?} overlaps with {}, which has the prefix {:?} there",
            one.app.storage.bucket,
            one.app.storage.key_prefix.as_str(),
            other.file,
            other.app.storage.key_prefix.as_str(),
        );
        let error = ConfigError::at_place(&one.file, &one.text, &one.storage_place, message);
        Some(error.with_hint("give each app a KeyPrefix of its own, such as \"my-app/\""))
    });
    errors.extend(refused);
    let apps = loaded.into_iter().zip(rivals);
    apps.filter_map(|(one, rival)| rival.is_none().then_some(one.app)).collect()
}

/// For each app, another one that could write the same object: one of the prefixes begins with
/// the other. In the order of store, bucket and prefix, whatever begins with a prefix follows it
/// directly, so that one pass finds all of them.
fn rivals(loaded: &[Loaded]) -> Vec<Option<usize>> {
    let mut places: Vec<_> = loaded
        .iter()
        .enumerate()
        .map(|(index, Loaded { app: AppConfig { storage, .. }, .. })| {
            let StorageConfig { kind, bucket, key_prefix } = storage;
            (kind.namespace(), bucket.as_str(), key_prefix.as_str(), index)
        })
        .collect();
    places.sort();
    let mut rivals = vec![None; loaded.len()];
    let mut shortest: Option<&(String, &str, &str, usize)> = None;
    for place in &places {
        let (store, bucket, prefix, index) = place;
        match shortest {
            Some((s, b, p, owner)) if s == store && b == bucket && prefix.starts_with(p) => {
                rivals[*index] = Some(*owner);
                rivals[*owner].get_or_insert(*index);
            }
            _ => shortest = Some(place),
        }
    }
    rivals
}
