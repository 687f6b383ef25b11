//! Files against the schemas, by a validator that others wrote, and against the readers.

use std::path::Path;

use safelight::config::{Asked, ConfigError, Takes};
use serde_json::json;

use super::super::configuration::{load_app, load_settings};
use super::{APP, Kind, SETTINGS, asked_of_kind, made, read};
use crate::harness::python;

pub(super) const LEAST_APP: [(&str, &str, &str); 3] = [
    ("Storage", "Bucket", "'media'"),
    ("Storage", "AccessKeyID", "'id'"),
    ("Storage", "SecretAccessKey", "'secret'"),
];

pub(super) const LEAST_SETTINGS: [(&str, &str, &str); 3] = [
    ("Server", "PublicBaseURL", "'https://media.test'"),
    ("Keys", "MintSecrets", "['0123456789abcdef0123456789abcdef']"),
    ("Keys", "SigningSecrets", "['0123456789abcdef0123456789abcdef']"),
];

/// One value of each type that TOML has, and some that only some keys take.
const VALUES: [&str; 11] = [
    "'some text'",
    "''",
    "'15m'",
    "1",
    "-1",
    "1.5",
    "true",
    "['some text']",
    "[1]",
    "{ Unknown = 1 }",
    "1979-05-27",
];

/// A reader of files.
type Load = fn(&str) -> Result<String, Vec<ConfigError>>;

/// What the validator finds wrong with each of the files.
fn validate(kind: &Kind, files: &[String]) -> Vec<Option<String>> {
    let schema = made(kind);
    let given = json!({"schema": schema, "files": files});
    serde_json::from_str(&python::run("docs/schema/validate.py", given.to_string())).unwrap()
}

/// A file of the least lines and one more key, in place of a line that sets the same.
pub(super) fn with(least: &[(&str, &str, &str)], name: &str, value: &str, in_list: bool) -> String {
    let (section, key) = name.rsplit_once('.').unwrap_or(("", name));
    let set = |section: &str, key: &str, value: &str| match section {
        "" => format!("{key} = {value}\n"),
        // Dotted, so that the order of the lines does not matter.
        section => format!("{section}.{key} = {value}\n"),
    };
    let kept = least.iter().filter(|line| (line.0, line.1) != (section, key));
    let kept: String = kept.map(|(section, key, value)| set(section, key, value)).collect();
    if in_list {
        format!("{kept}[[{section}]]\n{key} = {value}\n")
    } else {
        kept + &set(section, key, value)
    }
}

#[test]
fn the_samples_pass() {
    let samples = [(APP, "apps.d/example.toml.sample"), (SETTINGS, "safelight.toml.sample")];
    for (kind, path) in samples {
        let text = read(path);
        let schema = Path::new(kind.path).file_name().unwrap().to_str().unwrap();
        assert!(text.starts_with(&format!("#:schema ./{schema}\n")), "{path} names its schema");
        assert_eq!(validate(&kind, &[text]), [None], "{path}");
    }
}

#[test]
fn what_the_pages_show_passes() {
    let pages = ["s3", "aws", "r2", "b2", "seaweedfs", "garage", "ceph", "minio", "gcs"];
    let blocks: Vec<String> = pages
        .iter()
        .flat_map(|page| {
            let page = read(&format!("docs/providers/{page}.md"));
            let blocks = page.split("```toml\n").skip(1);
            blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect::<Vec<_>>()
        })
        .filter(|block| block.starts_with("[Storage]") && block.contains("Bucket"))
        .collect();
    assert!(blocks.len() >= 7, "{}", blocks.len());
    for (block, wrong) in blocks.iter().zip(validate(&APP, &blocks)) {
        assert_eq!(wrong, None, "{block}");
    }
}

