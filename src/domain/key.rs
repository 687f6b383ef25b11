//! Object keys: the only place where a key or a storage path is built or parsed.
//!
//! A minted key is `{id}-{name}.{ext}`. The id is 26 Crockford base32 symbols, 130 bits:
//!
//! | bits | what | why |
//! |---|---|---|
//! | 48 | milliseconds since 1970 | ids sort by time, so that records are inserted at the end of their index |
//! | 42 | random | two uploads in one millisecond differ |
//! | 40 | truncated HMAC-SHA256 over app, the other 90 bits and the rest of the key | a forged key is refused without a call to anyone |

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::{AppName, CleanName, MediaType, Secret, base32};

/// How many random bytes [`MintedKey::mint`] takes; 42 of their 48 bits are used.
pub const MINT_ENTROPY_BYTES: usize = 6;

const TIME_BITS: u32 = 48;
const RANDOM_BITS: u32 = 42;
const HEAD_SYMBOLS: usize = 18;
const MAC_SYMBOLS: usize = 8;
const ID_SYMBOLS: usize = HEAD_SYMBOLS + MAC_SYMBOLS;
/// At least 64 bits, and none of the time.
const FINGERPRINT_SYMBOLS: usize = 13;

/// The longest key of any kind, in bytes: what S3 and GCS allow, less room for a prefix.
const MAX_KEY_BYTES: usize = 900;

/// The id of an upload and the beginning of its key: 26 ASCII symbols.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId([u8; ID_SYMBOLS]);

/// The secrets of key minting: the first mints, all verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintSecrets(Arc<[MintSecret]>);

/// A secret, and the beginning of every MAC under it: hashing the secret anew for each key would
/// double what a MAC costs.
#[derive(Clone)]
struct MintSecret {
    secret: Secret,
    begun: Hmac<Sha256>,
}

/// A key that this gateway minted, with its MAC verified.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MintedKey {
    text: Arc<str>,
    id: UploadId,
}

/// The key of an object, as it stands in a public URL (decoded).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ObjectKey {
    /// Minted here.
    Minted(MintedKey),
    /// Made by another system, where the app accepts such keys.
    Foreign(Arc<str>),
}

/// The part of a bucket that an app may use: empty, or it ends in `/` by convention (not by rule).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPrefix(Arc<str>);

/// The full name of an object in its bucket: prefix and key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoragePath(Arc<str>);

/// Why a path names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidKey {
    /// It cannot be any object's: to the caller this is a 404 like every other missing image.
    Unknown,
    /// It tries to be something other than a key: dot segments, backslashes, empty segments,
    /// NUL, invalid UTF-8, encoding upon encoding.
    Hostile,
}

impl UploadId {
    /// Parses an id in its text form. Only the form is checked: the MAC can be verified only with
    /// the whole key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let symbols: [u8; ID_SYMBOLS] = text.as_bytes().try_into().ok()?;
        base32::decode(&symbols[..HEAD_SYMBOLS])?;
        base32::decode(&symbols[HEAD_SYMBOLS..])?;
        Some(Self(symbols))
    }

    /// Takes back what [`UploadId::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 17]) -> Self {
        let mut wide = [0u8; 16];
        wide[..12].copy_from_slice(&bytes[..12]);
        let head = u128::from_be_bytes(wide) >> (128 - TIME_BITS - RANDOM_BITS);
        let mut wide = [0u8; 16];
        wide[10..].copy_from_slice(&bytes[11..]);
        let mac = u128::from_be_bytes(wide) >> 6 & ((1 << 40) - 1);
        Self::assemble(head, mac)
    }

    /// The 130 bits as bytes, most significant first, the last 6 bits zero: the primary key of the
    /// upload's record, in the order of time.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 17] {
        let part = |symbols| base32::decode(symbols).expect("an id holds only symbols");
        let head = part(&self.0[..HEAD_SYMBOLS]) << (128 - TIME_BITS - RANDOM_BITS);
        let mac = part(&self.0[HEAD_SYMBOLS..]) << 6;
        let mut bytes = [0u8; 17];
        bytes[..16].copy_from_slice(&head.to_be_bytes());
        for (byte, tail) in bytes[11..].iter_mut().zip(&mac.to_be_bytes()[10..]) {
            *byte |= tail;
        }
        bytes
    }

    /// When the key was minted, to the millisecond.
    #[must_use]
    pub fn minted_at(&self) -> SystemTime {
        let head = base32::decode(&self.0[..HEAD_SYMBOLS]).expect("an id holds only symbols");
        let millis = u64::try_from(head >> RANDOM_BITS).expect("48 bits fit");
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    /// Its last 64 bits, the MAC and random ones: nobody foresees them, so they are as good as a
    /// hash of the id.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let tail = base32::decode(&self.0[ID_SYMBOLS - FINGERPRINT_SYMBOLS..]);
        let tail = tail.expect("an id holds only symbols") & u128::from(u64::MAX);
        u64::try_from(tail).expect("the rest was cut off")
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("symbols are ASCII")
    }

    fn assemble(head: u128, mac: u128) -> Self {
        let mut symbols = [0u8; ID_SYMBOLS];
        base32::encode(head, &mut symbols[..HEAD_SYMBOLS]);
        base32::encode(mac, &mut symbols[HEAD_SYMBOLS..]);
        Self(symbols)
    }
}

