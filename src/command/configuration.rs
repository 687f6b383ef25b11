//! Settings and app files, loaded as every command loads them.

use std::path::{Path, PathBuf};

use std::sync::Arc;

use crate::apps::{AppConfig, AppFiles, LoadContext, load_apps};
use crate::config::ConfigError;
use crate::gateway::app_files;
use crate::settings::Settings;

use super::reloading::RunningSettings;

/// What a process is configured with, as far as it could be read.
pub(super) struct Loaded {
    pub(super) settings: Settings,
    pub(super) apps: Vec<AppConfig>,
}

impl Loaded {
    /// Where the files of the apps are, for a process that takes up their changes.
    pub(super) fn files(&self) -> AppFiles {
        app_files(&self.settings, Arc::new(|name| std::env::var(name).ok()))
    }

    /// The settings, as they are in force from now on.
    pub(super) fn running(
        &self,
        config: Option<PathBuf>,
        variables: Vec<(String, String)>,
    ) -> RunningSettings {
        RunningSettings { settings: self.settings.clone(), config, variables }
    }
}

/// Loads the settings and the file of every app.
///
/// # Errors
/// Everything that is wrong, in all files.
pub(super) fn load(config: Option<&Path>) -> Result<Loaded, Vec<ConfigError>> {
    load_overridden(config, &environment())
}

/// Loads the settings alone.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn load_settings(config: Option<&Path>) -> Result<Settings, Vec<ConfigError>> {
    Settings::load(config, environment().into_iter())
}

pub(super) fn environment() -> Vec<(String, String)> {
    // Variables that are not text cannot be ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// As [`load`], overridden by these variables instead of the environment's.
///
/// # Errors
/// Everything that is wrong, in all files.
pub(super) fn load_overridden(
    config: Option<&Path>,
    overrides: &[(String, String)],
) -> Result<Loaded, Vec<ConfigError>> {
    let settings = Settings::load(config, overrides.iter().cloned())?;
    let server = &settings.server;
    let context = LoadContext {
        address_policy: &server.address_policy,
        max_url_expiry: server.max_url_expiry,
        secrets_dir: &server.secrets_dir,
        env: &|name| std::env::var(name).ok(),
        grants: &settings.grants,
        trusted_proxies: server.trusted_proxies.as_ref(),
    };
    let (apps, errors) = load_apps(&server.apps_dir, &context);
    if errors.is_empty() { Ok(Loaded { settings, apps }) } else { Err(errors) }
}

/// Tells the user what is wrong.
pub(super) fn report(errors: &[ConfigError]) {
    for error in errors {
        eprintln!("{error}");
    }
    let plural = if errors.len() == 1 { "" } else { "s" };
    eprintln!("{} error{plural} in the configuration", errors.len());
}
