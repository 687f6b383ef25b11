//! `safelight check`: everything that is wrong with the configuration, before it is deployed.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::ConfigError;
use crate::domain::AppName;
use crate::gateway::Configuration;

use super::configuration::{load, report, without_client_limits};
use super::{ConfigArgs, EX_CONFIG, block_on};

/// `safelight check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to say what is wrong: as text, or as a JSON array of `{file, line, column, key, message,
    /// hint}` on standard output, which is empty if nothing is.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What there is to say of files that are good.
struct Good {
    names: Vec<AppName>,
    /// What is right and may not be what is meant.
    note: Option<&'static str>,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let checked = check(&args.config);
    match (args.format, &checked) {
        (Format::Json, Ok(_)) => print_json(&[]),
        (Format::Json, Err(errors)) => print_json(errors),
        (Format::Text, Ok(Good { names, note })) => {
            for name in names {
                println!("app {name}: ok");
            }
            if let Some(note) = note {
                println!("note: {note}");
            }
            println!("the settings and {} app files are good", names.len());
        }
        (Format::Text, Err(errors)) => report(errors),
    }
    if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EX_CONFIG) }
}

/// Checks all files.
///
/// # Errors
/// Everything that is wrong.
fn check(args: &ConfigArgs) -> Result<Good, Vec<ConfigError>> {
    let loaded = load(args.config.as_deref())?;
    let names: Vec<_> = loaded.apps.iter().map(|app| app.name.clone()).collect();
    let note = without_client_limits(&loaded);
    let apps_dir = loaded.settings.server.apps_dir.clone();
    let configuration =
        Configuration { settings: loaded.settings, apps: loaded.apps, embedded: None, files: None };
    // What only shows when the apps are built is found here too. It is told of apps, not of files.
    let Err(errors) = block_on(async { configuration.check() }) else {
        return Ok(Good { names, note });
    };
    let about = |error: &str| names.iter().find(|name| error.starts_with(&format!("app {name}: ")));
    let told = errors.into_iter().map(|error| {
        let file = match about(&error) {
            Some(app) => apps_dir.join(format!("{app}.toml")),
            None => apps_dir.clone(),
        };
        ConfigError::of_file(file.display().to_string(), error)
    });
    Err(told.collect())
}

fn print_json(errors: &[ConfigError]) {
    let json = serde_json::to_string_pretty(errors).expect("errors are plain text and numbers");
    println!("{json}");
}
