//! `dashboards/`: what its files are made of, and a real Prometheus that scrapes a real gateway and
//! evaluates every expression of them.

pub mod expressions;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::prometheus::{Prometheus, dashboards, lint, promtool};
use expressions::selectors;
use traffic::Scene;

/// What may give nothing here, and why. Whatever has one of these in it is excused.
const MAY_BE_EMPTY: [(&str, &str); 7] = [
    ("safelight_identity_total{outcome=\"unavailable\"}", "no app here has an issuer"),
    ("safelight_event_polls_total", "the gateway has no queue"),
    ("outcome=\"dead_letter\"", "only a queue has dead letters"),
    ("ratio_usual", "what is usual takes an hour of history to know"),
    ("safelight_certificate_expiry_seconds", "the listener speaks plain HTTP"),
    ("safelight_certificate_reloads_total", "the listener speaks plain HTTP"),
    ("safelight_tls_handshakes_total", "the listener speaks plain HTTP"),
];

fn may_be_empty(expression: &str) -> bool {
    MAY_BE_EMPTY.iter().any(|(part, _)| expression.contains(part))
}

/// The files of a folder of `dashboards/` with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dashboards().join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|known| known == extension));
    files.sort();
    files
}

/// An expression of a dashboard, as Grafana would send it.
struct Shown {
    whose: String,
    expression: String,
}

fn shown() -> Vec<Shown> {
    let mut shown = Vec::new();
    for file in files("", "json") {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap();
                let expression = expression.replace("$app", ".*");
                let expression = expression.replace("$__rate_interval", "5m");
                shown.push(Shown {
                    whose: format!("{}: {}", dashboard["title"], panel["title"]),
                    expression: expression.replace("$__range", "5m"),
                });
            }
        }
    }
    assert!(shown.len() > 50, "the dashboards are read");
    shown
}

