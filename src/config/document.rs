//! A configuration file as a tree in which every key and value knows its place.

use std::cell::Cell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::asked::Asked;
use super::error::ConfigError;
use super::not_built::NotBuilt;
use super::report::{Place, Report};
use super::section::Section;

/// What is to be read: a file's text, and what takes part in its meaning.
pub struct Source<'a> {
    /// The name of the file, for messages.
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) overrides: Vec<Override>,
    pub(super) not_built: &'static [NotBuilt],
}

/// A key that an environment variable sets, over what the file says.
pub struct Override {
    variable: String,
    section: String,
    key: String,
    raw: String,
    pub(super) used: Cell<bool>,
}

/// A value and where it stands.
pub(super) struct Node {
    pub value: Value,
    pub place: Place,
    /// The text of an environment variable, for a key that expects text: `APPSDIR=2024` is a name.
    pub raw: Option<String>,
}

/// A TOML value, as far as the configuration tells values apart.
pub(super) enum Value {
    Text(String),
    /// `None`: outside of the 64 bits.
    Integer(Option<i64>),
    Boolean(bool),
    /// A floating-point number.
    Float(f64),
    /// A date or a time: no key takes one.
    Datetime,
    List(Vec<Node>),
    Table(Entries),
    /// Refused already: whoever asks for it gets nothing, and no second message is made.
    Refused,
}

/// The entries of a table, with the place of each key.
pub(super) type Entries = BTreeMap<String, (Place, Node)>;

impl<'a> Source<'a> {
    /// A file without overrides, all of whose keys are built.
    #[must_use]
    pub const fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, overrides: Vec::new(), not_built: &[] }
    }

    /// The same source, with keys that the environment sets.
    #[must_use]
    pub fn with_overrides(self, overrides: Vec<Override>) -> Self {
        Self { overrides, ..self }
    }

    /// The same source, with the keys that this version refuses.
    #[must_use]
    pub fn with_not_built(self, not_built: &'static [NotBuilt]) -> Self {
        Self { not_built, ..self }
    }
}

impl Override {
    /// An override of `section.key` (both in any case) by the variable of this name and value.
    #[must_use]
    pub fn new(variable: String, section: &str, key: &str, raw: String) -> Self {
        Self { section: section.to_owned(), key: key.to_owned(), variable, raw, used: false.into() }
    }

    /// The name of the variable.
    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// Section and key, as the variable spells them.
    pub(super) fn names(&self) -> (&str, &str) {
        (&self.section, &self.key)
    }

    /// Whether the variable sets this key.
    pub(super) fn sets(&self, section: &str, key: &str) -> bool {
        self.is_in(section) && self.key.eq_ignore_ascii_case(key)
    }

    /// Whether the variable sets a key of this section.
    pub(super) fn is_in(&self, section: &str) -> bool {
        self.section.eq_ignore_ascii_case(section)
    }

    /// The value: TOML if it is that, and else plain text.
    pub(super) fn node(&self) -> Node {
        let place = Place::Variable(self.variable.clone());
        let value = match DeValue::parse(&self.raw) {
            // The columns of an environment variable help nobody: everything is "the variable".
            Ok(parsed) => convert(parsed, &|_| place.clone()).value,
            Err(_) => Value::Text(self.raw.clone()),
        };
        Node { value, place, raw: Some(self.raw.clone()) }
    }
}

impl Value {
    /// What to call the value in "expected …, found …".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "true or false",
            Self::Float(_) => "a number with a fraction",
            Self::Datetime => "a date or a time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Refused => "a refused value",
        }
    }
}

/// Reads a file: parses it, lets `build` ask for its keys, and refuses what nobody asked for.
///
/// # Errors
/// Everything that is wrong, in the order of lines. Where the file is no TOML at all, only that.
pub fn read<T>(
    source: &Source<'_>,
    build: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Vec<ConfigError>> {
    let entries = parse(source.file, source.text)?;
    let report = Report::new(source, false);
    let built = Section::root(&report, entries).read(build);
    let errors = report.into_errors();
    match built {
        Some(value) if errors.is_empty() => Ok(value),
        None if errors.is_empty() => {
            Err(vec![ConfigError::of_file(source.file, "something required is missing")])
        }
        _ => Err(errors),
    }
}

/// What `build` asks a file with this text for, whether or not it is a good one. `[[Sections]]` that
/// it does not have are asked for once all the same.
pub fn asked<T>(source: &Source<'_>, build: impl FnOnce(&mut Section<'_>) -> T) -> Vec<Asked> {
    let entries = parse(source.file, source.text).unwrap_or_default();
    let report = Report::new(source, true);
    Section::root(&report, entries).read(build);
    report.into_asked()
}

/// Parses the text of a file.
fn parse(file: &str, text: &str) -> Result<Entries, Vec<ConfigError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(convert_table(table.into_inner(), &Place::At));
    }
    let mut errors: Vec<_> =
        errors.iter().map(|error| ConfigError::of_syntax(file, text, error)).collect();
    errors.sort_by_key(|error| (error.line, error.column));
    // After its first error, a line is mostly misunderstood.
    errors.dedup_by_key(|error| error.line);
    Err(errors)
}

fn convert_table(table: DeTable<'_>, at: &dyn Fn(usize) -> Place) -> Entries {
    table
        .into_iter()
        .map(|(key, value)| {
            let place = at(key.span().start);
            (key.into_inner().into_owned(), (place, convert(value, at)))
        })
        .collect()
}

fn convert(value: Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> Place) -> Node {
    let place = at(value.span().start);
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(list) => {
            Value::List(list.into_iter().map(|element| convert(element, at)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, at)),
    };
    Node { value, place, raw: None }
}