impl MintSecrets {
    /// Takes the secrets in the order of the settings; `None` if there is none.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        (!secrets.is_empty()).then(|| Self(secrets.into_iter().map(MintSecret::new).collect()))
    }
}

impl MintSecret {
    fn new(secret: Secret) -> Self {
        let begun = Hmac::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
        Self { secret, begun }
    }

    /// The truncated MAC of a key, as symbols.
    fn mac(&self, app: &AppName, head: &[u8], rest: &str) -> [u8; MAC_SYMBOLS] {
        let mut mac = self.begun.clone();
        // No field can contain the separator, so no two keys give the same input.
        for part in [&b"safelight key 1"[..], app.as_str().as_bytes(), head, rest.as_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        let digest = mac.finalize().into_bytes();
        let mut wide = [0u8; 16];
        wide[11..].copy_from_slice(&digest[..5]);
        let mut symbols = [0u8; MAC_SYMBOLS];
        base32::encode(u128::from_be_bytes(wide), &mut symbols);
        symbols
    }
}

impl MintedKey {
    /// Mints a key.
    #[must_use]
    pub fn mint(
        secrets: &MintSecrets,
        app: &AppName,
        now: SystemTime,
        entropy: [u8; MINT_ENTROPY_BYTES],
        name: &CleanName,
        extension: &str,
    ) -> Self {
        let millis = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut wide = [0u8; 16];
        wide[10..].copy_from_slice(&entropy);
        let random = u128::from_be_bytes(wide) & ((1 << RANDOM_BITS) - 1);
        let head = (millis & ((1 << TIME_BITS) - 1)) << RANDOM_BITS | random;

        let mut symbols = [0u8; ID_SYMBOLS];
        base32::encode(head, &mut symbols[..HEAD_SYMBOLS]);
        let rest = format!("{}.{extension}", name.as_str());
        let mac = secrets.0[0].mac(app, &symbols[..HEAD_SYMBOLS], &rest);
        symbols[HEAD_SYMBOLS..].copy_from_slice(&mac);
        let id = UploadId(symbols);
        Self { text: format!("{}-{rest}", id.as_str()).into(), id }
    }

    /// Takes a key back from a record that this gateway wrote, trusting it.
    #[must_use]
    pub fn from_record(text: &str) -> Option<Self> {
        let (id, _) = split_minted(text)?;
        Some(Self { text: text.into(), id })
    }

    /// Parses a key and verifies its MAC.
    #[must_use]
    pub fn verify(secrets: &MintSecrets, app: &AppName, text: &str) -> Option<Self> {
        let (id, rest) = split_minted(text)?;
        let (head, claimed) = id.0.split_at(HEAD_SYMBOLS);
        let genuine =
            secrets.0.iter().any(|secret| secret.mac(app, head, rest).ct_eq(claimed).into());
        genuine.then(|| Self { text: text.into(), id })
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> UploadId {
        self.id
    }

    /// The key as text; it never needs encoding in a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The media type that the extension stands for.
    #[must_use]
    pub fn media_type(&self) -> Option<MediaType> {
        let (_, extension) = self.text.rsplit_once('.')?;
        MediaType::from_extension(extension).map(|(media_type, _)| media_type)
    }
}

/// Splits a text in minted form into id and `name.ext`; `None` if it is not of that form.
fn split_minted(text: &str) -> Option<(UploadId, &str)> {
    let id = UploadId::parse(text.get(..ID_SYMBOLS)?)?;
    let rest = text[ID_SYMBOLS..].strip_prefix('-')?;
    let (name, extension) = rest.split_once('.')?;
    let (_, canonical) = MediaType::from_extension(extension)?;
    (CleanName::is_valid(name) && canonical == extension).then_some((id, rest))
}

impl ObjectKey {
    /// Parses the key part of a public URL's path, still percent-encoded.
    ///
    /// # Errors
    /// [`InvalidKey::Hostile`] for path tricks, [`InvalidKey::Unknown`] for what cannot be a key of
    /// this app: a wrong MAC, a second spelling, or a foreign key where none is accepted.
    pub fn parse(
        raw: &str,
        app: &AppName,
        secrets: &MintSecrets,
        accept_foreign: bool,
    ) -> Result<Self, InvalidKey> {
        if let Some(key) = MintedKey::verify(secrets, app, raw) {
            return Ok(Self::Minted(key));
        }
        let decoded = decode_path(raw)?;
        // A key in minted form whose MAC is wrong is forged, never foreign, however it is spelled.
        let canonical = decoded.to_ascii_lowercase();
        if !accept_foreign || split_minted(&canonical).is_some() {
            return Err(InvalidKey::Unknown);
        }
        Ok(Self::Foreign(decoded.into()))
    }

