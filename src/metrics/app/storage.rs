//! What an app counts of its storage, and of the bytes that its sources give.

use std::time::Duration;

use prometheus::IntCounter;

use super::AppMetrics;
use crate::domain::{Source, StorageOperation, StorageOutcome};

impl AppMetrics {
    pub(super) fn touch_storage(&self) {
        let name = self.app.as_str();
        for operation in StorageOperation::ALL {
            for outcome in StorageOutcome::ALL.iter().filter(|o| operation.can_have(**o)) {
                let labels = [name, operation.label(), outcome.label()];
                self.all.storage_calls.with_label_values(&labels);
            }
        }
    }

    /// The counter of the bytes that come from a source.
    #[must_use]
    pub fn bytes_from(&self, source: Source) -> &IntCounter {
        self.usual.bytes(&self.all, &self.app, source)
    }

    /// Counts a call of storage; `took` is its time, if it came to its end.
    pub fn storage_called(
        &self,
        operation: StorageOperation,
        outcome: StorageOutcome,
        took: Option<Duration>,
    ) {
        let (app, operation) = (self.app.as_str(), operation.label());
        self.all.storage_calls.with_label_values(&[app, operation, outcome.label()]).inc();
        if let Some(took) = took {
            let call = self.all.storage_call.with_label_values(&[app, operation]);
            call.observe(took.as_secs_f64());
        }
    }
}
