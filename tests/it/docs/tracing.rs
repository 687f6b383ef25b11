//! `docs/tracing.md` against what spans say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{code, read, rows};

/// The sources of the program, without their tests.
fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            into.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
}

/// The texts that stand between these two in the sources.
fn between(before: &str, after: &str) -> BTreeSet<String> {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let parts = all.iter().flat_map(|text| text.split(before).skip(1));
    parts.filter_map(|part| part.split(after).next()).map(str::to_owned).collect()
}

fn told(column: &str) -> BTreeSet<String> {
    let document = rows(&read("docs/tracing.md"));
    let of_column = document.iter().filter(|row| row.columns[0] == column);
    of_column.flat_map(|row| code(row.cell(column))).map(str::to_owned).collect()
}

#[test]
fn the_attributes_are_those_that_are_set() {
    let mut set = between("span.set(\"", "\"");
    set.insert("safelight.outcome".to_owned());
    assert!(set.len() > 10, "the sources are read: {set:?}");
    assert_eq!(told("Attribute"), set);
}

#[test]
fn the_spans_are_those_that_begin() {
    let begun = between("Name(\"", "\"");
    assert!(begun.len() >= 4, "the sources are read: {begun:?}");
    let first_word = |name: String| name.split(' ').next().unwrap_or_default().to_owned();
    let told: BTreeSet<_> = told("Span").into_iter().map(first_word).collect();
    // A request is told by its method and its route, and `HTTP` where it has no known one.
    let begun: BTreeSet<_> = begun
        .into_iter()
        .map(|name| if name == "HTTP" { "GET".to_owned() } else { name })
        .collect();
    assert_eq!(told, begun);
}
