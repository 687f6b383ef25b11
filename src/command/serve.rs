//! `safelight serve`: the gateway in production.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::{Configuration, Gateway};
use crate::log;

use super::configuration::{load, report, without_client_limits};
use super::{ConfigArgs, EX_CONFIG, EX_OSERR, block_on};

/// How long load balancers have to see that the gateway is no longer ready.
const NOTICE: Duration = Duration::from_secs(2);

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
    if let Some(note) = without_client_limits(&loaded) {
        tracing::warn!("{note}");
    }
    let configuration =
        Configuration { settings: loaded.settings, apps: loaded.apps, embedded: None };
    let code = block_on(async {
        match start(configuration).await {
            Ok((gateway, signals)) => {
                tracing::info!(address = %gateway.address, admin = %gateway.admin_address, "listening");
                until_stopped(gateway, signals, NOTICE).await
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
async fn start(configuration: Configuration) -> Result<(Gateway, Signals), String> {
    let signals = Signals::listen()?;
    Ok((Gateway::start(configuration).await?, signals))
}

/// Runs until a signal, then drains; a second signal ends it at once.
pub(super) async fn until_stopped(
    gateway: Gateway,
    mut signals: Signals,
    notice: Duration,
) -> ExitCode {
    signals.next().await;
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
