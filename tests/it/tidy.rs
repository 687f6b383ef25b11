//! The house rules that a program can check: who may import whom, how long files and functions may
//! be, and that every file says what it is for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may import, from the bottom up. `ARCHITECTURE.md` draws the same table.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("alarm", &[]),
    ("chunked", &[]),
    ("zero_copy", &[]),
    ("upstream", &["alarm", "chunked", "zero_copy"]),
    ("metrics", &["domain"]),
    ("traces", &["domain", "zero_copy", "upstream", "metrics"]),
    ("log", &["traces"]),
    ("config", &["domain"]),
    ("storage", &["domain", "config", "zero_copy", "upstream", "traces"]),
    ("records", &["domain", "traces"]),
    ("cdn", &["domain", "alarm", "upstream", "traces"]),
    ("memory", &["domain", "zero_copy", "metrics"]),
    ("limits", &["domain"]),
    ("identity", &["domain", "upstream"]),
    ("settings", &["domain", "config", "upstream", "traces"]),
    (
        "apps",
        &[
            "domain", "config", "upstream", "metrics", "storage", "cdn", "memory", "limits",
            "identity", "traces",
        ],
    ),
    (
        "actions",
        &[
            "domain",
            "alarm",
            "zero_copy",
            "upstream",
            "metrics",
            "storage",
            "records",
            "cdn",
            "memory",
            "limits",
            "identity",
            "apps",
            "log",
            "traces",
        ],
    ),
    (
        "background",
        &[
            "domain", "upstream", "metrics", "storage", "records", "cdn", "limits", "identity",
            "settings", "apps", "actions",
        ],
    ),
    (
        "http",
        &[
            "domain",
            "zero_copy",
            "metrics",
            "storage",
            "cdn",
            "limits",
            "identity",
            "apps",
            "actions",
            "background",
            "log",
            "traces",
        ],
    ),
    ("server", &["domain", "http", "metrics", "alarm", "chunked", "zero_copy"]),
    ("gateway", &["*"]),
    ("doctor", &["domain", "upstream", "storage", "cdn", "apps"]),
    ("dev", &["*"]),
    ("command", &["*"]),
];

/// What the vocabulary may use besides `std`: hashes, comparison, parsing. No sockets, no files, no
/// HTTP, no runtime.
const DOMAIN_CRATES: &[&str] = &[
    "std",
    "core",
    "super",
    "crate",
    "self",
    "hmac",
    "sha2",
    "subtle",
    "zeroize",
    "thiserror",
    "percent_encoding",
    "serde",
    "ipnet",
];

const MAX_FILE_LINES: usize = 420;
const MAX_FUNCTION_LINES: usize = 72;

