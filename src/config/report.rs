//! What is gathered while a file is read: errors, the keys that were asked for, and those that
//! nobody asked for.

use std::cell::RefCell;

use super::asked::{Asked, Takes};
use super::document::{Override, Source};
use super::error::{ConfigError, nearest};

/// The longest name of a key that a message repeats, in characters.
const MAX_SHOWN: usize = 64;

/// Where in the configuration something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular: something is missing.
    File,
    /// In the file, so many bytes from its beginning.
    At(usize),
    /// In the environment variable of this name.
    Variable(String),
}

/// The gathering. Shared by the sections of one file while they are read.
pub(super) struct Report<'a> {
    pub source: &'a Source<'a>,
    errors: RefCell<Vec<ConfigError>>,
    /// Section and key.
    known: RefCell<Vec<(String, &'static str)>>,
    unknown: RefCell<Vec<Unknown>>,
    asked: RefCell<Vec<Asked>>,
    /// Whether it is read only to learn what is asked for.
    pub describes: bool,
}

/// A key that nobody asked for.
pub(super) struct Unknown {
    pub section: String,
    pub key: String,
    pub is_table: bool,
    pub place: Place,
}

impl<'a> Report<'a> {
    pub fn new(source: &'a Source<'a>, describes: bool) -> Self {
        Self {
            source,
            errors: RefCell::default(),
            known: RefCell::default(),
            unknown: RefCell::default(),
            asked: RefCell::default(),
            describes,
        }
    }

    /// Notes an error, of a key where there is one that it is about.
    pub fn error(&self, key: Option<&str>, place: &Place, message: String, hint: Option<String>) {
        let error = ConfigError::at_place(self.source.file, self.source.text, place, message);
        let key = key.map(|key| plain(key).into());
        self.errors.borrow_mut().push(ConfigError { key, hint, ..error });
    }

    /// Notes what a key or section takes.
    pub fn ask(&self, name: &str, takes: Takes, may_be_empty: bool) {
        let asked = Asked { name: plain(name), takes, may_be_empty };
        self.asked.borrow_mut().push(asked);
    }

    /// Ends a reading that was only to learn this.
    pub fn into_asked(self) -> Vec<Asked> {
        self.asked.into_inner()
    }

    /// Notes that a key exists.
    pub fn know(&self, section: &str, key: &'static str) {
        self.known.borrow_mut().push((section.to_owned(), key));
    }

    /// Notes a key that nobody asked for.
    pub fn unknown(&self, unknown: Unknown) {
        self.unknown.borrow_mut().push(unknown);
    }

    /// Ends the reading: now that all keys are known, the unknown ones can be explained.
    pub fn into_errors(self) -> Vec<ConfigError> {
        for unknown in self.unknown.take() {
            let hint = self.hint_for(&unknown);
            let name = dotted(&unknown.section, &unknown.shown());
            self.error(Some(&name), &unknown.place, unknown.message(), Some(hint));
        }
        for stray in self.source.overrides.iter().filter(|found| !found.used.get()) {
            let hint = self.hint_for_override(stray);
            let message = format!("{} names no setting", stray.variable());
            let error = ConfigError::of_file("environment", message).with_hint(hint);
            self.errors.borrow_mut().push(error);
        }
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| (error.line, error.column));
        errors
    }

    fn hint_for(&self, unknown: &Unknown) -> String {
        let known = self.known.borrow();
        let elsewhere = known.iter().find(|(section, key)| {
            *key == unknown.key && *section != unknown.section && !unknown.is_table
        });
        if let Some((section, _)) = elsewhere {
            return match section.as_str() {
                "" => "it belongs above the first [section]".to_owned(),
                section => format!("it belongs in [{section}]"),
            };
        }
        let here =
            || known.iter().filter(|(section, _)| *section == unknown.section).map(|(_, key)| *key);
        match nearest(&unknown.key, here()) {
            Some(near) if unknown.is_table => {
                format!("did you mean [{}]?", dotted(&unknown.section, near))
            }
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("known here: {}", here().collect::<Vec<_>>().join(", ")),
        }
    }

    fn hint_for_override(&self, stray: &Override) -> String {
        let known = self.known.borrow();
        let variable = |(section, key): &(String, &str)| {
            format!("SAFELIGHT__{}__{}", section.to_uppercase(), key.to_uppercase())
        };
        let has_variables = |section: &str| !section.is_empty() && !section.starts_with('[');
        let variables: Vec<_> =
            known.iter().filter(|(section, _)| has_variables(section)).map(variable).collect();
        let (section, key) = stray.names();
        let spelled = format!("SAFELIGHT__{section}__{key}").to_uppercase();
        match nearest(&spelled, variables.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "such variables have the form SAFELIGHT__SECTION__KEY".to_owned(),
        }
    }
}

impl Unknown {
    fn shown(&self) -> String {
        self.key.chars().take(MAX_SHOWN).collect()
    }

    fn message(&self) -> String {
        let shown = self.shown();
        match (self.is_table, self.section.as_str()) {
            (true, section) => format!("unknown section [{}]", dotted(section, &shown)),
            (false, "") => format!("unknown key {shown:?}"),
            (false, section) => format!("unknown key {shown:?} in [{section}]"),
        }
    }
}

/// A name without the brackets of `[[Sections]]`.
pub(super) fn plain(name: &str) -> String {
    name.replace(['[', ']'], "")
}

/// The name of a key with its section.
pub(super) fn dotted(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}
