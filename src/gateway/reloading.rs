//! The task that keeps the apps as their files say: it looks at the files again and again, and takes
//! up what has changed, beside the threads that serve.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::apps::{LOOK_EVERY, Look, Occasion, Reloader, Watch};
use crate::server::shutdown;

use super::Running;
use super::building::Builder;

/// The files and who reads them.
pub(super) struct Reloading {
    /// Only this task has it; it is lent to threads that may take their time.
    reloader: Arc<Mutex<Reloader>>,
    builder: Builder,
    watch: Watch,
    wanted: Arc<Notify>,
}

impl Reloading {
    /// Reads the files once, so that what has changed since they were loaded is in force before
    /// anybody is served.
    pub(super) async fn begin(reloader: Reloader, builder: Builder, wanted: Arc<Notify>) -> Self {
        let watch = Watch::new(Look::default(), Instant::now());
        let reloader = Arc::new(Mutex::new(reloader));
        let mut this = Self { reloader, builder, watch, wanted };
        this.reload(Occasion::Start).await;
        this
    }

    /// Goes on until it is stopped. A reload that is under way then is not waited for.
    pub(super) fn spawn(self) -> Running {
        let (trigger, stop) = shutdown();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = self.run() => {}
                () = stop.wait() => {}
            }
        });
        Running { trigger, task }
    }

    async fn run(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let occasion = tokio::select! {
                () = self.wanted.notified() => Some(Occasion::Signal),
                _ = ticks.tick() => self.look().await,
            };
            if let Some(occasion) = occasion {
                self.reload(occasion).await;
            }
        }
    }

    /// Looks at the files: whether, and why, they are to be read.
    async fn look(&mut self) -> Option<Occasion> {
        let (look, removal_is_due) = self
            .beside(|reloader| (reloader.look(), reloader.removal_is_due(Instant::now())))
            .await?;
        let occasion = self.watch.see(&look, Instant::now());
        // A directory that cannot be read says of no app that it is gone.
        occasion.or((removal_is_due && look.is_readable()).then_some(Occasion::Removal))
    }

    async fn reload(&mut self, occasion: Occasion) {
        let Some(mut reading) = self.beside(|reloader| reloader.read()).await else { return };
        self.builder.find_credentials_for(&mut reading).await;
        // The number of apps is the reloader's to know.
        let builder = self.builder.clone();
        let read_after = self
            .beside(move |reloader| {
                reloader.apply(reading, occasion, &builder.workshop(0), Instant::now())
            })
            .await;
        if let Some(look) = read_after {
            self.watch.read_after(look, Instant::now());
        }
    }

    /// Does something on a thread that serves nobody; `None` if it failed.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Reloader) -> T + Send + 'static,
    ) -> Option<T> {
        let reloader = Arc::clone(&self.reloader);
        let done = spawn_blocking(move || {
            // Whoever panicked has put nothing into force by halves: that is done at the end.
            work(&mut reloader.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let done = done.await;
        done.inspect_err(|error| tracing::error!(%error, "the apps' files were not read")).ok()
    }
}
