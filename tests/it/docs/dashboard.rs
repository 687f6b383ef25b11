//! The dashboards: they name only what exists, show all of it, and explain every panel.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::metrics::{Metric, declared};
use super::read;
use crate::dashboards::expressions::selectors;

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

/// Checks that an expression names existing metrics, and labels that they have.
pub(super) fn check_expression(expression: &str, declared: &BTreeMap<String, Metric>) {
    let selectors = selectors(expression);
    assert!(!selectors.is_empty(), "{expression} is about nothing");
    // Prometheus itself says whose series it is.
    let mut known = BTreeSet::from(["job", "instance"].map(str::to_owned));
    for selector in selectors {
        let name = selector.name;
        let series = ["_bucket", "_sum", "_count"].into_iter();
        let of_histogram = series.into_iter().find_map(|suffix| name.strip_suffix(suffix));
        let metric = match of_histogram {
            Some(base) => declared.get(base).filter(|metric| metric.kind == "histogram"),
            None => declared.get(&name).filter(|metric| metric.kind != "histogram"),
        };
        let metric = metric.unwrap_or_else(|| panic!("{name} does not exist: {expression}"));
        known.extend(metric.labels.iter().cloned());
        if name.ends_with("_bucket") {
            known.insert("le".to_owned());
        }
        for label in selector.matchers.iter().map(|matcher| &matcher.label) {
            let has = metric.labels.contains(label) || label == "le" && name.ends_with("_bucket");
            assert!(has, "{name} has no {label}: {expression}");
        }
        // A counter alone says how long the process has been running.
        let is_rate = expression.contains("rate(") || expression.contains("increase(");
        assert!(metric.kind == "gauge" || is_rate, "{name} without a rate: {expression}");
    }
    for label in clause_labels(expression) {
        assert!(known.contains(&label), "nothing has {label}: {expression}");
    }
}

/// The overview, and the page of one app.
fn dashboards() -> [Value; 2] {
    ["dashboards/overview.json", "dashboards/app.json"]
        .map(|path| serde_json::from_str(&read(path)).unwrap())
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
    let dashboards = dashboards();
    let declared = declared();
    let mut shown = BTreeSet::new();
    for panel in dashboards.iter().flat_map(panels) {
        for target in panel["targets"].as_array().unwrap() {
            let expression = text(&target["expr"]);
            check_expression(expression, &declared);
            let labels = clause_labels(expression);
            for used in text(&target["legendFormat"]).split("{{").skip(1) {
                let label = used.split("}}").next().unwrap();
                assert!(labels.contains(label), "the legend's {label}: {expression}");
            }
            for (at, _) in expression.match_indices('[') {
                let windows = ["[$__rate_interval]", "[$__range]"];
                let is_grafanas = windows.iter().any(|known| expression[at..].starts_with(known));
                assert!(is_grafanas, "{expression}");
            }
            shown.extend(selectors(expression).into_iter().map(|selector| selector.name));
        }
    }
    for name in declared.keys() {
        let is_shown = shown.iter().any(|shown| shown.starts_with(name.as_str()));
        assert!(is_shown, "no panel shows {name}");
    }
}

#[test]
fn every_panel_explains_itself() {
    for dashboard in dashboards() {
        assert_explains_itself(&dashboard);
    }
}

fn assert_explains_itself(dashboard: &Value) {
    let mut places: Vec<(&str, [u64; 4])> = Vec::new();
    for panel in panels(dashboard) {
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
fn they_keep_their_places_and_their_variables() {
    let declared = declared();
    for (dashboard, uid) in dashboards().iter().zip(["safelight-overview", "safelight-app"]) {
        assert_eq!(dashboard["uid"], uid);
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let names: Vec<_> = variables.iter().map(|variable| text(&variable["name"])).collect();
        assert_eq!(names, ["datasource", "app"]);
        let query = text(&variables[1]["query"]["query"]);
        let query = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (metric, label) = query.split_once(", ").unwrap();
        assert!(declared[metric].labels.contains(label), "{query}");
    }
}