#[test]
fn the_dashboards_are_what_their_source_writes() {
    let source = dashboards().join("build.py");
    let output = Command::new("python3").arg(source).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn promtool_accepts_the_rules() {
    promtool(&["check", "rules"], &files("rules", "yml"));
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    // Hours and days of series each: side by side they take half of the time.
    std::thread::scope(|scope| {
        for file in files("rules/tests", "yml") {
            scope.spawn(|| promtool(&["test", "rules"], &[file]));
        }
    });
}

/// Each alert has a case in which it fires, and a section that says what to do.
#[test]
fn every_alert_has_a_case_and_a_section() {
    let rules = fs::read_to_string(dashboards().join("rules/alerts.yml")).unwrap();
    let cases: String =
        files("rules/tests", "yml").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let runbook = fs::read_to_string(dashboards().join("../docs/runbook.md")).unwrap();
    let sections: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## Safelight")).collect();
    let names: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: Safelight")).collect();
    assert_eq!(names, sections, "the alerts, and the sections of docs/runbook.md");
    for name in names {
        assert!(cases.contains(&format!("alertname=\"Safelight{name}\"")), "{name} fires nowhere");
        let runbook = format!("runbook: docs/runbook.md#safelight{}", name.to_lowercase());
        assert!(rules.contains(&format!("{runbook}\n")), "{name} leads to its section");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_shows_what_happened() {
    let scene = Scene::start().await;
    let prometheus = Prometheus::watching(&scene.gateway.admin).await;
    // Twice: rates are between scrapes, and some series begin with the first event.
    for _ in 0..2 {
        scene.traffic().await;
        prometheus.until_scraped().await;
    }

    let faults = scene.faults().await;
    prometheus.until_scraped().await;
    let by_reason = r#"sum by (reason) (safelight_cdn_fallbacks_total{app="shop"}) > 0"#;
    assert_eq!(counts(&prometheus, by_reason).await, owned(&faults.fallbacks));
    let healed = r#"sum by (reason) (safelight_streams_healed_total{app="shop"}) > 0"#;
    assert_eq!(counts(&prometheus, healed).await, owned(&faults.healed));

    let open = scene.blackout().await;
    prometheus.until_scraped().await;
    let refused = r#"sum by (reason) (safelight_cdn_fallbacks_total{reason="breaker_open"})"#;
    assert_eq!(counts(&prometheus, refused).await["breaker_open"], open);
    let breaker = prometheus.query(r#"safelight_cdn_breaker_state{app="shop"} > 0"#).await.unwrap();
    assert_eq!(breaker.len(), 1, "the breaker is not closed");

    lint(&scene.gateway.metrics().await.0);
    assert_panels_show(&prometheus).await;
    assert_rules_hold(&prometheus).await;
    let names = "group by (app) (safelight_uploads_total)";
    let names = prometheus.query(names).await.unwrap();
    let names: BTreeSet<_> = names.iter().map(|app| app.label("app")).collect();
    assert_eq!(names, BTreeSet::from(["broken", "shared", "shop"]), "the choice of apps");
}

/// What an expression counts, by its label `reason`.
async fn counts(prometheus: &Prometheus, expression: &str) -> BTreeMap<String, u64> {
    let samples = prometheus.query(expression).await.unwrap();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // they are counts
    samples.iter().map(|one| (one.label("reason").to_owned(), one.value as u64)).collect()
}

fn owned(counts: &BTreeMap<&str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
}

/// Every expression of every panel is right, and shows something.
async fn assert_panels_show(prometheus: &Prometheus) {
    let mut blank = Vec::new();
    for Shown { whose, expression } in shown() {
        let samples = prometheus.query(&expression).await;
        let samples = samples.unwrap_or_else(|error| panic!("{whose}: {error}"));
        let shows = samples.iter().any(|sample| sample.value.is_finite());
        if !shows && !may_be_empty(&expression) {
            blank.push(format!("{whose}: {expression}"));
        }
    }
    assert!(blank.is_empty(), "these show nothing:\n{}", blank.join("\n"));
}

/// Every rule was evaluated well, every series that a rule names exists, and what is recorded is
/// there. Whether alerts fire is for the cases of promtool: a gateway that is well has none.
async fn assert_rules_hold(prometheus: &Prometheus) {
    let mut blank = Vec::new();
    let rules = prometheus.rules().await;
    assert!(rules.len() > 40, "the rules are loaded");
    for rule in rules {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        assert_eq!(rule["health"], "ok", "{name}: {}", rule["lastError"]);
        let mut expected = BTreeSet::new();
        if rule["type"] == "recording" {
            expected.insert(name.to_owned());
        }
        let asked = selectors(query);
        assert!(!asked.is_empty(), "{name} is about nothing");
        expected.extend(asked.iter().flat_map(|one| one.one_by_one()).map(|one| one.to_string()));
        for expression in expected {
            let samples = prometheus.query(&expression).await.unwrap();
            if samples.is_empty() && !may_be_empty(&expression) {
                blank.push(format!("{name}: {expression}"));
            }
        }
    }
    assert!(blank.is_empty(), "these are nowhere:\n{}", blank.join("\n"));
}

/// Whoever asks how many reads are in time means the edge of the objective, in the writing of
/// Prometheus before 3 and of later ones.
#[test]
fn the_objective_of_the_first_byte_is_one_number() {
    let edge = format!("{0}|{0:.1}", safelight::metrics::FIRST_BYTE_OBJECTIVE);
    let rules = files("rules", "yml").into_iter().map(|file| fs::read_to_string(file).unwrap());
    let texts: Vec<_> = rules.chain(shown().into_iter().map(|shown| shown.expression)).collect();
    let edges = texts.iter().flat_map(|text| text.split("le=~\"").skip(1));
    let edges: Vec<_> = edges.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(edges.len() >= 4 && edges.iter().all(|one| *one == edge), "{edges:?} and {edge}");
}

#[test]
fn what_is_excused_is_in_use() {
    let rules: String =
        files("rules", "yml").iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let shown: String = shown().into_iter().map(|shown| shown.expression).collect();
    for (part, why) in MAY_BE_EMPTY {
        let value = part.split('"').nth(1).unwrap_or(part);
        assert!(rules.contains(value) || shown.contains(value), "{part}: {why}");
    }
}
