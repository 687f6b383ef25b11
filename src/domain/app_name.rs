//! The name of a tenant's app: the `{app}` of every URL and the stem of its file in `apps.d/`.

use std::fmt;
use std::sync::Arc;

/// A valid app name: `[a-z0-9][a-z0-9-]{0,62}`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(Arc<str>);

/// The text is no app name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an app name is 1 to 63 characters of a-z, 0-9 and '-', beginning with a letter or a digit"
)]
pub struct InvalidAppName;

impl AppName {
    /// Parses an app name.
    ///
    /// # Errors
    /// [`InvalidAppName`] if the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, InvalidAppName> {
        let bytes = text.as_bytes();
        let lower_or_digit = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=63).contains(&bytes.len())
            && lower_or_digit(&bytes[0])
            && bytes.iter().all(|b| lower_or_digit(b) || *b == b'-');
        if valid { Ok(Self(text.into())) } else { Err(InvalidAppName) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_contract_form_and_nothing_else() {
        let longest = "a".repeat(63);
        for good in ["a", "my-app", "0", "a--b", "shop-", longest.as_str()] {
            assert!(AppName::parse(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "A", "my_app", "a.b", "a/b", "é", "a b", too_long.as_str()] {
            assert_eq!(AppName::parse(bad), Err(InvalidAppName), "{bad}");
        }
    }
}
