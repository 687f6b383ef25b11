//! What an app counts of its storage, and of the bytes that its sources give.

use std::sync::Arc;
use std::time::Duration;

use super::AppMetrics;
use super::usual::Usual;
use crate::domain::{Source, StorageOperation, StorageOutcome};

/// The bytes that one source gives.
pub struct BytesFrom {
    usual: Arc<Usual>,
    source: Source,
}

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

    /// Counts bytes that came from a source.
    pub fn gave(&self, source: Source, bytes: u64) {
        self.usual.bytes(source, bytes);
    }

    /// The same for a body, which counts them as they come.
    #[must_use]
    pub fn bytes_from(&self, source: Source) -> BytesFrom {
        BytesFrom { usual: Arc::clone(&self.usual), source }
    }

    /// Counts a call of storage; `took` is its time, if it came to its end.
    pub fn storage_called(
        &self,
        operation: StorageOperation,
        outcome: StorageOutcome,
        took: Option<Duration>,
    ) {
        self.usual.called(&self.all, &self.app, operation, outcome);
        if let Some(took) = took {
            self.usual.took(operation, took.as_secs_f64());
        }
    }
}

impl BytesFrom {
    /// Counts so many.
    pub fn add(&self, bytes: u64) {
        self.usual.bytes(self.source, bytes);
    }
}
