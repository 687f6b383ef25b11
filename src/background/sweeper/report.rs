//! What a run did.

use std::collections::BTreeMap;

use crate::domain::{AppName, Discrepancy, LookOutcome};

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// Each app, in the order of names.
    pub apps: Vec<AppReport>,
    /// How many expired claims were forgotten; `None` if the record store failed.
    pub claims_forgotten: Option<u32>,
}

/// What a run did for one app.
#[derive(Debug)]
pub struct AppReport {
    /// The app.
    pub app: AppName,
    /// How many looks came to what.
    pub looks: BTreeMap<LookOutcome, u64>,
    /// How many objects of the bucket differ from their records, and how.
    pub discrepancies: BTreeMap<Discrepancy, u64>,
    /// Whether it was left alone because its storage had failed before.
    pub is_paused: bool,
    /// What failed, so that work which was due is left.
    pub stopped_by: Option<Failing>,
    /// Whether comparing its bucket failed.
    pub has_comparison_failed: bool,
    /// Whether more is due than one run does.
    pub is_behind: bool,
}

/// What keeps the sweeper from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// The app's storage.
    Storage,
    /// The record store.
    Records,
}

impl Report {
    /// Whether nothing is due that could be done at once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.apps.iter().any(|app| app.is_behind)
    }

    /// Whether something that was due could not be done.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.claims_forgotten.is_none() || self.apps.iter().any(AppReport::has_failed)
    }

    /// Says what was done, if anything was.
    pub(super) fn log(&self, seconds: f64) {
        let mut looks: BTreeMap<LookOutcome, u64> = BTreeMap::new();
        for (outcome, count) in self.apps.iter().flat_map(|app| &app.looks) {
            *looks.entry(*outcome).or_default() += count;
        }
        if looks.is_empty() {
            tracing::debug!(seconds, "nothing was due");
            return;
        }
        let looks: Vec<_> =
            looks.iter().map(|(outcome, count)| format!("{count} {}", outcome.label())).collect();
        tracing::info!(looks = looks.join(", "), seconds, "swept");
    }
}

impl AppReport {
    pub(super) const fn new(app: AppName) -> Self {
        Self {
            app,
            looks: BTreeMap::new(),
            discrepancies: BTreeMap::new(),
            is_paused: false,
            stopped_by: None,
            has_comparison_failed: false,
            is_behind: false,
        }
    }

    pub(super) fn count(&mut self, outcome: LookOutcome) {
        *self.looks.entry(outcome).or_default() += 1;
    }

    pub(super) fn count_discrepancy(&mut self, discrepancy: Discrepancy) {
        *self.discrepancies.entry(discrepancy).or_default() += 1;
    }

    fn has_failed(&self) -> bool {
        self.stopped_by.is_some()
            || self.has_comparison_failed
            || self.is_paused
            || self.looks.keys().any(|outcome| outcome.is_failure())
    }
}