    /// The key as text, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Minted(key) => key.as_str(),
            Self::Foreign(text) => text,
        }
    }

    /// The minted key, if it is one.
    #[must_use]
    pub const fn minted(&self) -> Option<&MintedKey> {
        match self {
            Self::Minted(key) => Some(key),
            Self::Foreign(_) => None,
        }
    }
}

/// Decodes a percent-encoded path of one or more segments, refusing whatever two parsers could
/// read differently.
fn decode_path(raw: &str) -> Result<String, InvalidKey> {
    let decoded =
        percent_encoding::percent_decode_str(raw).decode_utf8().map_err(|_| InvalidKey::Hostile)?;
    let trick = |segment: &str| matches!(segment, "" | "." | "..");
    let hostile = decoded.split('/').any(trick)
        || decoded.contains(['\\', '%'])
        || decoded.chars().any(char::is_control)
        // An encoded dot or slash has no honest reason.
        || contains_ignoring_case(raw, "%2e")
        || contains_ignoring_case(raw, "%2f");
    if hostile {
        return Err(InvalidKey::Hostile);
    }
    if decoded.len() > MAX_KEY_BYTES {
        return Err(InvalidKey::Unknown);
    }
    Ok(decoded.into_owned())
}

fn contains_ignoring_case(haystack: &str, needle: &str) -> bool {
    haystack.as_bytes().windows(needle.len()).any(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
}

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
        percent_encoding::utf8_percent_encode(&self.0, URL_PATH).into()
    }
}

/// Everything but the unreserved characters of RFC 3986 and `/`: the canonical form of `SigV4`.
const URL_PATH: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

impl PartialEq for MintSecret {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for MintSecret {}

impl fmt::Debug for MintSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.fmt(f)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MintedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(list: &[&str]) -> MintSecrets {
        MintSecrets::new(list.iter().map(|s| Secret::new(*s)).collect()).unwrap()
    }

    fn app(name: &str) -> AppName {
        AppName::parse(name).unwrap()
    }

    fn mint(secrets: &MintSecrets, millis: u64, entropy: [u8; 6]) -> MintedKey {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        MintedKey::mint(secrets, &app("shop"), now, entropy, &CleanName::image(), "jpg")
    }

    proptest! {
        #[test]
        fn minted_keys_verify_and_pack(millis in 0u64..(1 << 48), entropy: [u8; 6]) {
            let keys = secrets(&["one"]);
            let key = mint(&keys, millis, entropy);
            let parsed = MintedKey::verify(&keys, &app("shop"), key.as_str()).unwrap();
            prop_assert_eq!(parsed.id(), key.id());
            prop_assert_eq!(UploadId::from_bytes(&key.id().to_bytes()), key.id());
            let minted = key.id().minted_at().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            prop_assert_eq!(minted.as_millis(), u128::from(millis));
        }

        #[test]
        fn ids_sort_by_time_as_text_and_as_bytes(a in 0u64..(1 << 40), b in 0u64..(1 << 40)) {
            let keys = secrets(&["one"]);
            let (x, y) = (mint(&keys, a, [1; 6]).id(), mint(&keys, b, [1; 6]).id());
            prop_assert_eq!(a.cmp(&b), x.as_str()[..18].cmp(&y.as_str()[..18]));
            prop_assert_eq!(x.cmp(&y), x.to_bytes().cmp(&y.to_bytes()));
        }

        #[test]
        fn any_changed_character_is_a_forgery(at in 0usize..36, to in "[0-9a-z._%-]") {
            let keys = secrets(&["one"]);
            let genuine = mint(&keys, 1_700_000_000_000, [7; 6]);
            let mut text = genuine.as_str().to_owned();
            let at = at.min(text.len() - 1);
            text.replace_range(at..=at, &to);
            let verified = MintedKey::verify(&keys, &app("shop"), &text).is_some();
            prop_assert_eq!(verified, text == genuine.as_str());
        }

        #[test]
        fn the_parser_never_panics(raw in "\\PC{0,60}", foreign: bool) {
            let _ = ObjectKey::parse(&raw, &app("shop"), &secrets(&["one"]), foreign);
        }

        #[test]
        fn accepted_foreign_keys_are_clean(raw in "[a-zA-Z0-9./%\\\\ -]{1,40}") {
            if let Ok(key) = ObjectKey::parse(&raw, &app("shop"), &secrets(&["one"]), true) {
                prop_assert!(key.as_str().split('/').all(|s| !matches!(s, "" | "." | "..")));
                prop_assert!(!key.as_str().contains(['\\', '%']));
            }
        }
    }

