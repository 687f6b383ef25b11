//! Requests that may be repeated: a client's key for "this is the same request", and what it claims.

use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::{AppName, OwnerId};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// How long a request is remembered under its key.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// A client's `Idempotency-Key`: 1 to 255 visible ASCII characters, taken as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Parses the value of the header; `None` if it is not of that form.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let visible = value.iter().all(u8::is_ascii_graphic);
        let fits = (1..=MAX_KEY_BYTES).contains(&value.len());
        let text = std::str::from_utf8(value).ok()?;
        (visible && fits).then(|| Self(text.into()))
    }
}

/// A client's word for "this is the same request".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// A SHA-256 digest of app, owner and the client's key.
    pub scope: [u8; 32],
    /// A SHA-256 digest of the request.
    pub request: [u8; 32],
    /// Until when the upload is kept for this claim.
    pub expires_at: SystemTime,
}

impl IdempotencyClaim {
    /// The claim of a request that an owner makes under a key at `now`. What the request is, its
    /// fields tell: the same fields in the same order are the same request.
    #[must_use]
    pub fn new(
        app: &AppName,
        owner: &OwnerId,
        key: &IdempotencyKey,
        request: &[Option<&str>],
        now: SystemTime,
    ) -> Self {
        let scope = [Some(app.as_str()), Some(owner.as_str()), Some(&*key.0)];
        Self { scope: digest(&scope), request: digest(request), expires_at: now + REMEMBERED }
    }
}

/// A digest of fields, each with its length before it, so that no two lists are alike.
fn digest(fields: &[Option<&str>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for field in fields {
        match field {
            None => digest.update([0]),
            Some(text) => {
                digest.update([1]);
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text.as_bytes());
            }
        }
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(app: &str, owner: &str, key: &str, request: &[Option<&str>]) -> IdempotencyClaim {
        let app = AppName::parse(app).unwrap();
        let owner = OwnerId::parse(owner.as_bytes()).unwrap();
        let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
        IdempotencyClaim::new(&app, &owner, &key, request, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn keys_are_visible_ascii_of_a_bounded_length() {
        for good in ["x", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"quoted\"", &"k".repeat(255)] {
            assert!(IdempotencyKey::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "a b", "a\tb", "\u{e9}", "a\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(IdempotencyKey::parse(b"\xff").is_none());
    }

    #[test]
    fn a_claim_is_of_one_app_one_owner_one_key_and_one_request() {
        let request = [Some("presign"), Some("a.jpg"), None];
        let one = claim("shop", "ann", "k1", &request);
        assert_eq!(one, claim("shop", "ann", "k1", &request));
        for other in [
            claim("blog", "ann", "k1", &request),
            claim("shop", "bob", "k1", &request),
            claim("shop", "ann", "k2", &request),
        ] {
            assert_ne!(one.scope, other.scope);
            assert_eq!(one.request, other.request);
        }
        assert_ne!(one.request, claim("shop", "ann", "k1", &request[..2]).request);
        assert_eq!(one.expires_at, SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
    }

    proptest! {
        #[test]
        fn different_fields_have_different_digests(
            a in proptest::collection::vec(proptest::option::of("[ab]{0,3}"), 0..4),
            b in proptest::collection::vec(proptest::option::of("[ab]{0,3}"), 0..4),
        ) {
            let fields = |list: &[Option<String>]| {
                digest(&list.iter().map(Option::as_deref).collect::<Vec<_>>())
            };
            prop_assert_eq!(fields(&a) == fields(&b), a == b);
        }
    }
}
