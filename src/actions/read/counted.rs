//! What is counted exactly once for a read, also when the client leaves before storage answers.

use crate::apps::App;
use crate::domain::{FallbackReason, FallbackResult};

/// A read that the CDN should have served and did not.
pub(super) struct CountedFallback<'a> {
    app: &'a App,
    reason: FallbackReason,
    result: FallbackResult,
}

/// A read that went straight to storage, so that the fallback is always in use.
pub(super) struct CountedShare<'a> {
    app: &'a App,
    result: FallbackResult,
}

impl<'a> CountedFallback<'a> {
    pub(super) fn new(app: &'a App, reason: FallbackReason) -> Self {
        Self { app, reason, result: FallbackResult::Failed }
    }

    pub(super) fn reason(&self) -> FallbackReason {
        self.reason
    }

    pub(super) fn end(mut self, result: FallbackResult) -> FallbackReason {
        self.result = result;
        self.reason
    }
}

impl<'a> CountedShare<'a> {
    pub(super) fn new(app: &'a App) -> Self {
        Self { app, result: FallbackResult::Failed }
    }

    pub(super) fn end(mut self, result: FallbackResult) {
        self.result = result;
    }
}

impl Drop for CountedFallback<'_> {
    fn drop(&mut self) {
        self.app.metrics.fell_back(self.reason, self.result);
    }
}

impl Drop for CountedShare<'_> {
    fn drop(&mut self) {
        self.app.metrics.shared(self.result);
    }
}