struct Source {
    path: PathBuf,
    room: String,
    /// The lines before the tests.
    code: Vec<String>,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(&root).unwrap();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let room = first.trim_end_matches(".rs").to_owned();
            let is_test = relative.iter().any(|part| part == "tests" || part == "tests.rs");
            let code = text
                .lines()
                .take_while(|line| !is_test && *line != "#[cfg(test)]")
                .map(str::to_owned)
                .collect();
            Source { path: relative.to_owned(), room, code, text }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The first path segments after `prefix` in a line, groups taken apart.
fn named_after(line: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or_default();
            found.extend(group.split(',').map(|name| first_segment(name.trim())));
        } else {
            found.push(first_segment(rest));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn first_segment(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn without_comments(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.code.iter().enumerate().map(|(number, line)| (number + 1, line.as_str()));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut violations = Vec::new();
    for source in sources() {
        if matches!(source.room.as_str(), "lib" | "main") {
            continue;
        }
        let Some(allowed) = table.get(source.room.as_str()) else {
            violations.push(format!("{}: the room is not in the table", source.path.display()));
            continue;
        };
        if allowed.contains(&"*") {
            continue;
        }
        for (number, line) in without_comments(&source) {
            for room in named_after(line, "crate::") {
                if room != source.room && !allowed.contains(&room.as_str()) {
                    let path = source.path.display();
                    violations.push(format!("{path}:{number}: {} imports {room}", source.room));
                }
            }
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn nobody_below_imports_the_composition() {
    for (room, allowed) in MAY_IMPORT {
        let below = !matches!(*room, "gateway" | "dev" | "command");
        let composes =
            allowed.iter().any(|name| matches!(*name, "gateway" | "dev" | "command" | "*"));
        assert!(!(below && composes), "{room}");
    }
}

#[test]
fn the_domain_knows_no_http_no_socket_and_no_runtime() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.room == "domain") {
        for (number, line) in without_comments(source) {
            let Some(path) = line.trim_start().strip_prefix("use ") else { continue };
            let name = first_segment(path);
            // An enum whose variants a function uses is no crate.
            if name.starts_with(char::is_uppercase) {
                continue;
            }
            if !DOMAIN_CRATES.contains(&name.as_str()) {
                violations.push(format!("{}:{number}: {name}", source.path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn actions_know_no_http_request_or_status() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.room == "actions") {
        for (number, line) in without_comments(source) {
            let http = line.trim_start().starts_with("use http::") || line.contains(" http::");
            if http || line.contains("hyper::") {
                violations.push(format!("{}:{number}: {line}", source.path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources() {
        let first = source.text.lines().find(|line| !line.starts_with("#!["));
        let documented = first.is_some_and(|line| line.starts_with("//!"))
            || source.text.contains("#![doc = include_str!");
        assert!(documented, "{} has no module doc", source.path.display());
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut violations = Vec::new();
    for source in sources() {
        if source.code.len() > MAX_FILE_LINES {
            violations.push(format!("{}: {} lines", source.path.display(), source.code.len()));
        }
        for (start, length) in functions(&source.code) {
            if length > MAX_FUNCTION_LINES {
                violations.push(format!("{}:{start}: {length} lines", source.path.display()));
            }
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// Where functions begin (counted from 1), and how many lines they have: from `fn` to the brace
/// that closes at the same indentation.
fn functions(code: &[String]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in code.iter().enumerate() {
        let trimmed = line.trim_start();
        let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn "]
            .iter()
            .any(|prefix| trimmed.starts_with(prefix))
            || (trimmed.starts_with("pub(") && trimmed.contains(") fn "))
            || (trimmed.starts_with("pub(") && trimmed.contains(") async fn "));
        if !is_function {
            continue;
        }
        let indent = &line[..line.len() - trimmed.len()];
        let close = format!("{indent}}}");
        if let Some(length) = code[start..].iter().position(|line| *line == close) {
            found.push((start + 1, length + 1));
        }
    }
    found
}

#[test]
fn fuzz_targets_are_told_and_have_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (manifest, readme) = (read("Cargo.toml"), read("README.md"));
    let mut targets = Vec::new();
    collect(&root.join("targets"), &mut targets);
    assert!(!targets.is_empty());
    for target in targets {
        let name = target.file_stem().unwrap().to_str().unwrap();
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is built");
        assert!(readme.contains(&format!("| `{name}` |")), "{name} is in the README");
        assert!(fs::read_to_string(&target).unwrap().starts_with("//!"), "{name} has a module doc");
        let seeds = fs::read_dir(root.join("seeds").join(name)).map_or(0, Iterator::count);
        assert!((1..=100).contains(&seeds), "{name} has {seeds} seeds");
    }
}

#[test]
fn there_is_no_drawer() {
    for source in sources() {
        for part in source.path.iter().filter_map(|part| part.to_str()) {
            let name = part.trim_end_matches(".rs");
            assert!(
                !matches!(name, "util" | "utils" | "helpers" | "misc" | "common"),
                "{}",
                source.path.display()
            );
        }
    }
}

#[test]
fn no_secret_toolchain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(!root.join("rust-toolchain.toml").exists(), "no other toolchain can be assumed");
    let library = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    assert!(library.contains("#![forbid(unsafe_code)]"));
}
