//! Keys of objects, as they stand in a URL: what is accepted has one spelling, stays inside of the
//! app's part of the bucket, and was minted here if it looks so.
//!
//! The first byte chooses what the rest is: a raw key, or a key to be minted and then damaged.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use safelight::domain::{
    AppName, CleanName, FileName, KeyPrefix, MINT_ENTROPY_BYTES, MediaType, MintSecrets, MintedKey,
    ObjectKey, Secret, UploadId,
};

static SECRETS: LazyLock<MintSecrets> = LazyLock::new(|| {
    let secrets = ["the first secret of the fuzzer", "an older secret of the fuzzer"];
    MintSecrets::new(secrets.map(Secret::new).into()).expect("there are two")
});
static SHOP: LazyLock<AppName> = LazyLock::new(|| AppName::parse("shop").expect("a name"));
static OTHER: LazyLock<AppName> = LazyLock::new(|| AppName::parse("other").expect("a name"));

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    if choice % 2 == 0 {
        if let Ok(raw) = std::str::from_utf8(rest) {
            parsed(raw);
        }
    } else {
        minted(*choice, rest);
    }
});

fn parsed(raw: &str) {
    let strict = ObjectKey::parse(raw, &SHOP, &SECRETS, false);
    let lax = ObjectKey::parse(raw, &SHOP, &SECRETS, true);
    if let Ok(key) = &strict {
        let minted = key.minted().expect("nothing else is accepted");
        assert_eq!(minted.as_str(), raw, "a minted key has one spelling");
        assert_eq!(UploadId::from_bytes(&minted.id().to_bytes()), minted.id());
        assert!(MintedKey::verify(&SECRETS, &OTHER, raw).is_none(), "it is one app's");
        assert_eq!(strict, lax);
    }
    let Ok(key) = lax else { return };
    let text = key.as_str();
    assert!(text.len() <= 900);
    assert!(!text.contains(['\\', '%']) && !text.chars().any(char::is_control));
    assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
    let canonical = text.to_ascii_lowercase();
    if key.minted().is_none()
        && let Some((id, rest)) = canonical.split_once('-')
        && let Some((name, extension)) = rest.split_once('.')
    {
        let is_form = UploadId::parse(id).is_some()
            && CleanName::is_valid(name)
            && MediaType::from_extension(extension).is_some_and(|(_, known)| known == extension);
        assert!(!is_form, "a forged key is never foreign");
    }
    let prefix = KeyPrefix::parse("images/").expect("a prefix");
    let path = prefix.path_of(&key);
    assert!(path.as_str().starts_with("images/"));
    let in_url = path.to_url_path();
    assert!(in_url.is_ascii() && !in_url.contains(['?', '#', ' ', '\\']));
    // What is sent upstream means the same key again.
    let again = ObjectKey::parse(&in_url["images/".len()..], &SHOP, &SECRETS, true);
    assert_eq!(again.as_ref(), Ok(&key));
}

/// Mints a key, and damages one byte of it.
fn minted(choice: u8, data: &[u8]) {
    let Some((head, name)) = data.split_at_checked(8 + MINT_ENTROPY_BYTES) else { return };
    let (time, entropy) = head.split_at(8);
    let millis = u64::from_be_bytes(time.try_into().expect("8 bytes")) & ((1 << 48) - 1);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    let file = std::str::from_utf8(name).ok().map(FileName::parse);
    let file = match file {
        Some(Ok(file)) => file,
        Some(Err(_)) | None => FileName::parse("photo.jpg").expect("a name"),
    };
    let entropy: [u8; MINT_ENTROPY_BYTES] = entropy.try_into().expect("as many");
    let key = MintedKey::mint(&SECRETS, &SHOP, now, entropy, &file.name, file.extension);
    assert_eq!(MintedKey::verify(&SECRETS, &SHOP, key.as_str()).as_ref(), Some(&key));
    assert_eq!(key.id().minted_at(), now);
    parsed(key.as_str());

    let at = usize::from(choice / 2) % key.as_str().len();
    let mut damaged = key.as_str().as_bytes().to_vec();
    damaged[at] = damaged[at].wrapping_add(1 + time[0] % 127);
    if let Ok(damaged) = std::str::from_utf8(&damaged)
        && damaged != key.as_str()
    {
        assert!(MintedKey::verify(&SECRETS, &SHOP, damaged).is_none());
        parsed(damaged);
    }
}
