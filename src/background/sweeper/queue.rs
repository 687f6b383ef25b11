//! One app's queue of uploads whose time for a look has come.

use std::time::SystemTime;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::actions::sweep::look;
use crate::apps::App;
use crate::domain::{LookOutcome, UploadRecord};

use super::Sweeper;
use super::report::{AppReport, Failing};

/// How many uploads are taken out of the records at once.
const BATCH: u32 = 256;

/// How many batches of an app one run takes. What is left is due in the next, which begins at once.
const MAX_BATCHES: usize = 40;

/// How many of an app's uploads are looked at at once.
const LOOKS_AT_ONCE: usize = 4;

/// After so many failures, with no success in between, an app is left alone: it is not one object
/// that is wrong.
const MAX_FAILURES: usize = 3;

impl Sweeper {
    /// Looks at what is due, until nothing is, or storage fails, or the run has done its share.
    pub(super) async fn sweep_queue(&self, app: &App, report: &mut AppReport) {
        for _ in 0..MAX_BATCHES {
            let Some(due) = self.due(app, BATCH).await else {
                report.stopped_by = Some(Failing::Records);
                return;
            };
            if due.is_empty() {
                return;
            }
            self.look_at_all(app, due, report).await;
            if report.stopped_by.is_some() {
                return;
            }
        }
        report.is_behind = true;
    }

    async fn look_at_all(&self, app: &App, due: Vec<UploadRecord>, report: &mut AppReport) {
        let retry = self.schedule.interval;
        let mut outcomes = stream::iter(due)
            .map(|record| look(app, &self.services, record, retry, SystemTime::now()))
            .buffer_unordered(LOOKS_AT_ONCE);
        let mut failures = 0;
        while let Some(outcome) = outcomes.next().await {
            report.count(outcome);
            app.metrics.looked(outcome);
            failures = if outcome.is_failure() { failures + 1 } else { 0 };
            if failures == MAX_FAILURES {
                let records_fail = outcome == LookOutcome::RecordsFailed;
                let failing = if records_fail { Failing::Records } else { Failing::Storage };
                report.stopped_by = Some(failing);
                return;
            }
        }
    }

    /// The uploads that are due; `None` if the record store failed.
    async fn due(&self, app: &App, limit: u32) -> Option<Vec<UploadRecord>> {
        let now = SystemTime::now();
        let due = self.services.records.due(&app.name, now, limit).await;
        let due = due.inspect_err(|error| {
            tracing::error!(app = %app.name, %error, "the sweeper cannot read what is due");
        });
        let due = due.ok()?;
        let oldest = due.first().and_then(|record| record.look_at);
        let overdue = oldest.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        app.metrics.overdue(overdue);
        Some(due)
    }

    /// Measures how far behind an app is that is left alone.
    pub(super) async fn measure_backlog(&self, app: &App) {
        // A failure is logged.
        let _ = self.due(app, 1).await;
    }
}
