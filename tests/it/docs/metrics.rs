//! `docs/metrics.md` against the registry and the label sets.

use std::collections::{BTreeMap, BTreeSet};

use safelight::domain::{
    AbortCause, AppName, Discrepancy, FallbackReason, FallbackResult, FileState, HealReason,
    IdentityMethod, IdentityOutcome, LookOutcome, MemoryFill, MemoryLookup, MemoryRevalidation,
    ReloadOutcome, Source, StorageOperation, StorageOutcome,
};
use safelight::metrics::{AppMetrics, Metrics};

use super::dashboard::check_expression;
use super::{code, first_column, one_code, read, rows};

/// A metric: its type, and its labels in the order of names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) kind: &'static str,
    pub(super) labels: BTreeSet<String>,
}

/// Every metric, as its declaration in the source has it: what nothing has moved yet does not show
/// in the registry's text.
pub(super) fn declared() -> BTreeMap<String, Metric> {
    let source = read("src/metrics/mod.rs");
    let table = source.split("\nmetrics! {\n").nth(1).unwrap().split("\n}\n").next().unwrap();
    let declarations = table.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    declarations
        .map(|line| {
            let kind = line.split(": ").nth(1).unwrap().split('(').next().unwrap();
            let kind = match kind {
                "Counter" | "IntCounter" | "IntCounterVec" => "counter",
                "Gauge" | "IntGauge" | "IntGaugeVec" => "gauge",
                "HistogramVec" | "ToldHistogramVec" => "histogram",
                other => panic!("what is {other}?"),
            };
            let mut texts = line.split('"').skip(1).step_by(2).map(str::to_owned);
            (texts.next().unwrap(), Metric { kind, labels: texts.collect() })
        })
        .collect()
}

#[test]
fn the_metrics_are_those_of_the_registry() {
    let declared = declared();
    let document = rows(&read("docs/metrics.md"));
    let told: BTreeMap<_, _> = document
        .iter()
        .filter(|row| row.columns[0] == "Metric")
        .map(|row| {
            let kind = ["counter", "gauge", "histogram"];
            let kind = kind.into_iter().find(|kind| *kind == row.cell("Type")).unwrap();
            let labels = code(row.cell("Labels")).into_iter().map(str::to_owned).collect();
            (one_code(row.cell("Metric")).to_owned(), Metric { kind, labels })
        })
        .collect();
    assert_eq!(told, declared);
}

/// That the source was read rightly: what the registry shows is declared, and of that type.
#[test]
fn what_the_registry_shows_is_declared() {
    let metrics = Metrics::new();
    let app = AppMetrics::new(&metrics, &AppName::parse("shop").unwrap(), Source::S3, true);
    app.first_byte(Source::S3, 0.1);
    let text = metrics.to_text().unwrap();
    let declared = declared();
    let shown: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(shown.len() >= 10, "{shown:?}");
    for (name, kind) in shown {
        assert_eq!(declared[name].kind, kind, "{name}");
        let sample = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
        for label in sample.into_iter().flat_map(labels_of_sample) {
            assert!(declared[name].labels.contains(&label), "{name} has {label}");
        }
    }
}

fn labels_of_sample(line: &str) -> Vec<String> {
    let labels = line.split(['{', '}']).nth(1).unwrap();
    labels.split(',').map(|label| label.split('=').next().unwrap().to_owned()).collect()
}

#[test]
fn the_labels_are_those_of_the_program() {
    let document = read("docs/metrics.md");
    let table = |heading, column| first_column(&document, heading, &[column]);
    let labels = |all: Vec<&'static str>| all.into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        table("Who answered", "Source"),
        labels(Source::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("Reading a fallback", "Result"),
        labels(FallbackResult::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("Why the CDN failed", "Reason"),
        labels(FallbackReason::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("Who asked", "Proof"),
        labels(IdentityOutcome::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What memory had", "Lookup"),
        labels(MemoryLookup::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What memory had", "Fill"),
        labels(MemoryFill::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What memory had", "Revalidation"),
        labels(MemoryRevalidation::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("When a body breaks off", "Reason"),
        labels(HealReason::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("When a body breaks off", "Cause"),
        labels(AbortCause::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What storage is asked for", "Operation"),
        labels(StorageOperation::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What storage is asked for", "Outcome"),
        labels(StorageOutcome::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What the sweeper does", "Outcome"),
        labels(LookOutcome::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("Reloads", "Reload"),
        labels(ReloadOutcome::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("Reloads", "State"),
        labels(FileState::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What the sweeper does", "Finding"),
        labels(Discrepancy::ALL.iter().map(|one| one.label()).collect())
    );
}

#[test]
fn the_expressions_name_what_exists() {
    let document = read("docs/metrics.md");
    let shown = promql(&document);
    assert!(!shown.is_empty());
    for expression in shown.into_iter().chain(promql(&read("docs/runbook.md"))) {
        check_expression(expression, &declared());
    }
}

/// The expressions that a document shows.
fn promql(document: &str) -> Vec<&str> {
    document.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The words that the names of metrics end with, which say what is counted. What has none is a number
/// of things, and has its place in the list.
#[test]
fn every_name_says_its_unit() {
    const THINGS: [&str; 18] = [
        "safelight_config_apps",
        "safelight_cdn_breaker_state",
        "safelight_memory_entries",
        "safelight_memory_files",
        "safelight_connections",
        "safelight_requests_in_flight",
        "safelight_limiter_keys",
        "safelight_records_group_size",
        "safelight_records_queue_length",
        "safelight_ready_verdicts",
        "safelight_deleted_keys",
        "safelight_build_info",
        "safelight_runtime_workers",
        "safelight_runtime_alive_tasks",
        "safelight_runtime_queue_length",
        "process_threads",
        "process_open_fds",
        "process_max_fds",
    ];
    for (name, Metric { kind, .. }) in declared() {
        // The names that every program has which Prometheus scrapes, and those of this one.
        assert!(name.starts_with("safelight_") || name.starts_with("process_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let unit = ["_seconds", "_bytes", "_ratio", "_total"].iter().any(|end| name.ends_with(end));
        assert!(unit != THINGS.contains(&name.as_str()), "{name}: in what?");
    }
}

/// Labels are closed sets: what a request brings is none.
#[test]
fn labels_are_of_closed_sets() {
    const CLOSED: [&str; 20] = [
        "app",
        "cap",
        "cause",
        "code",
        "commit",
        "engine",
        "finding",
        "limit",
        "listener",
        "operation",
        "outcome",
        "reason",
        "request",
        "result",
        "source",
        "state",
        "version",
        "method",
        "key_id",
        "winner",
    ];
    for (name, metric) in declared() {
        for label in &metric.labels {
            assert!(CLOSED.contains(&label.as_str()), "{name} has {label}: is that a closed set?");
        }
    }
}

/// A counter is there at 0 before anything happens, or an alert would not see the first event.
#[test]
fn every_counter_of_an_app_is_there_from_the_start() {
    let metrics = Metrics::new();
    let app = AppMetrics::new(&metrics, &AppName::parse("shop").unwrap(), Source::S3, true);
    app.touch_memory();
    app.touch_identity(IdentityMethod::ApiKey, ["backend"].into_iter());
    let text = metrics.to_text().unwrap();
    for (name, metric) in declared() {
        if metric.kind == "counter" && metric.labels.contains("app") {
            let series = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
            let mut of_app = series.filter(|line| line.contains("app=\"shop\"")).peekable();
            assert!(of_app.peek().is_some(), "{name} is not there");
            assert!(of_app.all(|line| line.ends_with(" 0")), "{name} is not at 0");
        }
    }
}
