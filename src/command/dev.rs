//! stub
use std::process::ExitCode;
#[derive(Debug, clap::Args)]
pub(super) struct DevArgs {}
pub(super) fn run(_: &DevArgs) -> ExitCode {
    ExitCode::SUCCESS
}
