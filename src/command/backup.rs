//! `safelight backup`: a copy of the records, taken while they are in use.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::records::back_up;
use crate::settings::RecordsUrl;

use super::configuration::{load_settings, report};
use super::{ConfigArgs, EX_CONFIG};

/// From where to where.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The file to write. There must be none of that name yet.
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

pub(super) fn run(args: &BackupArgs) -> ExitCode {
    // A tenant's mistake in an app's file is no reason to have no backup.
    let settings = match load_settings(args.config.config.as_deref()) {
        Ok(settings) => settings,
        Err(errors) => {
            report(&errors);
            return ExitCode::from(EX_CONFIG);
        }
    };
    let RecordsUrl::Sqlite(source) = settings.records;
    match back_up(&source, &args.target) {
        Ok(uploads) => {
            println!("{uploads} uploads are in {}", args.target.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("there is no backup: {error}");
            ExitCode::FAILURE
        }
    }
}
