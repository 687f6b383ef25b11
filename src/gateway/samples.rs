//! What is looked up when somebody asks for the metrics: the process, the limits, the records.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::apps::LiveApps;
use crate::metrics::{Metrics, Sampler};
use crate::records::Records;

/// What brings the metrics up to date that are not counted as things happen.
pub(super) fn sampler(
    apps: Arc<LiveApps>,
    records: Arc<dyn Records>,
    metrics: &Arc<Metrics>,
) -> Box<dyn Fn() + Send + Sync> {
    let process = Sampler::new(Arc::clone(metrics), &Handle::current());
    let queue = metrics.records_queue.with_label_values(&["sqlite"]);
    Box::new(move || {
        process.sample();
        queue.set(i64::try_from(records.waiting_writes()).unwrap_or(i64::MAX));
        for app in apps.snapshot().iter() {
            app.tell_limits();
        }
    })
}
