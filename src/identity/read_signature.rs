//! Signatures of private images: the bearer right to read one image until a time. A signature is an
//! HMAC-SHA256 over app, key and that time, cut to 160 bits, in 40 lower-case hexadecimal digits;
//! nothing of it is stored.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::{AppName, MacKey, Secret, hex};

/// The bytes of the MAC that a signature keeps: 160 bits, far beyond guessing.
const SIGNATURE_BYTES: usize = 20;

/// The most digits that the end of a right may have: enough for 30,000 years.
const MAX_DIGITS: usize = 12;

/// Signs and verifies. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct ReadSignatures(Arc<[MacKey]>);

/// A right to read, as a URL shows it: true or forged.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRead {
    /// When it ends, in whole seconds since 1970.
    pub expires: u64,
    /// The signature.
    pub signature: String,
}

/// A signature is a bearer token: it is not for logs.
impl std::fmt::Debug for SignedRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedRead").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl SignedRead {
    /// Reads the two values of a URL. The end has one spelling; the signature is whatever it is.
    #[must_use]
    pub fn parse(expires: &str, signature: &str) -> Option<Self> {
        let canonical = (1..=MAX_DIGITS).contains(&expires.len())
            && expires.bytes().all(|byte| byte.is_ascii_digit())
            && !expires.starts_with('0');
        let expires = expires.parse().ok().filter(|_| canonical)?;
        Some(Self { expires, signature: signature.to_owned() })
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.expires)
    }

    /// How long it still holds; `None` once it has ended.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        self.expires_at().duration_since(now).ok().filter(|left| !left.is_zero())
    }
}

impl ReadSignatures {
    /// Takes the secrets in the order of the settings: the first signs, all verify. `None` if there
    /// is none.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        (!secrets.is_empty()).then(|| Self(secrets.into_iter().map(MacKey::new).collect()))
    }

    /// Gives the right to read an image until a time, which is cut to whole seconds.
    #[must_use]
    pub fn sign(&self, app: &AppName, key: &str, expires_at: SystemTime) -> SignedRead {
        let since_1970 = expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires = since_1970.as_secs();
        SignedRead { expires, signature: signature(&self.0[0], app, key, expires) }
    }

    /// Whether a right is one to this image, given under any of the secrets, and has not ended.
    /// Takes the same time whichever characters are wrong.
    #[must_use]
    pub fn verify(&self, app: &AppName, key: &str, claimed: &SignedRead, now: SystemTime) -> bool {
        // The texts are compared, not the bytes: so a signature has one spelling. The length is no
        // secret, and `ct_eq` is false for another one.
        let genuine = self.0.iter().fold(Choice::from(0), |found, secret| {
            let genuine = signature(secret, app, key, claimed.expires);
            found | genuine.as_bytes().ct_eq(claimed.signature.as_bytes())
        });
        bool::from(genuine) && claimed.left(now).is_some()
    }
}