#[test]
fn mistakes_are_found() {
    let storage = "[Storage]\nBucket = 'media'\n";
    let cases = [
        ("", "'Storage' is a required property"),
        ("[Storage]\n", "'Bucket' is a required property"),
        (&format!("AllowPublicUploads = true\n{storage}"), "'AllowPublicUploads' was unexpected"),
        (&format!("AllowPublicUpload = 'yes'\n{storage}"), "is not of type 'boolean'"),
        (&format!("{storage}Account = 'x'\n"), "'' was expected"),
        (&format!("{storage}Kind = 's4'\n"), "is not one of"),
        (&format!("{storage}Kind = 'gcs'\nRegion = 'x'\n"), "is not one of"),
        (&format!("{storage}CredentialsFile = 'x'\n"), "is not one of"),
        (&format!("{storage}[Upload]\nURLExpiry = '15 m'\n"), "does not match"),
        (&format!("{storage}[Upload]\nMaxBytes = '20 megs'\n"), "does not match"),
        (&format!("{storage}[Upload]\nMaxPixels = -1\n"), "less than the minimum"),
        (&format!("{storage}[Upload]\nAllowedTypes = ['image/jpg']\n"), "is not one of"),
        (&format!("{storage}[Read]\nMode = 'proxies'\n"), "is not one of"),
        (
            &format!("{storage}[RateLimit]\nPerOwner = {{ Rate = '1/s' }}\n"),
            "'Burst' is a dependency",
        ),
        (&format!("{storage}[RateLimit]\nPerOwner = '60/m'\n"), "is not of type 'object'"),
    ];
    let files: Vec<String> = cases.iter().map(|(text, _)| (*text).to_owned()).collect();
    for ((text, expected), wrong) in cases.iter().zip(validate(&APP, &files)) {
        let wrong = wrong.unwrap_or_default();
        assert!(wrong.contains(expected), "{wrong}\n{text}");
        assert!(load_app(text).is_err(), "the reader takes it:\n{text}");
    }
}

/// A schema that is stricter than the program would cry wolf in somebody's editor.
#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    for (kind, least, load, enough) in [
        (APP, &LEAST_APP, load_app as Load, 200),
        (SETTINGS, &LEAST_SETTINGS, load_settings as fn(&str) -> _, 150),
    ] {
        let asked = (kind.asked)();
        let is_list = |name: &str| {
            let section = name.rsplit_once('.').map_or("", |(section, _)| section);
            asked.iter().any(|asked| asked.name == section && asked.takes == Takes::Sections)
        };
        let files: Vec<String> = asked
            .iter()
            .flat_map(|Asked { name, .. }| {
                VALUES.map(|value| with(least, name, value, is_list(name)))
            })
            // `[Storage]` itself is set by the least lines.
            .filter(|text| toml::de::DeTable::parse(text).is_ok())
            .collect();
        let mut refused = 0;
        for (text, wrong) in files.iter().zip(validate(&kind, &files)) {
            let Some(wrong) = wrong else { continue };
            refused += 1;
            assert!(load(text).is_err(), "the schema says {wrong}, the reader takes it:\n{text}");
        }
        assert!(refused > enough, "only {refused} of {} files of {}", files.len(), kind.title);
    }
}

/// Each value of a closed set is taken by the reader, and others are not.
#[test]
fn closed_sets_are_those_of_the_readers() {
    let schema = made(&APP);
    let told = |name: &str, value: &str| {
        let errors = load_app(&with(&LEAST_APP, name, value, false)).err().unwrap_or_default();
        let error = errors.into_iter().find(|error| error.key.as_deref() == Some(name));
        error.map(|error| error.message)
    };
    let mut checked = 0;
    for Asked { name, takes, .. } in asked_of_kind("s3") {
        let leaf = name.split('.').fold(&schema, |object, name| &object["properties"][name]);
        let (set, is_list) = match takes {
            Takes::Text => (&leaf["enum"], false),
            Takes::Texts => (&leaf["items"]["enum"], true),
            _ => continue,
        };
        let written =
            |value: &str| if is_list { format!("['{value}']") } else { format!("'{value}'") };
        for value in set.as_array().into_iter().flatten() {
            let value = value.as_str().unwrap();
            let other = told(&name, &written("qqqqqqqqqq")).expect("it is no value of the set");
            // What is refused together with something else is a value all the same.
            assert_ne!(told(&name, &written(value)).as_ref(), Some(&other), "{name} = {value}");
            let longer = told(&name, &written(&format!("{value}q")));
            assert!(longer.is_some(), "{name} takes more than {set}");
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} values");
}
