//! The sweeper: looks at every upload whose time for a look has come, forgets what clients may no
//! longer repeat, and, where it is told to, compares buckets with records.
//!
//! There is nothing to resume: the work is whatever is due in the records. A run that is broken off,
//! by a shutdown or by `kill -9`, leaves it due. Each app has a queue of its own, and one whose
//! storage fails is left alone for longer and longer (`pauses.rs`), so that a broken bucket keeps
//! nobody else waiting.
//!
//! One process sweeps a database: whoever opens the records to write holds their lock.

mod listing;
mod pauses;
mod places;
mod queue;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};

use crate::actions::Services;
use crate::actions::reconcile::Remedy;
use crate::apps::{App, Apps, LiveApps};
use crate::metrics::Metrics;

use self::listing::Passes;
use self::pauses::Pauses;
use self::places::Places;
use self::queue::Queues;

pub use self::listing::Pages;
pub use self::report::{AppReport, Failing, Report};

/// How many apps are swept at once. Together with the looks at once this bounds what the sweeper
/// asks of storage, and what it takes from clients.
const APPS_AT_ONCE: usize = 4;

/// How many claims are forgotten in one commit, so that requests do not wait long behind it.
const CLAIMS_AT_ONCE: u32 = 1000;

/// How many commits of claims one run may make.
const MAX_CLAIM_BATCHES: usize = 100;

/// When the sweeper runs, and what it does besides.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The time between two runs, more or less; also the first pause after a failure.
    pub interval: Duration,
    /// Whether buckets are compared with records, and what is done about what differs.
    pub reconcile: Option<Remedy>,
    /// How much of each bucket is compared in one run.
    pub pages: Pages,
}

/// The sweeper of a process.
pub struct Sweeper {
    apps: Arc<LiveApps>,
    services: Services,
    metrics: Arc<Metrics>,
    schedule: Schedule,
    pauses: Pauses,
    passes: Passes,
    places: Places,
}

impl Sweeper {
    /// A sweeper of these apps, which has not run yet.
    #[must_use]
    pub fn new(
        apps: Arc<LiveApps>,
        services: Services,
        metrics: Arc<Metrics>,
        schedule: Schedule,
    ) -> Self {
        let (pauses, passes) = (Pauses::default(), Passes::default());
        let places = Places::default();
        Self { apps, services, metrics, schedule, pauses, passes, places }
    }

    /// Runs again and again, until `stop`. A run that is under way then is broken off.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = self.run_on() => {}
            () = stop => {}
        }
    }

    async fn run_on(&self) {
        let interval = self.schedule.interval;
        // What became due while no process ran waits for two fifths of an interval at most.
        tokio::time::sleep(jittered(interval, random()).saturating_sub(interval * 4 / 5)).await;
        loop {
            let report = self.run().await;
            // Whoever is behind goes on at once.
            if report.is_whole() {
                tokio::time::sleep(jittered(interval, random())).await;
            }
        }
    }

    /// Runs once: through every app's queue as it is now, as far as one run may go.
    pub async fn run(&self) -> Report {
        let begun = Instant::now();
        let live = self.live();
        let queues = self.queues(&live).await;
        let sweeps: Vec<_> = live.iter().map(|app| self.sweep_app(app, &queues).boxed()).collect();
        let mut apps: Vec<AppReport> =
            stream::iter(sweeps).buffer_unordered(APPS_AT_ONCE).collect().await;
        apps.sort_by(|one, other| one.app.cmp(&other.app));
        let claims_forgotten = self.forget_claims().await;
        let report = Report { apps, claims_forgotten };
        let outcome = if report.has_failed() { "failed" } else { "ok" };
        let seconds = begun.elapsed().as_secs_f64();
        self.metrics.sweeper_run.with_label_values(&[outcome]).observe(seconds);
        report.log(seconds);
        report
    }

    /// The apps as they are now. What was learnt of storage that an app has no longer is forgotten.
    fn live(&self) -> Arc<Apps> {
        let apps = self.apps.snapshot();
        for name in self.places.left(&apps) {
            self.pauses.forget(&name);
            self.passes.forget(&name);
        }
        apps
    }

    async fn sweep_app(&self, app: &App, queues: &Queues) -> AppReport {
        let mut report = AppReport::new(app.name.clone());
        if self.pauses.is_paused(&app.name, Instant::now()) {
            report.is_paused = true;
            return report;
        }
        self.sweep_queue(app, queues, &mut report).await;
        match report.stopped_by {
            // The records are everybody's: they have no app to be left alone.
            Some(Failing::Records) => return report,
            Some(Failing::Storage) => {
                self.pauses.failed(&app.name, self.schedule.interval, Instant::now());
                return report;
            }
            None => self.pauses.forget(&app.name),
        }
        if let Some(remedy) = self.schedule.reconcile {
            self.compare_bucket(app, remedy, &mut report).await;
        }
        report
    }

    /// `None` if the record store failed.
    async fn forget_claims(&self) -> Option<u32> {
        let mut forgotten = 0;
        for _ in 0..MAX_CLAIM_BATCHES {
            match self.services.records.forget_claims(SystemTime::now(), CLAIMS_AT_ONCE).await {
                Ok(count) => {
                    forgotten += count;
                    if count < CLAIMS_AT_ONCE {
                        break;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "expired claims cannot be forgotten");
                    return None;
                }
            }
        }
        Some(forgotten)
    }
}

/// A time that is up to a fifth shorter or longer, so that gateways which start together do not
/// sweep together.
fn jittered(time: Duration, random: u16) -> Duration {
    let fifth = time / 5;
    time - fifth + (2 * fifth).mul_f64(f64::from(random) / f64::from(u16::MAX))
}

/// Nothing depends on it but when runs begin.
fn random() -> u16 {
    let mut bytes = [0; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u16::from_be_bytes(bytes),
        Err(_) => u16::MAX / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_more_or_less() {
        let seconds = Duration::from_secs;
        for (random, expected) in [(0, seconds(240)), (u16::MAX, seconds(360))] {
            assert_eq!(jittered(seconds(300), random), expected);
        }
        let middle = jittered(seconds(300), u16::MAX / 2);
        assert!(middle > seconds(299) && middle < seconds(301), "{middle:?}");
    }
}
