//! The `safelight` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    safelight::command::Cli::parse().run()
}
