//! `docs/configuration.md` against the readers of both kinds of files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use safelight::apps::{LoadContext, read_app};
use safelight::config::ConfigError;
use safelight::domain::{AppName, Grants, TrustedProxies};
use safelight::settings::Settings;
use safelight::upstream::AddressPolicy;

use super::{Row, code, one_code, read, rows};

/// A key that no reader knows, and that resembles none.
const UNKNOWN: &str = "Qqqqqqqqqqqqqqqq";

/// One of the two kinds of files.
struct Kind {
    /// The chapter of the document that is about it.
    chapter: &'static str,
    /// The heading of what it refuses.
    refused: &'static str,
    /// What refuses it.
    source: &'static str,
    /// The lines that must be there: the section and the line.
    least: &'static [(&'static str, &'static str)],
    /// Reads a text; gives what was read, as the debugger sees it.
    load: fn(&str) -> Result<String, Vec<ConfigError>>,
}

const SETTINGS: Kind = Kind {
    chapter: "`safelight.toml`",
    refused: "Of `safelight.toml`",
    source: "src/settings/not_built.rs",
    least: &[
        ("Server", "PublicBaseURL = 'https://media.test'"),
        ("Keys", "MintSecrets = ['0123456789abcdef0123456789abcdef']"),
        ("Keys", "SigningSecrets = ['0123456789abcdef0123456789abcdef']"),
    ],
    load: load_settings,
};

const APP: Kind = Kind {
    chapter: "An app's file",
    refused: "Of an app's file",
    source: "src/apps/not_built.rs",
    least: &[
        ("Storage", "Bucket = 'media'"),
        ("Storage", "AccessKeyID = 'id'"),
        ("Storage", "SecretAccessKey = 'secret'"),
    ],
    load: load_app,
};

pub(super) fn load_settings(text: &str) -> Result<String, Vec<ConfigError>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("safelight.toml");
    fs::write(&path, text).unwrap();
    Settings::load(Some(&path), std::iter::empty()).map(|settings| format!("{settings:#?}"))
}

pub(super) fn load_app(text: &str) -> Result<String, Vec<ConfigError>> {
    let context = LoadContext {
        address_policy: &AddressPolicy::default(),
        max_url_expiry: Duration::from_secs(15 * 60),
        secrets_dir: Path::new("/nowhere"),
        env: &|_| None,
        grants: &Grants::default(),
        trusted_proxies: Some(&TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()])),
    };
    let name = AppName::parse("shop").unwrap();
    read_app(&name, "shop.toml", text, &[], &context).map(|app| format!("{app:#?}"))
}

/// A file that is being written: lines by section, `""` above the first.
#[derive(Default)]
struct Toml(BTreeMap<String, Vec<String>>);

impl Toml {
    fn least(kind: &Kind) -> Self {
        let mut toml = Self::default();
        for (section, line) in kind.least {
            toml.add(section, *line);
        }
        toml
    }

    fn add(&mut self, section: &str, line: impl Into<String>) {
        self.0.entry(section.to_owned()).or_default().push(line.into());
    }

    /// The empty section comes first in the order of names.
    fn render(&self) -> String {
        let section = |(name, lines): (&String, &Vec<String>)| {
            let head = if name.is_empty() { String::new() } else { format!("[{name}]\n") };
            format!("{head}{}\n", lines.join("\n"))
        };
        self.0.iter().map(section).collect()
    }
}

/// A value that the document says is refused.
struct Refused {
    section: String,
    /// The key, or the name of a section.
    key: String,
    /// As it is written in a file.
    written: String,
    harmless: Option<String>,
}

impl Kind {
    /// The rows of keys, with the sections that they are in.
    fn keys(&self, document: &[Row]) -> Vec<(Vec<String>, String, String)> {
        let here = document.iter().filter(|row| row.chapter == self.chapter);
        here.filter(|row| row.columns[0] == "Key")
            .map(|row| {
                let sections = sections_of(&row.heading);
                (sections, one_code(row.cell("Key")).to_owned(), row.cell("Default").to_owned())
            })
            .collect()
    }