    #[test]
    fn another_apps_key_is_a_forgery() {
        let keys = secrets(&["one"]);
        let key = mint(&keys, 1, [0; 6]);
        assert!(MintedKey::verify(&keys, &app("other"), key.as_str()).is_none());
    }

    #[test]
    fn every_secret_verifies_and_the_first_mints() {
        let old = mint(&secrets(&["old"]), 1, [0; 6]);
        let both = secrets(&["new", "old"]);
        assert!(MintedKey::verify(&both, &app("shop"), old.as_str()).is_some());
        let new = mint(&both, 1, [0; 6]);
        assert!(MintedKey::verify(&secrets(&["new"]), &app("shop"), new.as_str()).is_some());
        assert!(MintedKey::verify(&secrets(&["old"]), &app("shop"), new.as_str()).is_none());
    }

    #[test]
    fn one_object_has_one_url() {
        let keys = secrets(&["one"]);
        let key = mint(&keys, 1_700_000_000_000, [9; 6]);
        let text = key.as_str();
        let spellings = [
            text.to_uppercase(),
            text.replacen('0', "o", 1),
            text.replacen('0', "O", 1),
            format!("%{:02x}{}", text.as_bytes()[0], &text[1..]),
            text.replace(".jpg", ".jpeg"),
            text.replace(".jpg", ".JPG"),
            format!("{text}/"),
        ];
        for spelling in spellings {
            let parsed = ObjectKey::parse(&spelling, &app("shop"), &keys, false);
            assert!(parsed.is_err(), "{spelling}");
        }
        // Where foreign keys are accepted, a forged or misspelled minted key is still not one.
        let forged = format!("{}{}", if text.starts_with('0') { "1" } else { "0" }, &text[1..]);
        for spelling in [text.to_uppercase(), forged] {
            let parsed = ObjectKey::parse(&spelling, &app("shop"), &keys, true);
            assert_eq!(parsed, Err(InvalidKey::Unknown), "{spelling}");
        }
    }

    #[test]
    fn path_tricks_are_hostile_everywhere() {
        let keys = secrets(&["one"]);
        for raw in [
            "..",
            "../x.jpg",
            "a/../b.jpg",
            "a//b.jpg",
            "/a.jpg",
            "a/",
            ".",
            "a/./b",
            "%2e%2e/x",
            "%2E%2e/x",
            "%252e%252e/x",
            "a\\b",
            "a%5cb",
            "a%00b",
            "a%0d%0ab",
            "a%c0%afb",
            "a%ffb",
            "a%2fb",
            "%",
        ] {
            for foreign in [false, true] {
                let parsed = ObjectKey::parse(raw, &app("shop"), &keys, foreign);
                assert_eq!(parsed, Err(InvalidKey::Hostile), "{raw}");
            }
        }
    }

    #[test]
    fn foreign_keys_are_decoded_once() {
        let keys = secrets(&["one"]);
        let key =
            ObjectKey::parse("2019/caf%C3%A9%20photo.jpg", &app("shop"), &keys, true).unwrap();
        assert_eq!(key.as_str(), "2019/café photo.jpg");
        let path = KeyPrefix::parse("images/").unwrap().path_of(&key);
        assert_eq!(path.to_url_path(), "images/2019/caf%C3%A9%20photo.jpg");
        let refused = ObjectKey::parse("2019/photo.jpg", &app("shop"), &keys, false);
        assert_eq!(refused, Err(InvalidKey::Unknown));
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
