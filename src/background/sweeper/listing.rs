//! Comparing each app's part of its bucket with the records, page by page.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::actions::reconcile::{Remedy, reconcile};
use crate::apps::App;
use crate::domain::AppName;
use crate::storage::Listed;

use super::Sweeper;
use super::report::AppReport;

/// How many objects a page has: the most that a listing gives at once.
const PAGE: u16 = 1000;

/// How many pages one run of a gateway takes of each bucket.
const PAGES_A_RUN: usize = 20;

/// How long after a whole bucket was compared it is begun anew.
const EVERY: Duration = Duration::from_secs(86_400);

/// How long after a failure the comparison goes on. It is in no hurry, and looks at uploads, which
/// need no listing, do not wait for it.
const AFTER_A_FAILURE: Duration = Duration::from_secs(3600);

/// How many objects of a page are compared at once.
const OBJECTS_AT_ONCE: usize = 4;

/// After so many failures, with no success in between, the page is left for later.
const MAX_FAILURES: usize = 3;

/// How much of a bucket is compared in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// A few pages, and the whole bucket once a day at most.
    Few,
    /// All.
    All,
}

/// Where the comparison of each bucket is. Kept in memory: after a restart it begins anew.
#[derive(Debug, Default)]
pub(super) struct Passes(Mutex<HashMap<AppName, Pass>>);

#[derive(Debug, Clone, Default)]
struct Pass {
    /// Where the next page begins; `None` for the first one.
    next: Option<String>,
    /// Whether that page failed the last time. Some stores forget where a listing was.
    has_failed: bool,
    /// When the next pass may begin.
    not_before: Option<Instant>,
}

impl Sweeper {
    /// Compares every bucket with the records, one after the other, and does nothing else.
    pub async fn compare(&self) -> Vec<AppReport> {
        let mut reports = Vec::new();
        if let Some(remedy) = self.schedule.reconcile {
            for app in self.live().iter() {
                let mut report = AppReport::new(app.name.clone());
                self.compare_bucket(app, remedy, &mut report).await;
                reports.push(report);
            }
        }
        reports
    }

    /// Goes on where the last run stopped.
    pub(super) async fn compare_bucket(&self, app: &App, remedy: Remedy, report: &mut AppReport) {
        let mut pass = self.passes.get(&app.name);
        if pass.not_before.is_some_and(|time| time > Instant::now()) {
            return;
        }
        let limit = match self.schedule.pages {
            Pages::Few => PAGES_A_RUN,
            Pages::All => usize::MAX,
        };
        for _ in 0..limit {
            let from = pass.next.take();
            match self.compare_page(app, remedy, from.as_deref(), report).await {
                Some(None) => {
                    pass = Pass { not_before: Some(Instant::now() + EVERY), ..Pass::default() };
                    break;
                }
                Some(next) => pass = Pass { next, ..Pass::default() },
                None => {
                    report.has_comparison_failed = true;
                    let next = from.filter(|_| !pass.has_failed);
                    let not_before = Some(Instant::now() + AFTER_A_FAILURE);
                    pass = Pass { next, has_failed: true, not_before };
                    break;
                }
            }
        }
        self.passes.set(&app.name, pass);
    }

    /// Compares one page, and says where the next one begins. `None` if storage or the record store
    /// failed: the page is to be compared again.
    async fn compare_page(
        &self,
        app: &App,
        remedy: Remedy,
        from: Option<&str>,
        report: &mut AppReport,
    ) -> Option<Option<String>> {
        let listed = app.store.list(app.key_prefix.as_str(), from, PAGE).await;
        let page = listed.inspect_err(|error| {
            tracing::error!(app = %app.name, %error, "the bucket cannot be listed");
        });
        let page = page.ok()?;
        let compare = async |object: Listed| {
            reconcile(app, &self.services, &object, remedy, SystemTime::now()).await
        };
        let mut compared =
            stream::iter(page.objects).map(compare).buffer_unordered(OBJECTS_AT_ONCE);
        let mut failures = 0;
        while let Some(found) = compared.next().await {
            match found {
                Ok(Some(discrepancy)) => {
                    report.count_discrepancy(discrepancy);
                    app.metrics.differs(discrepancy);
                    failures = 0;
                }
                Ok(None) => failures = 0,
                // Logged where it was found. One object that cannot be read, in an archive perhaps,
                // does not keep those behind it from being found.
                Err(_) => {
                    report.has_comparison_failed = true;
                    failures += 1;
                    if failures == MAX_FAILURES {
                        return None;
                    }
                }
            }
        }
        Some(page.next)
    }
}

impl Passes {
    fn get(&self, app: &AppName) -> Pass {
        let passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passes.get(app).cloned().unwrap_or_default()
    }

    /// Begins anew with an app.
    pub(super) fn forget(&self, app: &AppName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    fn set(&self, app: &AppName, pass: Pass) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(app.clone(), pass);
    }
}
