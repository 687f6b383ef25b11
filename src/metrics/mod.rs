//! Every metric of the gateway: one field each, whose doc comment is its help text. The registry
//! is owned by the gateway, never global. Labels are closed sets; a label that comes from a request
//! does not exist.

mod app;
mod events;
mod outcomes;
mod process;
mod sampled;
mod spans;
mod told;

use std::sync::Arc;

use prometheus::{
    Counter, Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::domain::{FileState, ReloadOutcome};

pub use app::{AppMetrics, BytesFrom};
pub use events::EventMetrics;
pub use sampled::Sampler;
pub use spans::SpanMetrics;
pub use told::ToldHistogramVec;

use app::AllUsual;

/// The `app` label of requests that name no configured app.
pub const UNKNOWN_APP: &str = "_unknown";

/// Seconds to the first byte: fine where a CDN answers, and with the thresholds of the defaults
/// (300 ms to connect, 1 s to the first byte) as edges. The objective for the latency of reads is one
/// of them as well ([`FIRST_BYTE_OBJECTIVE`]).
const FIRST_BYTE_EDGES: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0];

/// The edge that the objective for reads is about, in seconds: 99 % have their first byte by then.
/// `dashboards/rules/` and the overview stand on it; a test holds the two together.
pub const FIRST_BYTE_OBJECTIVE: f64 = 1.0;

/// Seconds for one call of storage: signatures take microseconds, heads of objects some 10 ms, and
/// calls end by themselves after 10 s or so.
const STORAGE_EDGES: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds for one commit of records.
const COMMIT_EDGES: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Records in one commit.
const GROUP_EDGES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Seconds for one run of the sweeper: a glance at empty queues takes milliseconds, a backlog
/// minutes.
const SWEEP_EDGES: &[f64] = &[0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

/// Seconds from what happened in a bucket to its event having been handled: seconds in the usual
/// run, hours where events had to wait for the gateway or for storage.
const LAG_EDGES: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

/// Declares the metrics: field, kind, name, labels (and the edges of a histogram).
macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident: $kind:ident($name:literal $(, $labels:expr)? $(; $edges:expr)?), )+) => {
        /// The metrics and their registry.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            /// What apps count for themselves until somebody reads it.
            usual: AllUsual,
            $( #[doc = $help] pub $field: $kind, )+
        }

        impl Metrics {
            /// Registers every metric.
            ///
            /// # Panics
            /// Never: the names are constants, valid and distinct, which a test proves.
            #[must_use]
            pub fn new() -> Arc<Self> {
                let registry = Registry::new();
                $( let $field = build!($kind, $name, $help.trim() $(, $labels)? $(; $edges)?);
                registry.register(Box::new($field.clone())).expect("names are distinct"); )+
                let this = Self { registry, usual: AllUsual::default(), $( $field, )+ };
                for cap in ["requests", "connections", "connections_per_ip", "storage"] {
                    this.overloaded.with_label_values(&[cap]);
                }
                for outcome in ReloadOutcome::ALL {
                    this.config_reloads.with_label_values(&[outcome.label()]);
                }
                for state in FileState::ALL {
                    this.config_apps.with_label_values(&[state.label()]);
                }
                for outcome in ["ok", "failed"] {
                    this.deletions_followed.with_label_values(&[outcome]);
                    this.sweeper_run.with_label_values(&[outcome]);
                }
                for reason in crate::domain::Unbelieved::ALL {
                    this.untrusted_forwarded.with_label_values(&[reason.label()]);
                }
                Arc::new(this)
            }
        }
    };
}

macro_rules! build {
    (IntGauge, $name:literal, $help:expr) => {
        IntGauge::new($name, $help).expect("a valid name")
    };
    (IntCounter, $name:literal, $help:expr) => {
        IntCounter::new($name, $help).expect("a valid name")
    };
    (IntCounterVec, $name:literal, $help:expr, $labels:expr) => {
        IntCounterVec::new(Opts::new($name, $help), &$labels).expect("valid names")
    };
    (Counter, $name:literal, $help:expr) => {
        Counter::new($name, $help).expect("a valid name")
    };
    (Gauge, $name:literal, $help:expr) => {
        Gauge::new($name, $help).expect("a valid name")
    };
    (IntGaugeVec, $name:literal, $help:expr, $labels:expr) => {
        IntGaugeVec::new(Opts::new($name, $help), &$labels).expect("valid names")
    };
    (ToldHistogramVec, $name:literal, $help:expr, $labels:expr; $edges:expr) => {
        ToldHistogramVec::new($name, $help, &$labels, $edges).expect("valid names")
    };
    (HistogramVec, $name:literal, $help:expr, $labels:expr; $edges:expr) => {
        HistogramVec::new(
            prometheus::HistogramOpts::new($name, $help).buckets($edges.to_vec()),
            &$labels,
        )
        .expect("valid names")
    };
}

