//! `safelight check`: everything that is wrong with the configuration, before it is deployed.

use std::process::ExitCode;

use crate::gateway::Configuration;

use super::configuration::{load, report};
use super::{ConfigArgs, EX_CONFIG, block_on};

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let loaded = match load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            report(&errors);
            return ExitCode::from(EX_CONFIG);
        }
    };
    let names: Vec<_> = loaded.apps.iter().map(|app| app.name.clone()).collect();
    let configuration =
        Configuration { settings: loaded.settings, apps: loaded.apps, embedded: None, files: None };
    // What only shows when the apps are built is found here too.
    if let Err(errors) = block_on(async { configuration.check() }) {
        errors.iter().for_each(|error| eprintln!("{error}"));
        return ExitCode::from(EX_CONFIG);
    }
    for name in &names {
        println!("app {name}: ok");
    }
    println!("the settings and {} app files are good", names.len());
    ExitCode::SUCCESS
}
