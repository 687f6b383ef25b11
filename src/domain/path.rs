//! Where objects are in a bucket: the only place where a storage path is built.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{MintedKey, ObjectKey};

/// The part of a bucket that an app may use: empty, or it ends in `/` by convention (not by rule).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPrefix(Arc<str>);

/// The full name of an object in its bucket: prefix and key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoragePath(Arc<str>);

impl KeyPrefix {
    /// Takes a prefix as an app's file gives it.
    ///
    /// # Errors
    /// A text for the tenant, if the prefix begins with `/`, has dot segments, or characters that
    /// would have to be encoded in a URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
        if text.starts_with('/') {
            return Err("a prefix does not begin with '/'");
        }
        if text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("a prefix has no empty, '.' or '..' segments");
        }
        if text.len() > 100 || !text.bytes().all(plain) {
            return Err(
                "a prefix is at most 100 characters of a-z, A-Z, 0-9, '-', '_', '.' and '/'",
            );
        }
        Ok(Self(text.into()))
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the bucket of the object with this key.
    #[must_use]
    pub fn path_of(&self, key: &ObjectKey) -> StoragePath {
        StoragePath([&*self.0, key.as_str()].concat().into())
    }

    /// The name in the bucket of the object with this minted key.
    #[must_use]
    pub fn path_of_minted(&self, key: &MintedKey) -> StoragePath {
        StoragePath([&*self.0, key.as_str()].concat().into())
    }

    /// Whether an object of one prefix can be an object of the other as well.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&*other.0) || other.0.starts_with(&*self.0)
    }
}

impl StoragePath {
    /// Takes a name as a bucket listing or a test gives it.
    #[must_use]
    pub fn from_listing(name: &str) -> Self {
        Self(name.into())
    }

    /// The path, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as it stands in a URL, `/` kept.
    #[must_use]
    pub fn to_url_path(&self) -> Cow<'_, str> {
        // Minted keys, which most are, have nothing to encode: a look at their bytes sees it sooner.
        match self.0.bytes().all(is_unreserved) {
            true => Cow::Borrowed(&self.0),
            false => percent_encoding::utf8_percent_encode(&self.0, URL_PATH).into(),
        }
    }
}

/// Everything but the unreserved characters of RFC 3986 and `/`: the canonical form of `SigV4`.
const URL_PATH: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Whether a byte stands in a URL's path as it is: `URL_PATH`, in other words.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/')
}

impl fmt::Debug for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_encoded_for_urls() {
        let key = ObjectKey::Foreign("2019/café photo.jpg".into());
        let path = KeyPrefix::parse("images/").unwrap().path_of(&key);
        assert_eq!(path.as_str(), "images/2019/café photo.jpg");
        assert_eq!(path.to_url_path(), "images/2019/caf%C3%A9%20photo.jpg");
    }

    #[test]
    fn what_is_not_encoded_needs_no_encoding() {
        for byte in 0..=0x7f_u8 {
            let text = char::from(byte).to_string();
            let encoded = percent_encoding::utf8_percent_encode(&text, URL_PATH).to_string();
            assert_eq!(is_unreserved(byte), encoded == text, "{text:?}");
        }
        assert!((0x80..=0xff).all(|byte| !is_unreserved(byte)));
    }

    #[test]
    fn prefixes() {
        for good in ["", "images/", "a/b/", "tenant-1_"] {
            assert!(KeyPrefix::parse(good).is_ok(), "{good}");
        }
        for bad in ["/images", "a//b", "../", "a b/", "%2e/"] {
            assert!(KeyPrefix::parse(bad).is_err(), "{bad}");
        }
        let prefix = |text| KeyPrefix::parse(text).unwrap();
        assert!(prefix("").overlaps(&prefix("images/")));
        assert!(prefix("images/a/").overlaps(&prefix("images/")));
        assert!(!prefix("images/").overlaps(&prefix("images2/")));
    }
}
