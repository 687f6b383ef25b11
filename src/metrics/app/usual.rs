//! What nearly every read or upload counts. An app has a block of its own for it, which the series are
//! told of when somebody reads them ([`AllUsual::tell`]).
//!
//! The layout is the point. Of a thousand apps that are asked in turns, none has anything left in the
//! caches of the processor when its next request comes, and whatever that touches is fetched from
//! memory. A series of its own for each count would be a line of cache or more for each; here a read
//! touches one of them, and an upload another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntCounterVec;

use super::super::told::Observed;
use super::super::{FIRST_BYTE_EDGES, Metrics, STORAGE_EDGES};
use crate::domain::{AppName, MemoryLookup, Source, StorageOperation, StorageOutcome, UploadState};

/// The blocks of all apps that there have been: one that comes back goes on counting where it was, as
/// its series do.
#[derive(Debug, Default)]
pub(in crate::metrics) struct AllUsual(Mutex<BTreeMap<AppName, Arc<Usual>>>);

/// What an app has counted. Counters hold what the series were not told of yet.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Usual {
    sources: [OfSource; Source::ALL.len()],
    uploads: OfUploads,
    // Behind the uploads, each of which is signed: the first operation is on the same line.
    storage: [OfOperation; StorageOperation::ALL.len()],
}

/// The reads that one source answered.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct OfSource {
    /// How often it had what it was asked for: hits in memory, usable answers of the CDN.
    had: Count,
    whole_answers: Count,
    bytes: Count,
    first_byte: Observed<{ FIRST_BYTE_EDGES.len() + 1 }>,
}

#[derive(Debug, Default)]
#[repr(C)]
struct OfUploads {
    granted: Count,
    pending: Count,
}

/// The calls of storage of one kind.
#[derive(Debug, Default)]
#[repr(C)]
struct OfOperation {
    done: Count,
    took: Observed<{ STORAGE_EDGES.len() + 1 }>,
}

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Tells a series what has come since the last time. One that nothing moved is not made.
    fn tell(&self, series: &IntCounterVec, labels: &[&str]) {
        match self.0.swap(0, Ordering::Relaxed) {
            0 => {}
            more => series.with_label_values(labels).inc_by(more),
        }
    }
}

impl AllUsual {
    /// The block of an app.
    pub(super) fn of(&self, app: &AppName) -> Arc<Usual> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(app.clone()).or_default())
    }

    /// Brings the series up to date.
    pub(in crate::metrics) fn tell(&self, metrics: &Metrics) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (app, usual) in &*all {
            usual.tell(metrics, app.as_str());
        }
    }
}

impl Usual {
    /// Counts a read.
    pub(super) fn read(&self, all: &Metrics, app: &AppName, source: Source, code: &str) {
        match code {
            "200" => self.sources[source as usize].whole_answers.add(1),
            _ => all.reads.with_label_values(&[app.as_str(), source.label(), code]).inc(),
        }
    }

    /// Observes the time to the first byte.
    pub(super) fn first_byte(&self, source: Source, seconds: f64) {
        self.sources[source as usize].first_byte.observe(FIRST_BYTE_EDGES, seconds);
    }

    /// Counts bytes of a source.
    pub(super) fn bytes(&self, source: Source, bytes: u64) {
        self.sources[source as usize].bytes.add(bytes);
    }

    /// Counts a look into the memory cache.
    pub(super) fn looked(&self, all: &Metrics, app: &AppName, outcome: MemoryLookup) {
        match outcome {
            MemoryLookup::Hit => self.sources[Source::Memory as usize].had.add(1),
            _ => all.memory_lookups.with_label_values(&[app.as_str(), outcome.label()]).inc(),
        }
    }

    /// Counts a usable answer of the CDN.
    pub(super) fn cdn_answered(&self) {
        self.sources[Source::Cdn as usize].had.add(1);
    }

    /// Counts a request to begin an upload.
    pub(super) fn presign(&self, all: &Metrics, app: &AppName, outcome: &str) {
        match outcome {
            "ok" => self.uploads.granted.add(1),
            _ => all.presigns.with_label_values(&[app.as_str(), outcome]).inc(),
        }
    }

    /// Counts an upload that entered a state.
    pub(super) fn upload(&self, all: &Metrics, app: &AppName, state: UploadState) {
        match state {
            UploadState::Pending => self.uploads.pending.add(1),
            _ => all.uploads.with_label_values(&[app.as_str(), state.as_str()]).inc(),
        }
    }

    /// Counts a call of storage.
    pub(super) fn called(
        &self,
        all: &Metrics,
        app: &AppName,
        operation: StorageOperation,
        outcome: StorageOutcome,
    ) {
        match outcome {
            StorageOutcome::Ok => self.storage[operation as usize].done.add(1),
            _ => {
                let labels = [app.as_str(), operation.label(), outcome.label()];
                all.storage_calls.with_label_values(&labels).inc();
            }
        }
    }

    /// Observes the time that a call of storage took.
    pub(super) fn took(&self, operation: StorageOperation, seconds: f64) {
        self.storage[operation as usize].took.observe(STORAGE_EDGES, seconds);
    }

