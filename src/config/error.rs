//! An error in a configuration file, told so that its author knows what to change.

use std::fmt;

use super::report::Place;

/// The longest word for which a near spelling is looked for, in bytes: twice the longest key. The
/// comparison takes time in the product of both lengths.
const MAX_COMPARED: usize = 64;

/// Something wrong in the configuration: where, what, and what to do about it. Texts never hold a
/// secret's value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConfigError {
    /// The file, as it was named to the program; `environment` for an environment variable.
    pub file: String,
    /// The line, from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key or section, where one is meant: `Upload.MaxBytes`.
    pub key: Option<Box<str>>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error about a file as a whole.
    #[must_use]
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { file, line: None, column: None, key: None, message, hint: None }
    }

    /// An error at a byte offset of a file with this text.
    pub(super) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(text, offset);
        Self { line: Some(line), column: Some(column), ..Self::of_file(file, message) }
    }

    /// An error at a place that was noted while a file with this text was read.
    #[must_use]
    pub fn at_place(file: &str, text: &str, place: &Place, message: impl Into<String>) -> Self {
        match place {
            Place::File => Self::of_file(file, message),
            Place::At(offset) => Self::at(file, text, *offset, message),
            Place::Variable(name) => {
                Self::of_file("environment", format!("{name}: {}", message.into()))
            }
        }
    }

    /// The same error with a word on what to do.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Turns what the TOML parser says of a malformed file into an error with its line.
    pub(super) fn of_syntax(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let message = format!("this is not TOML: {}", error.message());
        match error.span() {
            Some(span) => Self::at(file, text, span.start, message),
            None => Self::of_file(file, message),
        }
    }
}

/// `file:line: message; hint`, on one line.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The line and the column (in characters), from 1, of a byte offset in a text.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    // Offsets of the parser lie between characters; a continuation byte would begin no character.
    let column = before[line_start..].iter().filter(|b| **b & 0xC0 != 0x80).count() + 1;
    (line, column)
}

/// The word among `known` that `word` was probably meant to be, if one is near: not more than one
/// edit in three characters away, the case of letters aside.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let word = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate)
        })
        .filter(|(edits, candidate)| *edits <= (word.len().min(candidate.len()) / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_and_in_characters() {
        let text = "a\nüb\n";
        for (offset, position) in
            [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (4, (2, 2)), (6, (3, 1)), (99, (3, 1))]
        {
            assert_eq!(line_and_column(text, offset), position, "{offset}");
        }
    }

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["AllowPublicUpload", "CloudFrontURL", "Storage", "URL"];
        for (word, meant) in [
            ("AllowPublicUploads", Some("AllowPublicUpload")),
            ("allow_public_upload", Some("AllowPublicUpload")),
            ("cloudfronturl", Some("CloudFrontURL")),
            ("CloudFrontUri", Some("CloudFrontURL")),
            ("Sotrage", Some("Storage")),
            ("Url", Some("URL")),
            ("Bucket", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }

    #[test]
    fn shown_on_one_line_and_as_json() {
        let error = ConfigError {
            line: Some(12),
            column: Some(1),
            key: Some("X".into()),
            ..ConfigError::of_file("apps.d/shop.toml", "unknown key \"X\"").with_hint("remove it")
        };
        assert_eq!(error.to_string(), "apps.d/shop.toml:12: unknown key \"X\"; remove it");
        assert_eq!(
            serde_json::to_value(&error).unwrap(),
            serde_json::json!({"file": "apps.d/shop.toml", "line": 12, "column": 1,
                "key": "X", "message": "unknown key \"X\"", "hint": "remove it"})
        );
    }
}
