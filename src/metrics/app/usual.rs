//! The series that nearly every read or upload moves. Each is looked up once: finding a series by its labels
//! costs several times what counting in it does.

use std::sync::OnceLock;

use prometheus::{Histogram, IntCounter};

use super::super::Metrics;
use crate::domain::{AppName, MemoryLookup, Source, UploadState};

/// A series for each source that has given something.
type BySource<T> = [OnceLock<T>; Source::ALL.len()];

/// What is looked up with the first use, so that no series exists before.
#[derive(Debug, Default)]
pub(super) struct Usual {
    whole_answers: BySource<IntCounter>,
    first_byte: BySource<Histogram>,
    bytes: BySource<IntCounter>,
    memory_hits: OnceLock<IntCounter>,
    cdn_answers: OnceLock<IntCounter>,
    presigns: OnceLock<IntCounter>,
    pending: OnceLock<IntCounter>,
}

impl Usual {
    /// Counts a read.
    pub(super) fn read(&self, all: &Metrics, app: &AppName, source: Source, code: &str) {
        let find = || all.reads.with_label_values(&[app.as_str(), source.label(), code]);
        match code {
            "200" => self.whole_answers[source as usize].get_or_init(find).inc(),
            _ => find().inc(),
        }
    }

    /// The times to the first byte.
    pub(super) fn first_byte(&self, all: &Metrics, app: &AppName, source: Source) -> &Histogram {
        let find = || all.read_first_byte.with_label_values(&[app.as_str(), source.label()]);
        self.first_byte[source as usize].get_or_init(find)
    }

    /// The bytes of a source.
    pub(super) fn bytes(&self, all: &Metrics, app: &AppName, source: Source) -> &IntCounter {
        let find = || all.read_bytes.with_label_values(&[app.as_str(), source.label()]);
        self.bytes[source as usize].get_or_init(find)
    }

    /// Counts a look into the memory cache.
    pub(super) fn looked(&self, all: &Metrics, app: &AppName, outcome: MemoryLookup) {
        let find = || all.memory_lookups.with_label_values(&[app.as_str(), outcome.label()]);
        match outcome {
            MemoryLookup::Hit => self.memory_hits.get_or_init(find).inc(),
            _ => find().inc(),
        }
    }

    /// Counts a request to begin an upload.
    pub(super) fn presign(&self, all: &Metrics, app: &AppName, outcome: &str) {
        let find = || all.presigns.with_label_values(&[app.as_str(), outcome]);
        match outcome {
            "ok" => self.presigns.get_or_init(find).inc(),
            _ => find().inc(),
        }
    }

    /// Counts an upload that entered a state.
    pub(super) fn upload(&self, all: &Metrics, app: &AppName, state: UploadState) {
        let find = || all.uploads.with_label_values(&[app.as_str(), state.as_str()]);
        match state {
            UploadState::Pending => self.pending.get_or_init(find).inc(),
            _ => find().inc(),
        }
    }

    /// Counts a usable answer of the CDN.
    pub(super) fn cdn_answered(&self, all: &Metrics, app: &AppName) {
        let find = || all.cdn_requests.with_label_values(&[app.as_str(), "ok"]);
        self.cdn_answers.get_or_init(find).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_its_own_series() {
        let all = Metrics::new();
        let app = AppName::parse("shop").unwrap();
        let usual = Usual::default();
        for (turn, source) in Source::ALL.iter().enumerate() {
            for _ in 0..=turn {
                usual.read(&all, &app, *source, "200");
                usual.read(&all, &app, *source, "404");
                usual.bytes(&all, &app, *source).inc_by(10);
            }
        }
        for (turn, source) in Source::ALL.iter().enumerate() {
            let (times, label) = (turn as u64 + 1, source.label());
            for code in ["200", "404"] {
                assert_eq!(all.reads.with_label_values(&["shop", label, code]).get(), times);
            }
            assert_eq!(all.read_bytes.with_label_values(&["shop", label]).get(), 10 * times);
        }
    }

    #[test]
    fn nothing_exists_before_it_is_used() {
        let all = Metrics::new();
        let app = AppName::parse("shop").unwrap();
        let usual = Usual::default();
        usual.looked(&all, &app, MemoryLookup::Hit);
        let text = all.to_text().unwrap();
        assert!(text.contains("safelight_memory_lookups_total{app=\"shop\",outcome=\"hit\"} 1"));
        assert!(!text.contains("safelight_reads_total{app=\"shop\""), "{text}");
    }
}