    fn refused(&self, document: &[Row]) -> Vec<Refused> {
        let here = document.iter().filter(|row| row.heading == self.refused);
        here.map(|row| {
            let written = one_code(row.cell("Refused")).to_owned();
            let key = written.split(" = ").next().unwrap().trim_matches(['[', ']']).to_owned();
            let section = sections_of(row.cell("Where")).remove(0);
            let harmless = code(row.cell("Harmless")).first().map(|text| (*text).to_owned());
            Refused { section, key, written, harmless }
        })
        .collect()
    }

    /// What the reader says it knows in a section, to the author of an unknown key. What `[Storage]`
    /// holds depends on its kind.
    fn known(&self, section: &str) -> BTreeSet<String> {
        let kinds: &[&str] = if section == "Storage" { &["s3", "gcs"] } else { &[""] };
        let known = kinds.iter().flat_map(|kind| {
            let mut toml = Toml::default();
            toml.add(section, format!("{UNKNOWN} = 1"));
            if !kind.is_empty() {
                toml.add(section, format!("Kind = '{kind}'"));
            }
            let errors = (self.load)(&toml.render()).unwrap_err();
            let error = errors.iter().find(|error| error.message.contains(UNKNOWN)).unwrap();
            let list = error.hint.as_ref().unwrap().strip_prefix("known here: ").unwrap();
            list.split(", ").map(str::to_owned).collect::<Vec<_>>()
        });
        known.collect()
    }
}

/// The sections that a text names: `[A]`, `[A.B]`, and `[[A]]` as `[A]` in brackets of its own; the
/// top where it names none.
pub(super) fn sections_of(text: &str) -> Vec<String> {
    let named = code(text).into_iter().filter_map(|name| name.strip_prefix('[')?.strip_suffix(']'));
    let named: Vec<_> = named.map(str::to_owned).collect();
    if named.is_empty() { vec![String::new()] } else { named }
}

