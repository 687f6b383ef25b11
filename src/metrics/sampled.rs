//! What nobody counts as it happens, and is looked up when the metrics are read: the process and the
//! threads that answer requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Counter, IntGauge};
use tokio::runtime::{Handle, RuntimeMetrics};

use super::Metrics;
use super::process::ProcessUse;

/// Looks up the process and its runtime.
pub struct Sampler {
    metrics: Arc<Metrics>,
    runtime: RuntimeMetrics,
    /// One look at a time: what is told as a total is added up from differences.
    looking: Mutex<()>,
}

impl Sampler {
    /// For this process, and the runtime of that handle.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, runtime: &Handle) -> Self {
        Self { metrics, runtime: runtime.metrics(), looking: Mutex::new(()) }
    }

    /// Brings the metrics up to date. Takes some 100 µs, mostly for files of `/proc`.
    pub fn sample(&self) {
        let _one = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.sample_runtime();
        // Where there is no such file system, its metrics stay at 0.
        if let Some(process) = ProcessUse::of_this_process() {
            self.sample_process(&process);
        }
    }

    fn sample_runtime(&self) {
        let (metrics, runtime) = (&self.metrics, &self.runtime);
        let workers = runtime.num_workers();
        set(&metrics.runtime_workers, workers);
        set(&metrics.runtime_alive_tasks, runtime.num_alive_tasks());
        set(&metrics.runtime_queue, runtime.global_queue_depth());
        let busy: Duration =
            (0..workers).map(|worker| runtime.worker_total_busy_duration(worker)).sum();
        raise(&metrics.runtime_busy, busy.as_secs_f64());
    }

    fn sample_process(&self, process: &ProcessUse) {
        let metrics = &self.metrics;
        raise(&metrics.process_cpu, process.cpu.as_secs_f64());
        set(&metrics.process_resident_memory, process.resident_bytes);
        set(&metrics.process_virtual_memory, process.virtual_bytes);
        set(&metrics.process_threads, process.threads);
        set(&metrics.process_open_fds, process.open_fds);
        set(&metrics.process_max_fds, process.max_fds);
        metrics.process_start_time.set(process.started.as_secs_f64());
    }
}

fn set(gauge: &IntGauge, value: impl TryInto<i64>) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}

/// Brings a counter up to a total.
fn raise(counter: &Counter, total: f64) {
    counter.inc_by((total - counter.get()).max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_added_up_from_differences() {
        let counter = Counter::new("c", "C.").unwrap();
        for (total, shown) in [(1.5, 1.5), (1.5, 1.5), (4.0, 4.0), (3.0, 4.0)] {
            raise(&counter, total);
            assert!((counter.get() - shown).abs() < 1e-9, "{total}");
        }
    }

    #[tokio::test]
    async fn the_runtime_and_the_process_are_there() {
        let metrics = Metrics::new();
        let sampler = Sampler::new(Arc::clone(&metrics), &Handle::current());
        sampler.sample();
        assert_eq!(metrics.runtime_workers.get(), 1);
        assert!(metrics.process_resident_memory.get() > 1 << 20);
        assert!(metrics.process_open_fds.get() > 2);
        let first = metrics.process_cpu.get();
        sampler.sample();
        assert!(metrics.process_cpu.get() >= first);
    }
}
