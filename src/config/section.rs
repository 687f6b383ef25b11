//! Asking a table of a configuration file for its keys.

use std::fmt::Display;
use std::time::Duration;

use super::asked::Takes;
use super::document::{Entries, Node, Value};
use super::given::{Given, State};
use super::not_built::NotBuilt;
use super::quantity;
use super::report::{Place, Report, Unknown, dotted, plain};

/// A table that is being read: the whole file, or a `[Section]` of it.
pub struct Section<'a> {
    report: &'a Report<'a>,
    /// `""` for the whole file; `A.B` for a section in a section.
    path: String,
    /// Where it begins.
    place: Place,
    /// What nobody has asked for yet.
    entries: Entries,
}

/// A key that was asked for.
#[must_use]
pub struct Key<'a> {
    report: &'a Report<'a>,
    name: String,
    section_place: Place,
    node: Option<Node>,
    may_be_empty: bool,
}

impl<'a> Section<'a> {
    pub(super) const fn root(report: &'a Report<'a>, entries: Entries) -> Self {
        Self { report, path: String::new(), place: Place::File, entries }
    }

    /// Lets `build` read the section, then refuses what is left.
    pub(super) fn read<T>(mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        self.refuse_not_built();
        let built = build(&mut self);
        for (key, (place, node)) in self.entries {
            let is_table = is_table(&node.value);
            self.report.unknown(Unknown { section: self.path.clone(), key, is_table, place });
        }
        built
    }

    /// Where the section begins.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Notes an error of the section as a whole, or of a place in it.
    pub fn error(&self, place: &Place, message: impl Into<String>, hint: Option<String>) {
        self.report.error(None, place, message.into(), hint);
    }

    /// Asks for a key. A section may be asked for in this way too, to refuse it.
    pub fn key(&mut self, key: &'static str) -> Key<'a> {
        self.report.know(&self.path, key);
        let mut node = self.entries.remove(key).map(|(_, node)| node);
        let name = dotted(&plain(&self.path), key);
        let mut overrides =
            self.report.source.overrides.iter().filter(|found| found.sets(&self.path, key));
        if let Some(first) = overrides.next() {
            first.used.set(true);
            node = Some(first.node());
        }
        for second in overrides {
            second.used.set(true);
            let place = Place::Variable(second.variable().to_owned());
            let message = "another variable sets the same key".to_owned();
            let hint = Some("remove one of the two".to_owned());
            self.report.error(Some(&name), &place, message, hint);
        }
        if let Some(node) = &mut node {
            self.refuse_value(key, node);
        }
        let section_place = self.place.clone();
        Key { report: self.report, name, section_place, node, may_be_empty: false }
    }

    /// Asks for a section in this one. One that is absent is read as if it were empty.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        build: impl FnOnce(&mut Section<'a>) -> T,
    ) -> T {
        self.report.know(&self.path, name);
        let path = dotted(&self.path, name);
        self.report.ask(&path, Takes::Section, false);
        let (place, entries) = match self.entries.remove(name) {
            // Some readers ask further only where the section is there.
            None if self.report.describes => (Place::At(0), Entries::new()),
            None => (Place::File, Entries::new()),
            Some((place, Node { value: Value::Table(entries), .. })) => (place, entries),
            Some((place, node)) => {
                let found = node.value.kind();
                let message = format!("{path} is a section, not {found}");
                self.report.error(Some(&path), &place, message, None);
                (place, Entries::new())
            }
        };
        Section { report: self.report, path, place, entries }.read(build)
    }

