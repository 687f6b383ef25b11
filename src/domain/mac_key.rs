//! Keyed hashes, and how bytes are written as text.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Secret;

/// A secret of the settings as the key of HMAC-SHA256. The beginning of every MAC, which depends on
/// the secret alone, is kept: without it a short MAC costs twice as much.
#[derive(Clone)]
pub struct MacKey {
    secret: Secret,
    begun: Hmac<Sha256>,
}

impl MacKey {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        let begun = Hmac::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
        Self { secret, begun }
    }

    /// The MAC of some fields and what follows them. No field may contain a NUL, which ends each: so
    /// no two lists of as many fields give the same input.
    #[must_use]
    pub fn mac<const N: usize>(&self, fields: [&[u8]; N], last: &[u8]) -> [u8; 32] {
        let mut mac = self.begun.clone();
        for field in fields {
            mac.update(field);
            mac.update(&[0]);
        }
        mac.update(last);
        mac.finalize().into_bytes().into()
    }
}

impl PartialEq for MacKey {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for MacKey {}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.fmt(f)
    }
}

/// Lower-case hexadecimal, two digits a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_that_of_rfc_4231() {
        // Test case 2, whose data has no fields.
        let mac = MacKey::new(Secret::new("Jefe")).mac([], b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&mac), expected);
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = MacKey::new(Secret::new("key"));
        assert_ne!(key.mac([b"a", b"bc"], b""), key.mac([b"ab", b"c"], b""));
        assert_ne!(key.mac([b"a"], b"b"), key.mac([b"ab"], b""));
        assert_eq!(key.mac([b"a", b"b"], b"c"), key.mac([], b"a\0b\0c"));
    }

    #[test]
    fn the_key_is_never_printed() {
        assert_eq!(format!("{:?}", MacKey::new(Secret::new("hunter2"))), "Secret(…)");
    }
}
