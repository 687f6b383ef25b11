//! One app's queue of uploads whose time for a look has come.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::actions::sweep::look;
use crate::apps::{App, Apps};
use crate::domain::{AppName, LookOutcome, UploadId, UploadRecord};
use crate::records::Due;

use super::Sweeper;
use super::report::{AppReport, Failing};

/// How many uploads are taken out of the records at once.
const BATCH: usize = 256;

/// How many of an app's uploads one run takes. What is left is due in the next, which begins at once.
const MAX_LOOKS: usize = 40 * BATCH;

/// How many uploads of all apps one run takes, so that their ids take little memory: 17 bytes each.
const MAX_LOOKS_OF_ALL: usize = 1 << 20;

/// How many of an app's uploads are looked at at once.
const LOOKS_AT_ONCE: usize = 4;

/// After so many failures, with no success in between, an app is left alone: it is not one object
/// that is wrong.
const MAX_FAILURES: usize = 3;

/// What of every app's uploads is due, as it was found when a run began.
pub(super) struct Queues {
    /// `None` if the record store failed.
    apps: Option<HashMap<AppName, Due>>,
    /// How many of an app's uploads there are at most.
    limit: usize,
}

impl Queues {
    /// Of an app of which nothing is due, an empty one; `None` if the record store failed.
    fn of(&self, app: &AppName) -> Option<&[UploadId]> {
        let apps = self.apps.as_ref()?;
        Some(apps.get(app).map_or(&[], |due| due.uploads.as_slice()))
    }
}

impl Sweeper {
    /// Finds what is due now, and measures how far behind each of these apps is.
    pub(super) async fn queues(&self, apps: &Apps) -> Queues {
        let now = SystemTime::now();
        let limit = (MAX_LOOKS_OF_ALL / apps.iter().count().max(1)).clamp(BATCH, MAX_LOOKS);
        let due = self.services.records.due(now, limit).await;
        let due = due.inspect_err(|error| {
            tracing::error!(%error, "the sweeper cannot read what is due");
        });
        let queues = Queues { apps: due.ok(), limit };
        if let Some(due) = &queues.apps {
            for app in apps.iter() {
                let since = due.get(&app.name).map_or(now, |due| due.since);
                app.metrics.overdue(now.duration_since(since).unwrap_or_default());
            }
        }
        queues
    }

    /// Looks at what was due when the run began, until storage fails.
    pub(super) async fn sweep_queue(&self, app: &App, queues: &Queues, report: &mut AppReport) {
        let Some(queue) = queues.of(&app.name) else {
            report.stopped_by = Some(Failing::Records);
            return;
        };
        for batch in queue.chunks(BATCH) {
            let Some(due) = self.still_due(app, batch).await else {
                report.stopped_by = Some(Failing::Records);
                return;
            };
            self.look_at_all(app, due, report).await;
            if report.stopped_by.is_some() {
                return;
            }
        }
        report.is_behind = queue.len() >= queues.limit;
        if !report.is_behind {
            app.metrics.overdue(Duration::ZERO);
        }
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

    /// Those of the uploads that are due as yet; `None` if the record store failed.
    async fn still_due(&self, app: &App, uploads: &[UploadId]) -> Option<Vec<UploadRecord>> {
        let now = SystemTime::now();
        let due = self.services.records.still_due(&app.name, uploads, now).await;
        let due = due.inspect_err(|error| {
            tracing::error!(app = %app.name, %error, "the sweeper cannot read what is due");
        });
        let due = due.ok()?;
        if let Some(since) = due.first().and_then(|record| record.look_at) {
            app.metrics.overdue(now.duration_since(since).unwrap_or_default());
        }
        Some(due)
    }
}