metrics! {
    /// Reads of public URLs, by where the answer came from and its HTTP status.
    reads: IntCounterVec("safelight_reads_total", ["app", "source", "code"]),
    /// Reads that the CDN should have served and did not, by the reason and by what became of them.
    cdn_fallbacks: IntCounterVec("safelight_cdn_fallbacks_total", ["app", "reason", "result"]),
    /// Requests to the CDN, by outcome: ok or the reason of the failure.
    cdn_requests: IntCounterVec("safelight_cdn_requests_total", ["app", "outcome"]),
    /// Reads for which storage was asked beside a CDN that kept them waiting, by who answered: cdn or storage.
    hedges: IntCounterVec("safelight_hedges_total", ["app", "winner"]),
    /// Reads that went straight to storage, so that the fallback is always in use, by result.
    origin_share: IntCounterVec("safelight_origin_share_total", ["app", "result"]),
    /// The breaker of the app's CDN: 0 closed, 1 half-open, 2 open.
    cdn_breaker_state: IntGaugeVec("safelight_cdn_breaker_state", ["app"]),
    /// Bodies that broke off and were continued from storage, by how they broke.
    streams_healed: IntCounterVec("safelight_streams_healed_total", ["app", "reason"]),
    /// Bodies that were broken off visibly because they could not be continued, by cause.
    streams_aborted: IntCounterVec("safelight_streams_aborted_total", ["app", "cause"]),
    /// Seconds from a read's arrival to the first byte of its answer.
    read_first_byte: ToldHistogramVec("safelight_read_first_byte_seconds", ["app", "source"]; FIRST_BYTE_EDGES),
    /// Bytes of objects by where they came from: what was fetched from CDN and storage, and what memory gave to clients.
    read_bytes: IntCounterVec("safelight_read_bytes_total", ["app", "source"]),
    /// Calls of storage, by what it was asked for and what became of it.
    storage_calls: IntCounterVec("safelight_storage_calls_total", ["app", "operation", "outcome"]),
    /// Seconds that a call of storage took, until the head of its answer; not of calls that were given up.
    storage_call: ToldHistogramVec("safelight_storage_call_seconds", ["app", "operation"]; STORAGE_EDGES),
    /// Reads of apps with a memory cache, by what it had for them.
    memory_lookups: IntCounterVec("safelight_memory_lookups_total", ["app", "outcome"]),
    /// Fetches of objects for the memory cache, by outcome.
    memory_fills: IntCounterVec("safelight_memory_fills_total", ["app", "outcome"]),
    /// Fetches of objects that were kept in memory and had become stale, by outcome.
    memory_revalidations: IntCounterVec("safelight_memory_revalidations_total", ["app", "outcome"]),
    /// Bytes in the memory cache, with what each entry costs besides its object.
    memory_bytes: IntGauge("safelight_memory_bytes"),
    /// Objects in the memory cache.
    memory_entries: IntGauge("safelight_memory_entries"),
    /// Those of them that lie in files of memory, which sockets in the clear are sent without a copy.
    memory_files: IntGauge("safelight_memory_files"),
    /// Objects that had to make room in the memory cache, or found none.
    memory_evictions: IntCounter("safelight_memory_evictions_total"),
    /// Presign requests, by outcome: ok or the error code.
    presigns: IntCounterVec("safelight_presigns_total", ["app", "outcome"]),
    /// Requests for uploads in parts, by what they ask for and by outcome: ok or the error code.
    multipart_requests: IntCounterVec("safelight_multipart_requests_total", ["app", "request", "outcome"]),
    /// Requests to delete an image, by outcome: ok or the error code.
    deletes: IntCounterVec("safelight_deletes_total", ["app", "outcome"]),
    /// Requests for a signed URL of a private image, by outcome: ok or the error code.
    signed_urls: IntCounterVec("safelight_signed_urls_total", ["app", "outcome"]),
    /// Requests to apps with `[Identity]` that were asked who they are from, by what came of it.
    identity: IntCounterVec("safelight_identity_total", ["app", "method", "outcome"]),
    /// Requests that came with an API key of the app's, by the key's ID.
    api_key_requests: IntCounterVec("safelight_api_key_requests_total", ["app", "key_id"]),
    /// Uploads that entered a state.
    uploads: IntCounterVec("safelight_uploads_total", ["app", "state"]),
    /// Requests that a rate limit refused.
    rate_limited: IntCounterVec("safelight_rate_limited_total", ["app", "limit"]),
    /// Requests to begin an upload with a Forwarded or X-Forwarded-For that was not believed, by reason.
    untrusted_forwarded: IntCounterVec("safelight_untrusted_forwarded_total", ["reason"]),
    /// Owners, clients and uploads whose quota is not full, and so is remembered, by limit.
    limiter_keys: IntGaugeVec("safelight_limiter_keys", ["app", "limit"]),
    /// Requests refused because the gateway was at its capacity, by which cap.
    overloaded: IntCounterVec("safelight_overloaded_total", ["cap"]),
    /// Open connections, by listener: public or admin.
    connections: IntGaugeVec("safelight_connections", ["listener"]),
    /// TLS handshakes with clients, by outcome: ok, failed or timeout.
    tls_handshakes: IntCounterVec("safelight_tls_handshakes_total", ["outcome"]),
    /// When the certificate of the listener ends, in seconds since 1970.
    certificate_expiry: IntGaugeVec("safelight_certificate_expiry_seconds", ["listener"]),
    /// New certificates and keys found in their files, by outcome: ok or failed.
    certificate_reloads: IntCounterVec("safelight_certificate_reloads_total", ["outcome"]),
    /// Requests that are being answered, bodies included.
    requests_in_flight: IntGauge("safelight_requests_in_flight"),
    /// Records in one commit of the record store.
    records_group_size: HistogramVec("safelight_records_group_size", ["engine"]; GROUP_EDGES),
    /// Seconds that one commit of the record store took.
    records_commit: HistogramVec("safelight_records_commit_seconds", ["engine"]; COMMIT_EDGES),
    /// Changes of records that wait to be committed.
    records_queue: IntGaugeVec("safelight_records_queue_length", ["engine"]),
    /// Records that reads wanted, by outcome: hit (it was remembered), miss (the record store was asked) or failed.
    record_lookups: IntCounterVec("safelight_record_lookups_total", ["app", "outcome"]),
    /// Verdicts of ready that are remembered.
    ready_verdicts: IntGauge("safelight_ready_verdicts"),
    /// Deleted keys that reads are held against.
    deleted_keys: IntGauge("safelight_deleted_keys"),
    /// Looks for the deletions of other nodes, by outcome: ok or failed.
    deletions_followed: IntCounterVec("safelight_deletions_followed_total", ["outcome"]),
    /// Seconds that one run of the sweeper took, by outcome: ok or failed.
    sweeper_run: HistogramVec("safelight_sweeper_run_seconds", ["outcome"]; SWEEP_EDGES),
    /// Uploads that the sweeper looked at, by what it came to.
    sweeper_looks: IntCounterVec("safelight_sweeper_looks_total", ["app", "outcome"]),
    /// Seconds since the oldest upload that the sweeper has not looked at was due.
    sweeper_overdue: IntGaugeVec("safelight_sweeper_overdue_seconds", ["app"]),
    /// Objects of the bucket that differ from the records, by what was found or done.
    reconcile_objects: IntCounterVec("safelight_reconcile_objects_total", ["app", "finding"]),
    /// Events of storage, by where they came from and what became of them.
    events: IntCounterVec("safelight_events_total", ["source", "outcome"]),
    /// Seconds from what happened in the bucket to its event having been handled.
    event_lag: HistogramVec("safelight_event_lag_seconds", ["source"]; LAG_EDGES),
    /// Questions to the queue of events, by outcome: ok or failed.
    event_polls: IntCounterVec("safelight_event_polls_total", ["outcome"]),
    /// Spans of traces, by what became of them: exported, rejected, undelivered or no_room.
    spans: IntCounterVec("safelight_spans_total", ["outcome"]),
    /// Requests to the collector of spans, by outcome: ok or failed.
    span_exports: IntCounterVec("safelight_span_exports_total", ["outcome"]),
    /// Reloads of the apps' files, by outcome: ok, unchanged, refused or failed.
    config_reloads: IntCounterVec("safelight_config_reloads_total", ["outcome"]),
    /// Apps by how they stand to their files: live, refused or missing.
    config_apps: IntGaugeVec("safelight_config_apps", ["state"]),
    /// Which build this is; always 1.
    build_info: IntGaugeVec("safelight_build_info", ["version", "commit"]),
    /// Threads that requests are answered on.
    runtime_workers: IntGauge("safelight_runtime_workers"),
    /// Tasks that have not ended.
    runtime_alive_tasks: IntGauge("safelight_runtime_alive_tasks"),
    /// Tasks that could run, and that no thread has taken yet.
    runtime_queue: IntGauge("safelight_runtime_queue_length"),
    /// Seconds that all threads together were busy.
    runtime_busy: Counter("safelight_runtime_busy_seconds_total"),
    /// Seconds of processor time, of user and system.
    process_cpu: Counter("process_cpu_seconds_total"),
    /// Bytes of memory in use.
    process_resident_memory: IntGauge("process_resident_memory_bytes"),
    /// Bytes of address space.
    process_virtual_memory: IntGauge("process_virtual_memory_bytes"),
    /// Threads of the process.
    process_threads: IntGauge("process_threads"),
    /// Open file descriptors; a connection is one.
    process_open_fds: IntGauge("process_open_fds"),
    /// How many file descriptors may be open.
    process_max_fds: IntGauge("process_max_fds"),
    /// When the process started, in seconds since 1970.
    process_start_time: Gauge("process_start_time_seconds"),
}

