//! Keys that the contract lists and this version does not have: refused, never ignored.

use super::document::Value;
use super::report::dotted;

/// A key (or section) that is refused. The tables of these stand with the files that they are
/// about; the change that builds a feature removes its line.
pub struct NotBuilt {
    /// The section, `""` for the top of the file.
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) when: When,
}

/// Which values of a key are refused.
pub enum When {
    /// Any.
    Set,
    /// All but this one, which turns the feature off.
    NotText(&'static str),
    /// All but `false`.
    NotFalse,
    /// All but zero.
    NotZero,
    /// All but the empty string.
    NotEmpty,
    /// All but the empty list.
    NotEmptyList,
    /// This one only; others are for the reader of the key.
    IsText(&'static str),
    /// Texts that begin in this way; others are for the reader of the key.
    BeginsWith(&'static str),
}

impl NotBuilt {
    /// A key of a section (`""`: the top of the file), refused for some values.
    #[must_use]
    pub const fn new(section: &'static str, key: &'static str, when: When) -> Self {
        Self { section, key, when }
    }

    /// The value, as TOML writes it, that turns the feature off.
    pub(super) fn harmless(&self) -> Option<String> {
        match &self.when {
            When::NotText(off) => Some(format!("{off:?}")),
            When::NotFalse => Some("false".to_owned()),
            When::NotZero => Some("0".to_owned()),
            When::NotEmpty => Some("\"\"".to_owned()),
            When::NotEmptyList => Some("[]".to_owned()),
            When::Set | When::IsText(_) | When::BeginsWith(_) => None,
        }
    }

    /// Message and hint.
    pub(super) fn explain(&self, is_table: bool, is_list: bool) -> (String, String) {
        let name = dotted(self.section, self.key);
        let name = match (is_list, is_table) {
            (true, _) => format!("[[{name}]]"),
            (_, true) => format!("[{name}]"),
            _ => name,
        };
        let remove = || match self.harmless() {
            Some(off) => format!("remove it, or write {off}"),
            None => "remove it".to_owned(),
        };
        let (what, hint) = match &self.when {
            When::Set => (name, remove()),
            When::NotText(off) => (format!("{name} other than {off:?}"), remove()),
            When::NotFalse => (format!("{name} = true"), remove()),
            When::NotZero => (format!("{name} other than 0"), remove()),
            When::NotEmpty | When::NotEmptyList => (name, remove()),
            When::IsText(text) => (format!("{name} = {text:?}"), "choose another".to_owned()),
            When::BeginsWith(scheme) => {
                (format!("{name} = \"{scheme}…\""), "choose another".to_owned())
            }
        };
        (format!("{what} is not available in this version"), hint)
    }
}

impl When {
    /// Whether the value turns on what is not there.
    pub(super) fn refuses(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Set, _) => true,
            (Self::NotText(off), Value::Text(text)) => text != off,
            (Self::NotFalse, Value::Boolean(on)) => *on,
            (Self::NotZero, Value::Integer(number)) => *number != Some(0),
            (Self::NotZero, Value::Float(number)) => *number != 0.0,
            (Self::NotEmpty, Value::Text(text)) => !text.is_empty(),
            (Self::NotEmptyList, Value::List(elements)) => !elements.is_empty(),
            (Self::IsText(refused), Value::Text(text)) => text == refused,
            (Self::BeginsWith(refused), Value::Text(text)) => text.starts_with(refused),
            (Self::IsText(_) | Self::BeginsWith(_), _) => false,
            _ => true,
        }
    }

    /// Whether somebody else reads the key, where it is not refused.
    pub(super) const fn keeps_key(&self) -> bool {
        matches!(self, Self::IsText(_) | Self::BeginsWith(_))
    }
}
