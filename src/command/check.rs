//! `safelight check`: everything that is wrong with the configuration, before it is deployed.

use std::process::ExitCode;

use super::configuration::{load, report};
use super::{ConfigArgs, EX_CONFIG};

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    match load(args.config.as_deref()) {
        Ok(loaded) => {
            for app in &loaded.apps {
                println!("app {}: ok", app.name);
            }
            println!("the settings and {} apps are good", loaded.apps.len());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            report(&errors);
            ExitCode::from(EX_CONFIG)
        }
    }
}