/// The commit that this was built from, where whoever built it said so (the Dockerfile's `COMMIT`).
const COMMIT: Option<&str> = option_env!("SAFELIGHT_COMMIT");

impl Metrics {
    /// Tells which build this is.
    pub fn tell_build(&self) {
        let labels = [env!("CARGO_PKG_VERSION"), COMMIT.unwrap_or("unknown")];
        self.build_info.with_label_values(&labels).set(1);
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// A text, if the encoder refuses a metric.
    pub fn to_text(&self) -> Result<String, String> {
        self.usual.tell(self);
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AppName, Source};

    #[test]
    fn every_metric_has_help() {
        let metrics = Metrics::new();
        let app = AppName::parse("shop").unwrap();
        let _ = AppMetrics::new(&metrics, &app, Source::S3, true);
        let text = metrics.to_text().unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, _) = line.split_once(' ').unwrap();
            let help = text.lines().find(|l| l.starts_with(&format!("# HELP {name} "))).unwrap();
            assert!(help.ends_with('.'), "{help}");
        }
    }

    /// What an objective is about must be an edge, or nobody can tell.
    #[test]
    fn the_objective_of_the_first_byte_is_an_edge() {
        assert!(FIRST_BYTE_EDGES.contains(&FIRST_BYTE_OBJECTIVE));
    }

    #[test]
    fn a_configured_app_has_its_series_at_zero() {
        let metrics = Metrics::new();
        let app = AppName::parse("shop").unwrap();
        let _ = AppMetrics::new(&metrics, &app, Source::S3, true);
        let text = metrics.to_text().unwrap();
        for series in [
            "safelight_cdn_fallbacks_total{app=\"shop\",reason=\"timeout\",result=\"served\"} 0",
            "safelight_cdn_requests_total{app=\"shop\",outcome=\"ok\"} 0",
            "safelight_reads_total{app=\"shop\",code=\"200\",source=\"cdn\"} 0",
            "safelight_reads_total{app=\"shop\",code=\"502\",source=\"none\"} 0",
            "safelight_read_bytes_total{app=\"shop\",source=\"s3\"} 0",
            "safelight_storage_calls_total{app=\"shop\",operation=\"get\",outcome=\"timeout\"} 0",
            "safelight_presigns_total{app=\"shop\",outcome=\"rate_limited\"} 0",
            "safelight_uploads_total{app=\"shop\",state=\"ready\"} 0",
            "safelight_deletes_total{app=\"shop\",outcome=\"not_found\"} 0",
            "safelight_signed_urls_total{app=\"shop\",outcome=\"ok\"} 0",
            "safelight_streams_healed_total{app=\"shop\",reason=\"stall\"} 0",
        ] {
            assert!(text.contains(series), "{series} is missing");
        }
    }

    #[test]
    fn an_app_without_a_cdn_has_no_reasons_for_one() {
        let metrics = Metrics::new();
        let _ = AppMetrics::new(&metrics, &AppName::parse("plain").unwrap(), Source::S3, false);
        assert!(!metrics.to_text().unwrap().contains("safelight_cdn_fallbacks_total{"));
    }
}
