//! The metrics of one source of storage events.

use std::sync::Arc;
use std::time::SystemTime;

use super::Metrics;
use crate::domain::{EventOutcome, EventSource};

/// The metrics of one source, with the series that it can move present from the start.
#[derive(Debug, Clone)]
pub struct EventMetrics {
    source: EventSource,
    all: Arc<Metrics>,
}

impl EventMetrics {
    /// The metrics of a source that is configured.
    #[must_use]
    pub fn new(all: &Arc<Metrics>, source: EventSource) -> Self {
        for outcome in EventOutcome::ALL.into_iter().filter(|outcome| source.can_have(*outcome)) {
            all.events.with_label_values(&[source.label(), outcome.label()]);
        }
        if source == EventSource::Sqs {
            for outcome in ["ok", "failed"] {
                all.event_polls.with_label_values(&[outcome]);
            }
        }
        Self { source, all: Arc::clone(all) }
    }

    /// Counts what became of an event.
    pub fn count(&self, outcome: EventOutcome) {
        self.all.events.with_label_values(&[self.source.label(), outcome.label()]).inc();
    }

    /// Observes how long after it happened an event had been handled. The two clocks are not the
    /// same one: less than nothing counts as nothing.
    pub fn lag(&self, happened: SystemTime, now: SystemTime) {
        let lag = now.duration_since(happened).unwrap_or_default();
        self.all.event_lag.with_label_values(&[self.source.label()]).observe(lag.as_secs_f64());
    }

    /// Counts a question to the queue.
    pub fn polled(&self, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.all.event_polls.with_label_values(&[outcome]).inc();
    }
}
