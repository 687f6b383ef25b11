//! The command line: one file a command.

mod api_key;
mod backup;
mod check;
mod configuration;
mod dev;
mod doctor;
mod healthcheck;
mod reloading;
mod schema;
mod serve;
mod sweep;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process says that was started with a bad configuration (`EX_CONFIG` of sysexits.h).
const EX_CONFIG: u8 = 78;

/// What a process says to which the system refuses something (`EX_OSERR`).
const EX_OSERR: u8 = 71;

/// What a process says that needs what another one has (`EX_UNAVAILABLE`).
const EX_UNAVAILABLE: u8 = 69;

/// An application-owned media gateway: direct uploads to storage, stable public URLs, CDN first
/// with an explained fallback.
#[derive(Debug, Parser)]
#[command(name = "safelight", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: gateway, S3 store, a CDN that can be told to fail.
    Dev(dev::DevArgs),
    /// Run the gateway.
    Serve(ConfigArgs),
    /// Check the settings and every app's file; exit 78 if one is bad.
    Check(check::CheckArgs),
    /// Print the JSON Schema of an app's file, with which editors complete and check it.
    Schema(schema::SchemaArgs),
    /// Try whether an app's bucket and CDN do what it needs, and say how to fix what fails: signed
    /// uploads, reads, CORS, CDN. Writes a small object under the app's prefix and deletes it.
    /// Exit 0 if nothing failed, 1 if something did, 78 if the configuration is bad.
    Doctor(doctor::DoctorArgs),
    /// Look once at every upload that is due, as a running gateway does by itself: verify what
    /// nobody finalized, give up what never came. Exit 1 if something failed, 69 if a gateway has
    /// the records open, 78 if the configuration is bad.
    Sweep(sweep::SweepArgs),
    /// Copy the records to a file, also while a gateway runs. Exit 1 if there is no copy, 78 if the
    /// configuration is bad.
    Backup(backup::BackupArgs),
    /// Make a key for `[Identity] ApiKeys` of an app's file, and print it with its hash.
    ApiKey,
    /// Ask a running gateway whether it is ready; exit 1 if not. For container health checks.
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// Where the settings are.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The settings file. Any of its keys can be overridden by `SAFELIGHT__SECTION__KEY`.
    #[arg(long, env = "SAFELIGHT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Cli {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Dev(args) => dev::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Sweep(args) => sweep::run(&args),
            Command::Backup(args) => backup::run(&args),
            Command::ApiKey => api_key::run(),
            Command::Healthcheck(args) => healthcheck::run(&args),
        }
    }
}

/// How many sockets are seen to be ready at a time. A worker has a queue for 256 tasks and puts half
/// of them at the end of everybody's when it is full, where they wait long: with 512 busy clients of a
/// bare hyper server on one core, the slowest hundredth waited 114 ms instead of 66.
const EVENTS_AT_A_TIME: usize = 32;

/// Has the system allow as many file descriptors as it may (setrlimit(2)). What a process is given at
/// first, often 1,024, is for programs that use `select`, which can tell no more apart.
fn take_all_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    // A system that allows less than it says leaves things as they are.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
}

/// Runs the asynchronous part of a command.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_io_events_per_tick(EVENTS_AT_A_TIME)
        .build()
        .expect("the system gives threads and an event queue")
        .block_on(future)
}
