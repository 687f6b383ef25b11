//! What a reader asks a file for: which keys there are, and what each takes. A by-product of reading,
//! from which the schemas for editors are made.

/// A key or section that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name, with the sections that it is in: `Upload.MaxBytes`.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
    /// Whether an empty string is as good as leaving it out.
    pub may_be_empty: bool,
}

/// What a key takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// `true` or `false`.
    Boolean,
    /// A whole number, 0 or more.
    Integer,
    /// A number, whole or not.
    Number,
    /// A size: a string, or a whole number of bytes.
    ByteSize,
    /// A time: a string.
    Duration,
    /// It is a section.
    Section,
    /// It is a list of sections.
    Sections,
    /// This version takes no value but this one, which turns the feature off (as TOML writes it), or
    /// none at all.
    Only(Option<String>),
}

impl Takes {
    /// What to call it in "expected …, found …".
    pub(super) const fn expected(&self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Texts => "a list of strings such as [\"…\"]",
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::Number => "a number such as 0.01",
            Self::ByteSize => "a size such as \"20MiB\"",
            Self::Duration => "a time such as \"15m\"",
            Self::Section => "a section",
            Self::Sections => "a list of sections",
            Self::Only(_) => "nothing",
        }
    }
}
