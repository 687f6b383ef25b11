//! A signal that is given once, to everybody.

use tokio::sync::watch;

/// Waits for the signal.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Who gives the signal.
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Makes a signal and its trigger.
#[must_use]
pub fn shutdown() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Gives the signal.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits for the signal; a trigger that was dropped is one that was pulled.
    pub async fn wait(mut self) {
        let _ = self.0.wait_for(|pulled| *pulled).await;
    }
}
