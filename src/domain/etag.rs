//! Entity tags (RFC 9110 §8.8.3), kept exactly as the source spelled them.

use std::fmt;
use std::sync::Arc;

/// One entity tag, weak or strong, with its quotes. Opaque: an S3 multipart or SSE-KMS tag is no
/// MD5, and nothing here reads one as such.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Parses a complete `ETag` field value, for example `"abc"` or `W/"abc"`. A bare value, as some
    /// stores give it in JSON or XML, is quoted.
    ///
    /// `None` if it is empty or holds a quote, a control character or a space inside.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let strong = text.strip_prefix("W/").unwrap_or(text);
        let (opaque, quoted) = match strong.strip_prefix('"') {
            Some(rest) => (rest.strip_suffix('"')?, true),
            None if strong.len() == text.len() => (strong, false),
            None => return None,
        };
        let is_etagc = |b: u8| b == 0x21 || (0x23..=0x7e).contains(&b) || b >= 0x80;
        if !opaque.bytes().all(is_etagc) || (opaque.is_empty() && !quoted) {
            return None;
        }
        Some(Self(if quoted { text.into() } else { format!("\"{text}\"").into() }))
    }

    /// The tag as it is sent, with quotes and the `W/` of a weak one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the tag is weak, and so says nothing of byte equality.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.0.starts_with("W/")
    }

    /// The strong comparison of RFC 9110 §8.8.3.2: equal, and neither is weak.
    #[must_use]
    pub fn matches_strongly(&self, other: &Self) -> bool {
        !self.is_weak() && self == other
    }

    /// The weak comparison of RFC 9110 §8.8.3.2: equal but for weakness.
    #[must_use]
    pub fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque() == other.opaque()
    }

    fn opaque(&self) -> &str {
        self.0.strip_prefix("W/").unwrap_or(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_quoted_bare_and_weak() {
        for (text, kept) in [
            ("\"abc\"", Some("\"abc\"")),
            ("W/\"abc\"", Some("W/\"abc\"")),
            ("abc-3", Some("\"abc-3\"")),
            ("\"\"", Some("\"\"")),
            ("", None),
            ("\"abc", None),
            ("W/abc", None),
            ("a\"b", None),
            ("a b", None),
            ("\"a\r\nb\"", None),
        ] {
            assert_eq!(ETag::parse(text).as_ref().map(ETag::as_str), kept, "{text:?}");
        }
    }

    #[test]
    fn compares_as_the_table_in_rfc_9110_8_8_3_2() {
        let tag = |text| ETag::parse(text).unwrap();
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(a).matches_strongly(&tag(b)), strong, "{a} {b}");
            assert_eq!(tag(a).matches_weakly(&tag(b)), weak, "{a} {b}");
        }
    }
}
