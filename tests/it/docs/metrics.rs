//! `docs/metrics.md` against the registry and the label sets.

use std::collections::{BTreeMap, BTreeSet};

use safelight::domain::{
    AbortCause, AppName, Discrepancy, FallbackReason, FallbackResult, HealReason, IdentityOutcome,
    LookOutcome, MemoryFill, MemoryLookup, MemoryRevalidation, Source,
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
                "IntCounter" | "IntCounterVec" => "counter",
                "IntGauge" | "IntGaugeVec" => "gauge",
                "HistogramVec" => "histogram",
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
        table("What the sweeper does", "Outcome"),
        labels(LookOutcome::ALL.iter().map(|one| one.label()).collect())
    );
    assert_eq!(
        table("What the sweeper does", "Finding"),
        labels(Discrepancy::ALL.iter().map(|one| one.label()).collect())
    );
}

#[test]
fn the_expressions_name_what_exists() {
    let document = read("docs/metrics.md");
    let rows = rows(&document);
    let alerts = rows.iter().filter(|row| row.columns == ["Alert", "Expression"]);
    let alerts: Vec<_> = alerts.map(|row| one_code(row.cell("Expression"))).collect();
    let shown = document.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    assert!(!alerts.is_empty());
    for expression in shown.chain(alerts) {
        check_expression(expression, &declared());
    }
}
