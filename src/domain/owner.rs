//! The owner on whose behalf an upload is made, as the application names it.

use std::fmt;

/// An owner id: 1–128 visible ASCII characters (0x21–0x7E).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnerId(Box<str>);

/// The text is no owner id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an owner id is 1 to 128 visible ASCII characters, without spaces")]
pub struct InvalidOwnerId;

impl OwnerId {
    /// Parses an owner id.
    ///
    /// # Errors
    /// [`InvalidOwnerId`] if it is empty, too long, or has a character that is not visible ASCII.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidOwnerId> {
        let valid = (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(bytes) {
            Ok(text) if valid => Ok(Self(text.into())),
            _ => Err(InvalidOwnerId),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An owner id may name a person: it is not for logs.
impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_ascii_only() {
        let longest = [b'x'; 128];
        for good in [&b"42"[..], b"user:7/a@b", b"~!", &longest] {
            assert!(OwnerId::parse(good).is_ok());
        }
        let too_long = [b'x'; 129];
        for bad in [&b""[..], b"a b", b"a\tb", b"\x7f", "jörg".as_bytes(), b"a\0", &too_long] {
            assert_eq!(OwnerId::parse(bad), Err(InvalidOwnerId));
        }
    }

    #[test]
    fn debug_output_hides_the_owner() {
        let owner = OwnerId::parse(b"alice@example.com").unwrap();
        assert!(!format!("{owner:?}").contains("alice"));
    }
}
