//! `dashboards/overview.json`: it names only what exists, and explains every panel.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::metrics::{Metric, declared};
use super::read;

/// What the clauses of an expression name, such as `by (app, reason)`.
fn clause_labels(expression: &str) -> BTreeSet<String> {
    let clauses = ["by (", "on (", "without (", "ignoring (", "group_left ("];
    clauses
        .iter()
        .flat_map(|clause| expression.split(clause).skip(1))
        .flat_map(|rest| rest.split(')').next().unwrap().split(','))
        .map(|label| label.trim().to_owned())
        .collect()
}

/// The metrics in an expression, each with the labels of its selector.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression
        .match_indices("safelight_")
        .map(|(at, _)| {
            let rest = &expression[at..];
            let end = rest.find(|c| !part_of_name(c)).unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let selector = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let labels = selector.into_iter().flat_map(|selector| selector.split(", "));
            let label = |matcher: &str| matcher.chars().take_while(|c| part_of_name(*c)).collect();
            (name.to_owned(), labels.map(label).collect())
        })
        .collect()
}

/// Checks that an expression names existing metrics, and labels that they have.
pub(super) fn check_expression(expression: &str, declared: &BTreeMap<String, Metric>) {
    let selectors = selectors(expression);
    assert!(!selectors.is_empty(), "{expression} is about nothing");
    let mut known = BTreeSet::new();
    for (name, labels) in selectors {
        let series = ["_bucket", "_sum", "_count"].into_iter();
        let of_histogram = series.into_iter().find_map(|suffix| name.strip_suffix(suffix));
        let metric = match of_histogram {
            Some(base) => declared.get(base).filter(|metric| metric.kind == "histogram"),
            None => declared.get(&name).filter(|metric| metric.kind != "histogram"),
        };
        let metric = metric.unwrap_or_else(|| panic!("{name} does not exist: {expression}"));
        for label in labels {
            assert!(metric.labels.contains(&label), "{name} has no {label}: {expression}");
        }
        known.extend(metric.labels.iter().cloned());
        if name.ends_with("_bucket") {
            known.insert("le".to_owned());
        }
        // A counter alone says how long the process has been running.
        let is_rate = expression.contains("rate(") || expression.contains("increase(");
        assert!(metric.kind == "gauge" || is_rate, "{name} without a rate: {expression}");
    }
    for label in clause_labels(expression) {
        assert!(known.contains(&label), "nothing has {label}: {expression}");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboards/overview.json")).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[test]
fn every_expression_names_what_exists() {
    let dashboard = dashboard();
    let declared = declared();
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let expression = text(&target["expr"]);
            check_expression(expression, &declared);
            let labels = clause_labels(expression);
            for used in text(&target["legendFormat"]).split("{{").skip(1) {
                let label = used.split("}}").next().unwrap();
                assert!(labels.contains(label), "the legend's {label}: {expression}");
            }
            for (at, _) in expression.match_indices('[') {
                assert!(expression[at..].starts_with("[$__rate_interval]"), "{expression}");
            }
            shown.extend(selectors(expression).into_iter().map(|(name, _)| name));
        }
    }
    for name in declared.keys() {
        let is_shown = shown.iter().any(|shown| shown.starts_with(name.as_str()));
        assert!(is_shown, "no panel shows {name}");
    }
}

#[test]
fn every_panel_explains_itself() {
    let dashboard = dashboard();
    let mut places: Vec<(&str, [u64; 4])> = Vec::new();
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(text(&panel["description"]).ends_with('.'), "{title} has no description");
        assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let place = ["x", "y", "w", "h"].map(|edge| panel["gridPos"][edge].as_u64().unwrap());
        for (other, [x, y, w, h]) in &places {
            let [left, top, width, height] = place;
            let apart = left >= x + w || *x >= left + width || top >= y + h || *y >= top + height;
            assert!(apart, "{title} lies over {other}");
        }
        places.push((title, place));
    }
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), all.len(), "ids are distinct");
}

#[test]
fn it_keeps_its_place_and_its_variables() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "safelight-overview");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| text(&variable["name"])).collect();
    assert_eq!(names, ["datasource", "app"]);
    let declared = declared();
    let query = text(&variables[1]["query"]["query"]);
    let query = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
    let (metric, label) = query.split_once(", ").unwrap();
    assert!(declared[metric].labels.contains(label), "{query}");
}