    fn tell(&self, all: &Metrics, app: &str) {
        for (source, of_source) in Source::ALL.iter().zip(&self.sources) {
            let OfSource { had, whole_answers, bytes, first_byte } = of_source;
            match source {
                Source::Memory => {
                    had.tell(&all.memory_lookups, &[app, MemoryLookup::Hit.label()]);
                }
                Source::Cdn => had.tell(&all.cdn_requests, &[app, "ok"]),
                _ => {}
            }
            whole_answers.tell(&all.reads, &[app, source.label(), "200"]);
            bytes.tell(&all.read_bytes, &[app, source.label()]);
            all.read_first_byte.tell(&[app, source.label()], first_byte);
        }
        self.uploads.granted.tell(&all.presigns, &[app, "ok"]);
        self.uploads.pending.tell(&all.uploads, &[app, UploadState::Pending.as_str()]);
        for (operation, of_operation) in StorageOperation::ALL.iter().zip(&self.storage) {
            let OfOperation { done, took } = of_operation;
            let labels = [app, operation.label(), StorageOutcome::Ok.label()];
            done.tell(&all.storage_calls, &labels);
            all.storage_call.tell(&labels[..2], took);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    fn usual(all: &Metrics) -> (AppName, Arc<Usual>) {
        let app = AppName::parse("shop").unwrap();
        let usual = all.usual.of(&app);
        (app, usual)
    }

    #[test]
    fn every_source_has_its_own_series() {
        let all = Metrics::new();
        let (app, usual) = usual(&all);
        for (turn, source) in Source::ALL.iter().enumerate() {
            for _ in 0..=turn {
                usual.read(&all, &app, *source, "200");
                usual.read(&all, &app, *source, "404");
                usual.bytes(*source, 10);
                usual.first_byte(*source, 0.5);
            }
        }
        let text = all.to_text().unwrap();
        for (turn, source) in Source::ALL.iter().enumerate() {
            let (times, label) = (turn as u64 + 1, source.label());
            for code in ["200", "404"] {
                assert_eq!(all.reads.with_label_values(&["shop", label, code]).get(), times);
            }
            assert_eq!(all.read_bytes.with_label_values(&["shop", label]).get(), 10 * times);
            let first_byte =
                format!("read_first_byte_seconds_count{{app=\"shop\",source=\"{label}\"}} {times}");
            assert!(text.contains(&first_byte), "{first_byte}");
        }
    }

    #[test]
    fn every_operation_has_its_own_series() {
        let all = Metrics::new();
        let (app, usual) = usual(&all);
        for (turn, operation) in StorageOperation::ALL.iter().enumerate() {
            for _ in 0..=turn {
                usual.called(&all, &app, *operation, StorageOutcome::Ok);
                usual.called(&all, &app, *operation, StorageOutcome::Timeout);
                usual.took(*operation, 20.0);
            }
        }
        let text = all.to_text().unwrap();
        for (turn, operation) in StorageOperation::ALL.iter().enumerate() {
            let (times, label) = (turn as u64 + 1, operation.label());
            for outcome in ["ok", "timeout"] {
                let calls = all.storage_calls.with_label_values(&["shop", label, outcome]);
                assert_eq!(calls.get(), times);
            }
            let took =
                format!("storage_call_seconds_count{{app=\"shop\",operation=\"{label}\"}} {times}");
            assert!(text.contains(&took), "{took}");
        }
    }

    /// Whenever it is read, it is told once.
    #[test]
    fn what_is_told_is_told_once() {
        let all = Metrics::new();
        let (app, usual) = usual(&all);
        for total in 1..=3 {
            usual.looked(&all, &app, MemoryLookup::Hit);
            usual.cdn_answered();
            usual.presign(&all, &app, "ok");
            usual.upload(&all, &app, UploadState::Pending);
            let again = all.usual.of(&app);
            assert!(Arc::ptr_eq(&usual, &again), "an app that comes back goes on");
            for _ in 0..2 {
                let text = all.to_text().unwrap();
                for series in [
                    "memory_lookups_total{app=\"shop\",outcome=\"hit\"}",
                    "cdn_requests_total{app=\"shop\",outcome=\"ok\"}",
                    "presigns_total{app=\"shop\",outcome=\"ok\"}",
                    "uploads_total{app=\"shop\",state=\"pending\"}",
                ] {
                    assert!(text.contains(&format!("{series} {total}\n")), "{series}: {text}");
                }
            }
        }
    }

    #[test]
    fn nothing_exists_before_it_is_used() {
        let all = Metrics::new();
        let (app, usual) = usual(&all);
        usual.looked(&all, &app, MemoryLookup::Hit);
        let text = all.to_text().unwrap();
        assert!(text.contains("safelight_memory_lookups_total{app=\"shop\",outcome=\"hit\"} 1"));
        assert_eq!(text.matches("app=\"shop\"").count(), 1, "{text}");
    }

    /// A hit takes less than 10 ms, and a signature less than 25.
    #[test]
    fn what_is_usual_is_on_one_line() {
        const LINE: usize = 64;
        let buckets =
            |edges: &[f64], edge| 8 + 8 * (1 + edges.iter().position(|e| *e == edge).unwrap());
        assert!(offset_of!(OfSource, first_byte) + buckets(FIRST_BYTE_EDGES, 0.01) <= LINE);
        let (uploads, storage) = (offset_of!(Usual, uploads), offset_of!(Usual, storage));
        assert_eq!(uploads % LINE, 0);
        assert_eq!(StorageOperation::Sign as usize, 0);
        let signed = storage + offset_of!(OfOperation, took) + buckets(STORAGE_EDGES, 0.025);
        assert!(signed - uploads <= LINE);
    }
}
