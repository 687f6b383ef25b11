//! `safelight schema`: what an app's file may hold, for editors.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

/// A test holds both to the readers of the files, and to the reference.
const APP: &str = include_str!("../../apps.d/app.schema.json");
const SETTINGS: &str = include_str!("../../safelight.schema.json");

/// `safelight schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// That of the settings file, `safelight.toml`, in place of an app's.
    #[arg(long)]
    settings: bool,
}

pub(super) fn run(args: &SchemaArgs) -> ExitCode {
    let schema = if args.settings { SETTINGS } else { APP };
    match std::io::stdout().write_all(schema.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the schema cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}
