//! The metrics of spans on their way to a collector.

use prometheus::IntCounter;

use super::Metrics;

/// What becomes of spans. All series are there from the start of whoever exports them.
#[derive(Debug, Clone)]
pub struct SpanMetrics {
    exported: IntCounter,
    rejected: IntCounter,
    undelivered: IntCounter,
    no_room: IntCounter,
    exports_ok: IntCounter,
    exports_failed: IntCounter,
}

impl SpanMetrics {
    /// The metrics of a process that exports spans.
    #[must_use]
    pub fn new(all: &Metrics) -> Self {
        let spans = |outcome| all.spans.with_label_values(&[outcome]);
        let exports = |outcome| all.span_exports.with_label_values(&[outcome]);
        Self {
            exported: spans("exported"),
            rejected: spans("rejected"),
            undelivered: spans("undelivered"),
            no_room: spans("no_room"),
            exports_ok: exports("ok"),
            exports_failed: exports("failed"),
        }
    }

    /// Counts a span that found too many waiting.
    pub fn had_no_room(&self) {
        self.no_room.inc();
    }

    /// Counts spans that the collector took, and those among them that it threw away.
    pub fn delivered(&self, spans: usize, rejected: u64) {
        let rejected = rejected.min(spans as u64);
        self.exported.inc_by(spans as u64 - rejected);
        self.rejected.inc_by(rejected);
    }

    /// Counts spans that are given up.
    pub fn given_up(&self, spans: usize) {
        self.undelivered.inc_by(spans as u64);
    }

    /// Counts a request to the collector.
    pub fn asked(&self, succeeded: bool) {
        if succeeded { self.exports_ok.inc() } else { self.exports_failed.inc() }
    }
}