#[test]
fn the_keys_are_those_that_the_readers_know() {
    let document = rows(&read("docs/configuration.md"));
    for kind in [SETTINGS, APP] {
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (sections, key, _) in kind.keys(&document) {
            for section in sections {
                let mut inner = section.as_str();
                while !inner.is_empty() {
                    let (above, name) = inner.rsplit_once('.').unwrap_or(("", inner));
                    let (above, name) =
                        (above.trim_start_matches('['), name.trim_matches(['[', ']']));
                    told.entry(above.to_owned()).or_default().insert(name.to_owned());
                    inner = above;
                }
                told.entry(section).or_default().insert(key.clone());
            }
        }
        for Refused { section, key, .. } in kind.refused(&document) {
            told.entry(section).or_default().insert(key);
        }
        for (section, keys) in told {
            assert_eq!(keys, kind.known(&section), "[{section}] of {}", kind.chapter);
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_readers() {
    let document = rows(&read("docs/configuration.md"));
    for (kind, least) in [(SETTINGS, 10), (APP, 19)] {
        let mut toml = Toml::least(&kind);
        let mut checked = 0;
        for (sections, key, default) in kind.keys(&document) {
            if let Some(default) = default.starts_with('`').then(|| code(&default)[0]) {
                toml.add(&sections[0], format!("{key} = {default}"));
                checked += 1;
            } else {
                let is_told = ["required", "–"].iter().any(|told| default.starts_with(told));
                assert!(is_told, "the default of {key} is {default:?}");
            }
        }
        assert!(checked >= least, "only {checked} defaults of {}", kind.chapter);
        let written = (kind.load)(&toml.render());
        assert_eq!(written, (kind.load)(&Toml::least(&kind).render()), "{}", toml.render());
    }
}

#[test]
fn what_is_required_is_required() {
    let document = rows(&read("docs/configuration.md"));
    for kind in [SETTINGS, APP] {
        let is_required = |default: &str| default.starts_with("required");
        let in_sections = |sections: &[String]| !sections[0].contains(['.', '[']);
        let told: BTreeSet<_> = kind
            .keys(&document)
            .into_iter()
            .filter(|(sections, _, default)| is_required(default) && in_sections(sections))
            .map(|(sections, key, _)| format!("{}.{key}", sections[0]))
            .collect();
        let missing = (kind.load)("").unwrap_err().into_iter().map(|error| {
            let (name, _) = error.message.split_once(" is missing").expect("only what is missing");
            name.to_owned()
        });
        assert_eq!(told, missing.collect(), "{}", kind.chapter);
    }
}

#[test]
fn what_is_refused_is_refused_and_nothing_else() {
    let document = rows(&read("docs/configuration.md"));
    for kind in [SETTINGS, APP] {
        let refused = kind.refused(&document);
        for Refused { section, key, written, harmless } in &refused {
            let mut toml = Toml::least(&kind);
            toml.add(section, written);
            let errors = (kind.load)(&toml.render()).unwrap_err();
            let told: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
            assert!(
                told.len() == 1 && told[0].ends_with("is not available in this version"),
                "{told:?} for\n{}",
                toml.render()
            );
            if let Some(harmless) = harmless {
                let mut toml = Toml::least(&kind);
                toml.add(section, format!("{key} = {harmless}"));
                assert!((kind.load)(&toml.render()).is_ok(), "{key} = {harmless} is refused");
            }
        }
        // The table in the source, entry by entry: section, key, and which value.
        let source = read(kind.source);
        let entries: Vec<Vec<&str>> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("NotBuilt::new("))
            .map(|line| line.split('"').skip(1).step_by(2).collect())
            .collect();
        for entry in &entries {
            let found = refused.iter().any(|refused| {
                let begins = entry.get(2).filter(|value| {
                    // A value of `NotText` is the harmless one.
                    refused.harmless.as_deref() != Some(&format!("\"{value}\""))
                });
                refused.section == entry[0]
                    && refused.key == entry[1]
                    && begins.is_none_or(|value| refused.written.contains(&format!("\"{value}")))
            });
            assert!(found, "{entry:?} of {} is not told", kind.source);
        }
        assert_eq!(entries.len(), refused.len(), "{}", kind.source);
    }
}

#[test]
fn the_messages_are_those_that_it_shows() {
    let document = read("docs/configuration.md");
    let file = |line: &str| format!("\n[Storage]\n\n\n\n\n\n[Upload]\n{line}\n");
    let shown = |text: &str| {
        let errors = load_app(text).unwrap_err();
        errors.iter().map(|error| format!("apps.d/{error}")).collect::<Vec<_>>()
    };
    let errors = [
        shown(&format!("AllowPublicUploads = true{}", file(""))),
        shown(&file("MaxBytes = \"20 megs\"")),
    ]
    .concat();
    for line in document.lines().filter(|line| line.starts_with("apps.d/shop.toml:")) {
        assert!(errors.iter().any(|error| error == line), "{line}\n{errors:#?}");
    }
}

/// Holds a `[Storage]` of another document to the reader of apps' files; keys are added to those
/// that have none.
pub(super) fn assert_storage_is_read(text: &str) {
    let text = text.replace("env:SAFELIGHT_APP_SHOP_KEY", "id").replace("file:secret-", "secret-");
    let keys = if text.contains("AccessKeyID") {
        ""
    } else {
        "AccessKeyID = 'id'\nSecretAccessKey = 'secret'\n"
    };
    let read = load_app(&format!("{text}{keys}"));
    assert!(read.is_ok(), "{read:?}\n{text}");
}

/// Holds an `[Events…]` of another document to the reader of the settings. Its files are not there.
pub(super) fn assert_settings_are_read(text: &str) {
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some(("SecretFile", _)) => "Secret = '0123456789abcdef0123456789abcdef'",
        _ => line,
    });
    let events = lines.collect::<Vec<_>>().join("\n");
    let read = load_settings(&format!("{}{events}", Toml::least(&SETTINGS).render()));
    assert!(read.is_ok(), "{read:?}\n{text}");
}
