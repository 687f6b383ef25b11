//! API keys: what an application's own servers prove themselves with. The app's file has only their
//! hashes.
//!
//! A key is made by a machine and has 256 bits, so one round of SHA-256 is the right hash: there is
//! nothing to guess that a slower one would protect.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::domain::{Caller, Secret, hex};

/// What keys that are minted here begin with: so that whoever finds one knows what it opens.
const PREFIX: &str = "safelight_";

/// The random bytes of a key.
pub const KEY_ENTROPY_BYTES: usize = 32;

/// What a hash begins with in an app's file.
const HASH_PREFIX: &str = "sha256:";

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

/// A key of the app's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name: what it is called in metrics, so that one can see which is still in use.
    pub id: String,
    /// What the key hashes to.
    pub hash: KeyHash,
    /// Who calls with it.
    pub caller: Caller,
}

impl KeyHash {
    /// The hash of a key as it is presented.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads `sha256:` and 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// A text for the author of the file.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "write \"sha256:\" and 64 lower-case hexadecimal digits, as `safelight api-key` does";
        let hex = text.strip_prefix(HASH_PREFIX).ok_or(EXPECTED)?;
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let digits: Option<Vec<u8>> = hex.bytes().map(digit).collect();
        let digits: [u8; 64] = digits.and_then(|d| d.try_into().ok()).ok_or(EXPECTED)?;
        Ok(Self(std::array::from_fn(|at| digits[2 * at] << 4 | digits[2 * at + 1])))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH_PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a key of random bytes.
#[must_use]
pub fn mint_api_key(entropy: [u8; KEY_ENTROPY_BYTES]) -> Secret {
    let mut key = String::with_capacity(64);
    key.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(entropy, &mut key);
    Secret::new(key)
}

/// The key that was presented, if it is one of these. All are compared, whichever fits.
pub(super) fn find<'a>(keys: &'a [ApiKey], presented: &str) -> Option<&'a ApiKey> {
    let hash = KeyHash::of(presented);
    let mut found = u32::MAX;
    for (at, key) in (0..).zip(keys) {
        let is_it: Choice = key.hash.0.ct_eq(&hash.0);
        found.conditional_assign(&at, is_it);
    }
    keys.get(usize::try_from(found).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::OwnerId;

    fn key(id: &str, key: &str) -> ApiKey {
        let owner = OwnerId::parse(id.as_bytes()).unwrap();
        ApiKey { id: id.to_owned(), hash: KeyHash::of(key), caller: Caller::owner(owner) }
    }

    #[test]
    fn a_key_is_found_by_its_hash_alone() {
        let keys = [key("old", "k-1"), key("new", "k-2")];
        for (presented, expected) in [
            ("k-1", Some("old")),
            ("k-2", Some("new")),
            ("k-3", None),
            ("k-1 ", None),
            ("", None),
            (&KeyHash::of("k-1").to_string(), None),
        ] {
            let found = find(&keys, presented).map(|key| key.id.as_str());
            assert_eq!(found, expected, "{presented:?}");
        }
        assert_eq!(find(&[], "k-1"), None);
    }

    #[test]
    fn a_hash_has_one_spelling() {
        // FIPS 180-2, appendix B.1.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::parse(abc), Ok(KeyHash::of("abc")));
        assert_eq!(KeyHash::of("abc").to_string(), abc);
        for wrong in [
            "",
            "sha256:",
            &abc[7..],
            &abc[..abc.len() - 1],
            &format!("{abc}0"),
            &abc.to_ascii_uppercase(),
            &abc.replace('b', "B"),
            &abc.replace("ba", "é"),
            &abc.replace("sha256", "sha512"),
        ] {
            assert!(KeyHash::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_minted_key_says_what_it_is_and_shows_itself_to_nobody() {
        let minted = mint_api_key([7; KEY_ENTROPY_BYTES]);
        let text = minted.expose_str().unwrap();
        assert!(text.starts_with("safelight_BwcH") && text.len() == 53, "{text}");
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
    }

    proptest! {
        #[test]
        fn hashes_are_read_as_they_are_written(key in "\\PC{0,40}", other in "\\PC{0,80}") {
            let hash = KeyHash::of(&key);
            prop_assert_eq!(KeyHash::parse(&hash.to_string()), Ok(hash));
            prop_assert!(KeyHash::parse(&other).is_err());
        }
    }
}
