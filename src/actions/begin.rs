//! What every way of beginning an upload has in common: what may be declared, the quotas, the key and
//! the record.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{
    CleanName, Declared, Error, FileName, MINT_ENTROPY_BYTES, MediaType, MintedKey, OwnerId,
    RateLimitVerdict, UploadRecord, UploadState,
};

use super::Services;

/// How often another key is minted when one is taken. Two keys of the same millisecond and app
/// collide once in 2⁴², so a second try already means that the clock or the generator is broken.
pub(super) const MAX_MINTS: usize = 3;

/// The type of a file, if the app takes it, and the client does not say another one.
pub(super) fn check_type(
    app: &App,
    file: &FileName,
    content_type: Option<&str>,
) -> Result<MediaType, Error> {
    if let Some(declared) = content_type
        && MediaType::parse(declared) != Some(file.media_type)
    {
        return Err(Error::TypeMismatch {
            declared: declared.chars().take(100).collect(),
            extension: file.extension,
            expected: file.media_type.as_str(),
        });
    }
    if !app.upload.allowed_types.contains(&file.media_type) {
        let allowed: Vec<_> = app.upload.allowed_types.iter().map(|t| t.as_str()).collect();
        return Err(Error::UnsupportedImageType(format!(
            "this app does not accept {}, only {}",
            file.media_type.as_str(),
            allowed.join(", ")
        )));
    }
    Ok(file.media_type)
}

/// The size that a client declares, if the app takes it.
pub(super) fn check_size(app: &App, size: Option<u64>) -> Result<Option<u64>, Error> {
    match size {
        None if app.upload.require_size => Err(Error::SizeRequired),
        Some(0) => Err(Error::InvalidRequest("size is 0: the file is empty".into())),
        Some(size) if size > app.upload.max_bytes => {
            Err(Error::FileTooLarge { max_bytes: app.upload.max_bytes })
        }
        size => Ok(size),
    }
}

/// A SHA-256 in hexadecimal.
pub(super) fn parse_sha256(hex: &str) -> Result<[u8; 32], Error> {
    let mut digest = [0; 32];
    let parsed = hex.len() == 64
        && hex.is_ascii()
        && digest.iter_mut().zip(0..).all(|(byte, at)| {
            let pair = &hex[2 * at..2 * at + 2];
            // `from_str_radix` would take a sign.
            let digits = pair.bytes().all(|b| b.is_ascii_hexdigit());
            digits && u8::from_str_radix(pair, 16).map(|parsed| *byte = parsed).is_ok()
        });
    match parsed {
        true => Ok(digest),
        false => Err(Error::InvalidRequest("sha256 takes 64 hexadecimal digits".into())),
    }
}

/// Takes one request from the quotas of owner and app, and says whether the app takes uploads.
pub(super) fn admit(app: &App, owner: &OwnerId) -> Result<RateLimitVerdict, Error> {
    let refuse = |verdict: RateLimitVerdict| {
        app.metrics.rate_limited(verdict.limit);
        Error::RateLimited(verdict)
    };
    // The owner's limit first: one owner who floods does not use up the app's.
    let quota = app.owner_limit.check(owner.as_str()).map_err(refuse)?;
    app.app_limit.check().map_err(refuse)?;
    match app.takes_uploads() {
        true => Ok(quota),
        false => Err(Error::PublicUploadDisabled),
    }
}

/// Mints a key for a file.
pub(super) fn mint(
    app: &App,
    services: &Services,
    file: &FileName,
    now: SystemTime,
) -> Result<MintedKey, Error> {
    let image = CleanName::image();
    let name = if app.keep_names { &file.name } else { &image };
    let secrets = &services.mint_secrets;
    Ok(MintedKey::mint(secrets, &app.name, now, entropy()?, name, file.extension))
}

fn entropy() -> Result<[u8; MINT_ENTROPY_BYTES], Error> {
    let mut bytes = [0; MINT_ENTROPY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Error::Internal
    })?;
    Ok(bytes)
}

/// What the caller is told when [`MAX_MINTS`] did not do.
pub(super) fn every_key_was_taken(app: &App) -> Error {
    tracing::error!(app = %app.name, "every minted key was taken: check clock and random numbers");
    Error::Internal
}

/// The record of an upload that is about to be authorised.
pub(super) fn pending(
    app: &App,
    services: &Services,
    owner: &OwnerId,
    key: MintedKey,
    declared: &Declared,
    now: SystemTime,
) -> UploadRecord {
    let mut record = UploadRecord {
        app: app.name.clone(),
        owner: Some(owner.clone()),
        key,
        state: UploadState::Pending,
        reason: None,
        declared: declared.clone(),
        stored: None,
        multipart: None,
        created_at: now,
        url_expires_at: now + app.upload.url_expiry,
        session_expires_at: now + app.upload.session_expiry,
        updated_at: now,
        revision: 0,
        look_at: None,
    };
    record.look_at = record.next_look(UploadState::Pending, services.grace, now);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_64_hex_digits() {
        let digest = parse_sha256(&"0aF".repeat(22)[..64]).unwrap();
        assert_eq!(digest[..3], [0x0a, 0xf0, 0xaf]);
        for bad in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"+1".repeat(32),
            &"é".repeat(32),
        ] {
            assert!(parse_sha256(bad).is_err(), "{bad}");
        }
    }
}
