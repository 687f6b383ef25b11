//! `safelight serve`: the gateway in production.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::{Configuration, Gateway};

use super::configuration::{load, report};
use super::{ConfigArgs, EX_CONFIG, block_on, logging};

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
    logging::to_json();
    let configuration =
        Configuration { settings: loaded.settings, apps: loaded.apps, embedded: None };
    block_on(async {
        match Gateway::start(configuration).await {
            Ok(gateway) => {
                tracing::info!(address = %gateway.address, admin = %gateway.admin_address, "listening");
                until_stopped(gateway, NOTICE).await
            }
            Err(error) => {
                tracing::error!(error, "cannot start");
                ExitCode::from(EX_CONFIG)
            }
        }
    })
}

/// Runs until a signal, then drains; a second signal ends it at once.
pub(super) async fn until_stopped(gateway: Gateway, notice: Duration) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals cannot be received");
            return ExitCode::FAILURE;
        }
    };
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

/// The signals that ask a process to end.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