    /// Asks for the tables that are written as `[[Name]]`, none or several, and gives what `build`
    /// makes of each. The environment sets nothing in them: which one would it be?
    pub fn sections<T>(
        &mut self,
        name: &'static str,
        mut build: impl FnMut(&mut Section<'a>) -> T,
    ) -> Vec<T> {
        self.report.know(&self.path, name);
        let path = dotted(&self.path, name);
        self.report.ask(&path, Takes::Sections, false);
        // The brackets keep the path apart from that of a section of the same name.
        let element = format!("[{path}]");
        let mut read = |place, entries| {
            let section = Section { report: self.report, path: element.clone(), place, entries };
            section.read(&mut build)
        };
        if self.report.describes {
            read(Place::File, Entries::new());
        }
        let Some((place, node)) = self.entries.remove(name) else { return Vec::new() };
        let Value::List(elements) = node.value else {
            let hint = Some(format!("write [[{path}]]"));
            self.report.error(Some(&path), &place, format!("{path} is a list of sections"), hint);
            return Vec::new();
        };
        let mut built = Vec::with_capacity(elements.len());
        for Node { value, place, .. } in elements {
            if let Value::Table(entries) = value {
                built.push(read(place, entries));
            } else {
                let message = format!("{path} is a list of sections, not of {}", value.kind());
                let hint = Some(format!("write [[{path}]]"));
                self.report.error(Some(&path), &place, message, hint);
            }
        }
        built
    }

    /// Whether the section stands in the file, be it empty.
    #[must_use]
    pub const fn is_written(&self) -> bool {
        !matches!(self.place, Place::File)
    }

    /// Whether nobody asked yet for something that the section holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && !self.report.source.overrides.iter().any(|found| found.is_in(&self.path))
    }

    /// Gives up on the rest of the section: what it means depends on a key that is wrong.
    pub fn ignore_rest(&mut self) {
        self.entries.clear();
    }

    /// Refuses the keys that this version knows of and does not have.
    fn refuse_not_built(&mut self) {
        let source = self.report.source;
        for entry in source.not_built {
            if entry.section == self.path && !entry.when.keeps_key() {
                self.refuse(entry);
            }
        }
    }

    fn refuse(&mut self, entry: &NotBuilt) {
        // Variables that set something in a section that is not there.
        let overrides = &self.report.source.overrides;
        for stray in overrides.iter().filter(|found| self.path.is_empty() && found.is_in(entry.key))
        {
            stray.used.set(true);
            let place = Place::Variable(stray.variable().to_owned());
            let (message, _) = entry.explain(true, false);
            let hint = Some("remove it".to_owned());
            self.report.error(Some(entry.key), &place, message, hint);
        }
        let Key { node, name, .. } = self.key(entry.key);
        self.report.ask(&name, Takes::Only(entry.harmless()), false);
        if let Some(node) = node.filter(|node| entry.when.refuses(&node.value)) {
            let (message, hint) = entry.explain(is_table(&node.value), is_list(&node.value));
            self.report.error(Some(&name), &node.place, message, Some(hint));
        }
    }

    /// Refuses a value, of a key that takes others, that this version knows of and does not have.
    fn refuse_value(&self, key: &str, node: &mut Node) {
        let source = self.report.source;
        let entries = source.not_built.iter().filter(|entry| entry.when.keeps_key());
        for entry in entries.filter(|entry| entry.section == self.path && entry.key == key) {
            if entry.when.refuses(&node.value) {
                let (message, hint) = entry.explain(false, false);
                let name = dotted(&self.path, key);
                self.report.error(Some(&name), &node.place, message, Some(hint));
                node.value = Value::Refused;
            }
        }
    }
}

impl<'a> Key<'a> {
    /// Takes an empty string for an absent key.
    pub fn non_empty(mut self) -> Self {
        self.may_be_empty = true;
        self.node = self.node.filter(|node| !matches!(&node.value, Value::Text(t) if t.is_empty()));
        self
    }

