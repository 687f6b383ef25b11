//! SIGHUP: the files of the apps are read again, and what of the settings has changed is told.

use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::Gateway;
use crate::settings::Settings;

/// The signal that asks a process to read its files again. Until it is listened to, it ends the
/// process.
pub(super) struct Hangups {
    signal: Signal,
    running: RunningSettings,
}

/// The settings that are in force, and where they came from.
pub(super) struct RunningSettings {
    pub(super) settings: Settings,
    pub(super) config: Option<PathBuf>,
    /// The variables that override the file.
    pub(super) variables: Vec<(String, String)>,
}

impl Hangups {
    /// Listens; what came meanwhile is not lost.
    pub(super) fn listen(running: RunningSettings) -> Result<Self, String> {
        let signal = signal(SignalKind::hangup())
            .map_err(|error| format!("signals cannot be received: {error}"))?;
        Ok(Self { signal, running })
    }

    /// Follows every signal. Never ends.
    pub(super) async fn follow(&mut self, gateway: &Gateway) {
        // No more signals come from a runtime that ends.
        while self.signal.recv().await.is_some() {
            gateway.reload();
            self.running.tell_changes();
        }
        std::future::pending().await
    }
}

impl RunningSettings {
    /// Says what of the settings has changed: all of it waits for a restart.
    fn tell_changes(&self) {
        match Settings::load(self.config.as_deref(), self.variables.iter().cloned()) {
            Ok(settings) => {
                for section in settings.differences(&self.settings) {
                    tracing::warn!(
                        section,
                        "the settings have changed: restart to put them into force"
                    );
                }
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!(%error, "the settings are bad: a restart would fail");
                }
            }
        }
    }
}
