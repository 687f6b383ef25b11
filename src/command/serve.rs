//! `safelight serve`: the gateway in production.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::{Configuration, Gateway};
use crate::log;

use super::configuration::{environment, load, report, without_client_limits};
use super::reloading::{Hangups, RunningSettings};
use super::{ConfigArgs, EX_CONFIG, EX_OSERR, block_on, take_all_descriptors};

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let loaded = match load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            report(&errors);
            return ExitCode::from(EX_CONFIG);
        }
    };
    if let Err(error) = log::to_json() {
        eprintln!("the log cannot be kept: {error}");
        return ExitCode::from(EX_OSERR);
    }
    let files = Some(loaded.files());
    let running = loaded.running(args.config.clone(), environment());
    let notice = loaded.settings.server.drain_notice;
    if let Some(note) = without_client_limits(&loaded) {
        tracing::warn!("{note}");
    }
    let configuration =
        Configuration { settings: loaded.settings, apps: loaded.apps, embedded: None, files };
    take_all_descriptors();
    let code = block_on(async {
        match start(configuration, running).await {
            Ok((gateway, signals, hangups)) => {
                tracing::info!(address = %gateway.address, admin = %gateway.admin_address, "listening");
                until_stopped(gateway, signals, hangups, notice).await
            }
            Err(error) => {
                tracing::error!(error, "cannot start");
                ExitCode::from(EX_CONFIG)
            }
        }
    });
    log::end();
    code
}

/// Starts a gateway that signals can stop in order from its first moment.
async fn start(
    configuration: Configuration,
    running: RunningSettings,
) -> Result<(Gateway, Signals, Hangups), String> {
    let (signals, hangups) = (Signals::listen()?, Hangups::listen(running)?);
    Ok((Gateway::start(configuration).await?, signals, hangups))
}

/// Runs until a signal to end, and reloads at each hangup until then; then drains; a second signal ends it at once.
pub(super) async fn until_stopped(
    gateway: Gateway,
    mut signals: Signals,
    mut hangups: Hangups,
    notice: Duration,
) -> ExitCode {
    tokio::select! {
        () = signals.next() => {}
        () = hangups.follow(&gateway) => {}
    }
    tracing::info!("draining");
    tokio::select! {
        () = gateway.stop(notice) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        () = signals.next() => {
            tracing::warn!("stopped by a second signal, in the middle of the drain");
            ExitCode::FAILURE
        }
    }
}

/// The signals that ask a process to end. Until they are listened to, they end it at once.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens; what came meanwhile is not lost.
    pub(super) fn listen() -> Result<Self, String> {
        let listen =
            |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
