//! How many bytes a source gave for a body: what its traffic costs.

use crate::domain::Source;
use crate::metrics::{AppMetrics, BytesFrom};

/// How many bytes are kept back before they are counted, so that a chunk costs an addition, and a
/// gigabyte shows while it flows.
const COUNTED_EVERY: u64 = 1 << 20;

/// The bytes that one source has given for one body.
pub(super) struct Drawn {
    counted: BytesFrom,
    /// Those that are not counted yet.
    bytes: u64,
}

impl Drawn {
    pub(super) fn from(metrics: &AppMetrics, source: Source) -> Self {
        Self { counted: metrics.bytes_from(source), bytes: 0 }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= COUNTED_EVERY {
            self.count();
        }
    }

    fn count(&mut self) {
        self.counted.add(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.count();
    }
}
