//! The reference documents and the dashboard, held to the program: what they say exists does, and
//! what exists they say. So are the results of the benchmark, held to what was measured.

mod api;
mod bench;
mod configuration;
mod dashboard;
mod doctor;
mod metrics;
mod schema;
mod tracing;

use std::fs;
use std::path::Path;

use safelight::storage::{Provider, Regions};

/// A file of the repository.
fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A row of a table in a Markdown document.
#[derive(Debug)]
struct Row {
    /// The heading of level 2 above it.
    chapter: String,
    /// The nearest heading above it, of any level.
    heading: String,
    /// The cells of the table's first row.
    columns: Vec<String>,
    cells: Vec<String>,
}

impl Row {
    /// The cell of a column.
    fn cell(&self, column: &str) -> &str {
        let at = self.columns.iter().position(|name| name == column);
        &self.cells[at.unwrap_or_else(|| panic!("no column {column} in {self:?}"))]
    }
}

/// Every row of every table.
fn rows(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut chapter, mut heading) = (String::new(), String::new());
    let mut columns: Option<Vec<String>> = None;
    let mut in_code = false;
    for line in document.lines() {
        in_code ^= line.starts_with("```");
        if in_code {
            continue;
        }
        if let Some(title) = line.trim_start_matches('#').strip_prefix(' ')
            && line.starts_with('#')
        {
            title.clone_into(&mut heading);
            if line.starts_with("## ") {
                title.clone_into(&mut chapter);
            }
        }
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells = cells(line);
        match &columns {
            None => columns = Some(cells),
            Some(_) if cells.iter().all(|cell| cell.chars().all(|c| c == '-')) => {}
            Some(columns) => {
                assert_eq!(cells.len(), columns.len(), "cells of: {line}");
                let (chapter, heading) = (chapter.clone(), heading.clone());
                rows.push(Row { chapter, heading, columns: columns.clone(), cells });
            }
        }
    }
    rows
}

/// The cells of a line; `\|` is no border.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').replace("\\|", "\0");
    let line = line.strip_suffix('|').expect("a row ends with a border");
    line.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// The `code` in a text.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The only `code` in a text.
fn one_code(text: &str) -> &str {
    let [one] = code(text)[..] else { panic!("not one code in {text:?}") };
    one
}

/// The first column of the table whose columns begin in this way, below this heading.
fn first_column(document: &str, heading: &str, columns: &[&str]) -> Vec<String> {
    let rows = rows(document);
    let here = rows.iter().filter(|row| {
        row.heading == heading && row.columns.iter().zip(columns).all(|(one, other)| one == other)
    });
    here.map(|row| one_code(&row.cells[0]).to_owned()).collect()
}

/// What is said of S3 and its providers.
const S3_PAGES: [&str; 8] = [
    "docs/providers/s3.md",
    "docs/providers/aws.md",
    "docs/providers/r2.md",
    "docs/providers/b2.md",
    "docs/providers/seaweedfs.md",
    "docs/providers/garage.md",
    "docs/providers/ceph.md",
    "docs/providers/minio.md",
];

#[test]
fn links_lead_somewhere() {
    for path in [
        "docs/api.md",
        "docs/configuration.md",
        "docs/doctor.md",
        "docs/events.md",
        "docs/metrics.md",
        "docs/operations.md",
        "docs/runbook.md",
        "docs/providers/gcs.md",
        "dashboards/README.md",
    ]
    .into_iter()
    .chain(S3_PAGES)
    {
        let text = read(path);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => folder.clone(),
                file => folder.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{path} links to {target}");
            let is_anchor = |line: &str| line.starts_with('#') && anchor_of(line) == anchor;
            let found =
                anchor.is_empty() || fs::read_to_string(&file).unwrap().lines().any(is_anchor);
            assert!(found, "{path} links to {target}");
        }
    }
}

/// The anchor that a heading gets.
fn anchor_of(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

/// What the page of a provider gives to be pasted can be pasted.
#[test]
fn the_policies_and_files_of_providers_can_be_read() {
    let (mut json, mut storage) = (0, 0);
    for path in S3_PAGES {
        let page = read(path);
        for block in page.split("```").skip(1).step_by(2) {
            let (kind, text) = block.split_once('\n').unwrap();
            match kind {
                "json" => {
                    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
                    parsed.unwrap_or_else(|error| panic!("{error} in {path}\n{text}"));
                    json += 1;
                }
                "toml" if text.starts_with("[Storage]") => {
                    configuration::assert_storage_is_read(text);
                    storage += 1;
                }
                "toml" | "sh" => {}
                other => panic!("a block of {other:?} in {path}"),
            }
        }
    }
    assert!(json >= 7 && storage == S3_PAGES.len() - 1, "{json} policies, {storage} files");
}

/// The table of what providers can do is the one that the program goes by.
#[test]
fn what_providers_can_do_is_what_the_program_takes_them_for() {
    let document = rows(&read("docs/providers/s3.md"));
    let rows: Vec<_> = document.iter().filter(|row| row.columns[0] == "`Provider`").collect();
    assert_eq!(rows.len(), Provider::ALL.len());
    for (row, provider) in rows.into_iter().zip(Provider::ALL) {
        assert_eq!(one_code(row.cell("`Provider`")), provider.name());
        let told = |does| if does { "yes" } else { "refused" };
        let name = provider.name();
        assert_eq!(row.cell("`PreventOverwrite`"), told(provider.keeps_what_exists()), "{name}");
        assert_eq!(row.cell("`sha256`"), told(provider.checks_sha256()), "{name}");
        // B2 keeps versions in every bucket.
        let always = provider.honours_if_match_on_delete() || provider == Provider::B2;
        let deletes = match (always, provider.deletes_by_version()) {
            (true, _) => "yes",
            (false, true) => "in buckets with versions; else looks first",
            (false, false) => "looks first",
        };
        assert_eq!(row.cell("Deletes only the version that was looked at"), deletes, "{name}");
        let regions = match provider.regions(None) {
            Regions::Any(region) => region,
            Regions::One { own, .. } => own,
            Regions::OfHost(_) | Regions::Required => "what the host says",
        };
        assert!(row.cell("Region").contains(regions), "{name}");
    }
}

/// What the page of events gives to be pasted can be pasted too.
#[test]
fn the_policies_and_settings_of_events_can_be_read() {
    let page = read("docs/events.md");
    let (mut json, mut toml) = (0, 0);
    for block in page.split("```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind {
            "json" => {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
                parsed.unwrap_or_else(|error| panic!("{error} in\n{text}"));
                json += 1;
            }
            "toml" if text.starts_with("[Events") => {
                configuration::assert_settings_are_read(text);
                toml += 1;
            }
            "toml" | "sh" => {}
            other => panic!("a block of {other:?}"),
        }
    }
    assert!(json >= 5 && toml >= 3, "{json} policies, {toml} settings");
}