fn signature(secret: &MacKey, app: &AppName, key: &str, expires: u64) -> String {
    // Neither a name nor a key as it stands in a URL can contain the end of a field. The first field
    // keeps signatures apart from whatever else is signed with these secrets.
    let fields = ["safelight private read 1", app.as_str(), key].map(str::as_bytes);
    hex(&secret.mac(fields, &expires.to_be_bytes())[..SIGNATURE_BYTES])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{OwnerId, UploadId};
    use crate::identity::UploadTokens;

    const KEY: &str = "0w3ge1r70w3ge1r70w3ge1r70w-image.jpg";

    fn signatures(secrets: &[&str]) -> ReadSignatures {
        ReadSignatures::new(secrets.iter().map(|s| Secret::new(*s)).collect()).unwrap()
    }

    fn app(name: &str) -> AppName {
        AppName::parse(name).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_right_fits_its_image_until_its_end() {
        let all = signatures(&["one"]);
        let right = all.sign(&app("shop"), KEY, at(1000));
        assert!(all.verify(&app("shop"), KEY, &right, at(0)));
        assert!(all.verify(&app("shop"), KEY, &right, at(1000) - Duration::from_nanos(1)));
        assert!(!all.verify(&app("shop"), KEY, &right, at(1000)), "it has ended");
        assert!(!all.verify(&app("shop"), KEY, &right, at(5000)), "long ago");
        assert!(!all.verify(&app("blog"), KEY, &right, at(0)), "another app");
        let other = KEY.replace("image", "imag");
        assert!(!all.verify(&app("shop"), &other, &right, at(0)), "another key");
        for expires in [999, 1001, 1_000_000] {
            let longer = SignedRead { expires, ..right.clone() };
            assert!(!all.verify(&app("shop"), KEY, &longer, at(0)), "another end");
        }
        assert!(!signatures(&["two"]).verify(&app("shop"), KEY, &right, at(0)));
    }

    #[test]
    fn the_end_is_cut_to_whole_seconds() {
        let right =
            signatures(&["one"]).sign(&app("shop"), KEY, at(7) + Duration::from_millis(900));
        assert_eq!((right.expires, right.expires_at()), (7, at(7)));
        assert_eq!(right.left(at(5)), Some(Duration::from_secs(2)));
        assert_eq!(right.left(at(7)), None);
    }

    #[test]
    fn the_first_secret_signs_and_all_verify() {
        let app = app("shop");
        let old = signatures(&["old"]).sign(&app, KEY, at(9));
        let rotating = signatures(&["new", "old"]);
        assert!(rotating.verify(&app, KEY, &old, at(0)));
        let new = rotating.sign(&app, KEY, at(9));
        assert!(signatures(&["new"]).verify(&app, KEY, &new, at(0)));
        assert!(!signatures(&["new"]).verify(&app, KEY, &old, at(0)), "the rotation is over");
        assert!(ReadSignatures::new(Vec::new()).is_none());
    }

    /// The same secrets sign upload tokens.
    #[test]
    fn an_upload_token_is_no_signature() {
        let id = UploadId::parse(&KEY[..26]).unwrap();
        let owner = OwnerId::parse(b"ann").unwrap();
        let tokens = UploadTokens::new(vec![Secret::new("one")]).unwrap();
        let token = tokens.mint(&app("shop"), id, &owner).0;
        let all = signatures(&["one"]);
        let right = all.sign(&app("shop"), KEY, at(9));
        assert_ne!(token, right.signature);
        assert!(!tokens.verify(&app("shop"), id, &owner, &right.signature));
        let claimed = SignedRead { expires: 9, signature: token };
        assert!(!all.verify(&app("shop"), KEY, &claimed, at(0)));
    }

    #[test]
    fn the_end_has_one_spelling() {
        let parsed = |text| SignedRead::parse(text, "x").map(|right| right.expires);
        assert_eq!(parsed("1763720000"), Some(1_763_720_000));
        assert_eq!(parsed("1"), Some(1));
        for text in ["", "0", "01", "+1", "-1", "1 ", "1.0", "1e9", "0x1", "9999999999999", "١"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_of_it_is_for_logs() {
        let right = signatures(&["one"]).sign(&app("shop"), KEY, at(9));
        let text = format!("{right:?} {:?}", signatures(&["one"]));
        assert!(!text.contains(&right.signature) && !text.contains("one"), "{text}");
    }

    #[test]
    fn the_construction_is_fixed() {
        // HMAC-SHA256 by an independent implementation: URLs that were handed out must outlive an
        // update of this program.
        let right = signatures(&["one"]).sign(&app("shop"), KEY, at(1_763_720_000));
        assert_eq!(right.signature, "9a7735b606faf8a068e2bc7ce43beeb7f12107aa");
    }

    proptest! {
        #[test]
        fn any_other_text_is_refused(claimed in "[0-9a-fA-F]{0,60}|\\PC{0,60}") {
            let all = signatures(&["one"]);
            let claimed = SignedRead { expires: 1000, signature: claimed };
            prop_assert!(!all.verify(&app("shop"), KEY, &claimed, at(0)));
        }

        #[test]
        fn a_damaged_signature_is_refused(
            cut in 0usize..40, at_byte in 0usize..40, to in "[0-9a-zA-Z_-]",
        ) {
            let all = signatures(&["one"]);
            let genuine = all.sign(&app("shop"), KEY, at(1000)).signature;
            let verify = |text: &str| {
                let claimed = SignedRead { expires: 1000, signature: text.to_owned() };
                all.verify(&app("shop"), KEY, &claimed, at(0))
            };
            prop_assert!(!verify(&genuine[..cut]), "truncated");
            prop_assert!(!verify(&format!("{genuine}{to}")), "extended");
            let upper = genuine.to_ascii_uppercase();
            prop_assert!(upper == genuine || !verify(&upper), "another spelling");
            let mut altered = genuine.clone();
            altered.replace_range(at_byte..=at_byte, &to);
            prop_assert_eq!(verify(&altered), altered == genuine);
        }

        #[test]
        fn a_right_to_one_thing_is_none_to_another(
            key in "[a-z0-9./%-]{1,40}", other in "[a-z0-9./%-]{1,40}",
            end in 1u64..1_000_000, other_end in 1u64..1_000_000,
        ) {
            let all = signatures(&["one"]);
            let right = all.sign(&app("shop"), &key, at(end));
            let moved = SignedRead { expires: other_end, ..right.clone() };
            prop_assert_eq!(all.verify(&app("shop"), &other, &right, at(0)), key == other);
            prop_assert_eq!(all.verify(&app("shop"), &key, &moved, at(0)), end == other_end);
        }

        #[test]
        fn reading_a_url_never_panics(expires in "\\PC{0,20}", signature in "\\PC{0,60}") {
            let _ = SignedRead::parse(&expires, &signature);
        }
    }
}
