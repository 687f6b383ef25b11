//! `docs/doctor.md` against the checks.

use safelight::doctor::{Check, CorsConfiguration};

use super::{first_column, read};

#[test]
fn the_checks_are_those_that_are_made_in_their_order() {
    let documented =
        first_column(&read("docs/doctor.md"), "What it checks", &["Check", "What is tried"]);
    let made: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(documented, made);
}

/// The sample is what the program prints: every check with its title, in order, within a terminal.
#[test]
fn the_sample_is_what_is_printed() {
    let page = read("docs/doctor.md");
    let sample = page.split("```text\n").nth(1).expect("a sample").split("```").next().unwrap();
    let rows = sample.lines().filter(|line| {
        ["pass  ", "FAIL  ", "skip  "].iter().any(|verdict| line.starts_with(verdict))
    });
    let rows: Vec<_> = rows.map(|line| &line[6..]).collect();
    assert_eq!(rows.len(), Check::ALL.len());
    for (row, check) in rows.iter().zip(Check::ALL) {
        let rest = row.strip_prefix(check.title());
        assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("  ")), "{row}");
    }
    for line in sample.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// What a provider's page gives to be pasted is what is printed for an app there.
#[test]
fn the_cors_configurations_of_the_providers_pages_are_the_printed_ones() {
    for (page, field) in [("s3", "AllowedHeaders"), ("gcs", "responseHeader")] {
        let text = read(&format!("docs/providers/{page}.md"));
        let blocks = text.split("```json\n").skip(1);
        let mut blocks = blocks.map(|block| block.split("```").next().unwrap());
        let block = blocks.find(|block| block.contains(field)).expect("it is there");
        let documented: serde_json::Value = serde_json::from_str(block).unwrap();
        let origins = ["https://www.example.com".to_owned()];
        let cors = match page {
            "s3" => CorsConfiguration::for_s3(&origins),
            _ => CorsConfiguration::for_gcs(&origins),
        };
        let printed = serde_json::to_value(cors).unwrap();
        assert_eq!(documented, printed, "{page}");
    }
}