    /// A string, and what `parse` makes of it.
    pub fn text<T, E: Display>(self, parse: impl FnOnce(&str) -> Result<T, E>) -> Given<'a, T> {
        self.value(Takes::Text, |node| match &node.value {
            Value::Text(text) => Some(parse(text).map_err(|error| error.to_string())),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => {
                let raw = node.raw.as_ref()?;
                Some(parse(raw).map_err(|error| error.to_string()))
            }
            Value::List(_) | Value::Table(_) | Value::Refused => None,
        })
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Given<'a, bool> {
        self.value(Takes::Boolean, |node| match &node.value {
            Value::Boolean(boolean) => Some(Ok(*boolean)),
            _ => None,
        })
    }

    /// A whole number, 0 or more.
    pub fn integer(self) -> Given<'a, u64> {
        self.value(Takes::Integer, |node| match &node.value {
            Value::Integer(Some(integer)) => {
                Some(u64::try_from(*integer).map_err(|_| format!("{integer} is less than nothing")))
            }
            Value::Integer(None) => Some(Err("the number is too large".to_owned())),
            _ => None,
        })
    }

    /// A number, whole or not.
    pub fn number(self) -> Given<'a, f64> {
        self.value(Takes::Number, |node| match &node.value {
            Value::Float(number) => Some(Ok(*number)),
            #[allow(clippy::cast_precision_loss)] // whoever writes such a number is told its bounds
            Value::Integer(Some(number)) => Some(Ok(*number as f64)),
            Value::Integer(None) => Some(Err("the number is too large".to_owned())),
            _ => None,
        })
    }

    /// A size in bytes: `"20MiB"`, or a plain number of bytes.
    pub fn byte_size(self) -> Given<'a, u64> {
        self.value(Takes::ByteSize, |node| match &node.value {
            Value::Text(text) => Some(quantity::byte_size(text)),
            Value::Integer(Some(bytes)) => {
                Some(u64::try_from(*bytes).map_err(|_| format!("{bytes} is less than nothing")))
            }
            _ => None,
        })
    }

    /// A time such as `"300ms"`.
    pub fn duration(self) -> Given<'a, Duration> {
        self.value(Takes::Duration, |node| match &node.value {
            Value::Text(text) => Some(quantity::duration(text)),
            _ => None,
        })
    }

    /// A list of strings, each as `parse` makes it.
    pub fn texts<T, E: Display>(
        mut self,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Given<'a, Vec<T>> {
        let Some(Node { value: Value::List(elements), place, .. }) =
            self.node.take_if(|node| matches!(node.value, Value::List(_)))
        else {
            return self.value(Takes::Texts, |_| None);
        };
        self.report.ask(&self.name, Takes::Texts, false);
        let mut values = Vec::with_capacity(elements.len());
        let mut wrong = false;
        for Node { value, place, .. } in elements {
            let parsed = match &value {
                Value::Text(text) => parse(text).map_err(|error| error.to_string()),
                other => Err(format!("expected a string, found {}", other.kind())),
            };
            match parsed {
                Ok(value) => values.push(value),
                Err(reason) => {
                    wrong = true;
                    let message = format!("{}: {reason}", self.name);
                    self.report.error(Some(&self.name), &place, message, None);
                }
            }
        }
        let state = if wrong { State::Wrong } else { State::Value(values) };
        Given { report: self.report, name: self.name, place, state }
    }

    /// Reads the value; `read` gives `None` for a value of the wrong kind.
    fn value<T>(
        self,
        takes: Takes,
        read: impl FnOnce(&Node) -> Option<Result<T, String>>,
    ) -> Given<'a, T> {
        let Self { report, name, section_place, node, may_be_empty } = self;
        let expected = takes.expected();
        report.ask(&name, takes, may_be_empty);
        let Some(node) = node else {
            return Given { report, name, place: section_place, state: State::Absent };
        };
        let state = match read(&node) {
            Some(Ok(value)) => State::Value(value),
            Some(Err(reason)) => {
                report.error(Some(&name), &node.place, format!("{name}: {reason}"), None);
                State::Wrong
            }
            None if matches!(node.value, Value::Refused) => State::Wrong,
            None => {
                let found = node.value.kind();
                let message = format!("{name}: expected {expected}, found {found}");
                report.error(Some(&name), &node.place, message, None);
                State::Wrong
            }
        };
        Given { report, name, place: node.place, state }
    }
}

/// Whether the value was written as a section, or as several of the same name.
fn is_table(value: &Value) -> bool {
    matches!(value, Value::Table(_)) || is_list(value)
}

/// Whether the value was written as `[[Section]]`.
fn is_list(value: &Value) -> bool {
    match value {
        Value::List(elements) => {
            elements.iter().any(|element| matches!(element.value, Value::Table(_)))
        }
        _ => false,
    }
}
