//! Authorising an upload: everything is checked, a key is minted, the upload is recorded, and only
//! then does a signed URL leave.

use std::time::{Duration, SystemTime};

use crate::apps::App;
use crate::domain::{
    CleanName, Declared, Error, FileName, IdempotencyClaim, IdempotencyKey, MINT_ENTROPY_BYTES,
    MediaType, MintedKey, OwnerId, RateLimitVerdict, UploadRecord, UploadState, UploadToken,
};
use crate::records::RecordsError;
use crate::storage::{PutGrant, SignedRequest, StorageErrorKind};

use super::idempotency::earlier;
use super::renew::sign_again;
use super::{Services, records_failed};

/// How often another key is minted when one is taken. Two keys of the same millisecond and app
/// collide once in 2⁴², so a second try already means that the clock or the generator is broken.
const MAX_MINTS: usize = 3;

/// What a client asks for, as it asks.
#[derive(Debug, Clone)]
pub struct PresignRequest {
    /// The owner.
    pub owner: OwnerId,
    /// The name of the file.
    pub file: String,
    /// The media type, where the client says it.
    pub content_type: Option<String>,
    /// The size in bytes, where the client says it.
    pub size: Option<u64>,
    /// The SHA-256 of the content in hex, where the client says it.
    pub sha256: Option<String>,
    /// Under what the request may be repeated.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An authorised upload.
#[derive(Debug, Clone)]
pub struct Presigned {
    /// The key.
    pub key: MintedKey,
    /// The request that the client is to make; `None` if this is the answer to a repeated request
    /// and the upload is not pending any more.
    pub upload: Option<SignedRequest>,
    /// The state of the upload.
    pub state: UploadState,
    /// What proves later that the upload is the caller's.
    pub token: UploadToken,
    /// What is left of the owner's quota.
    pub quota: RateLimitVerdict,
}

/// Authorises an upload.
///
/// # Errors
/// The refusals of the contract, and [`Error::RecordsUnavailable`] if the upload cannot be
/// recorded: then no URL leaves.
pub async fn presign(
    app: &App,
    services: &Services,
    request: PresignRequest,
    now: SystemTime,
) -> Result<Presigned, Error> {
    let file = FileName::parse(&request.file).map_err(Error::InvalidFileName)?;
    let declared = check(app, &file, &request)?;
    let quota = admit(app, &request.owner)?;
    if !app.allow_public_upload {
        return Err(Error::PublicUploadDisabled);
    }
    let name = if app.keep_names { file.name } else { CleanName::image() };
    let record = |key: MintedKey| pending(app, services, &request.owner, key, &declared, now);
    let claim = claim(app, &request, now);
    for _ in 0..MAX_MINTS {
        if let Some(earlier) = earlier(app, services, claim.as_ref(), now).await? {
            return again(app, services, earlier, quota, now).await;
        }
        let secrets = &services.mint_secrets;
        let key = MintedKey::mint(secrets, &app.name, now, entropy()?, &name, file.extension);
        // Signed before it is recorded, handed out after: a URL that cannot be signed leaves no
        // record, and a record that cannot be written keeps the URL here.
        let upload = sign(app, &key, &declared, app.upload.url_expiry, now).await?;
        match services.records.insert(record(key.clone()), claim).await {
            Ok(()) => {
                app.metrics.upload(UploadState::Pending);
                let token = services.tokens.mint(&app.name, key.id(), &request.owner);
                let state = UploadState::Pending;
                return Ok(Presigned { key, upload: Some(upload), state, token, quota });
            }
            // The key is taken, or by now the claim is: look, and mint another.
            Err(RecordsError::Duplicate) => {}
            Err(error) => return Err(records_failed(&error)),
        }
    }
    tracing::error!(app = %app.name, "every minted key was taken: check clock and random numbers");
    Err(Error::Internal)
}

/// What the request claims, if it may be repeated.
fn claim(app: &App, request: &PresignRequest, now: SystemTime) -> Option<IdempotencyClaim> {
    let key = request.idempotency_key.as_ref()?;
    let size = request.size.map(|size| size.to_string());
    let sha256 = request.sha256.as_ref().map(|digest| digest.to_ascii_lowercase());
    let fields = [
        Some("presign"),
        Some(&request.file),
        request.content_type.as_deref(),
        size.as_deref(),
        sha256.as_deref(),
    ];
    Some(IdempotencyClaim::new(&app.name, &request.owner, key, &fields, now))
}

/// Answers a repeated request: the same upload, its URL signed anew while it is pending.
async fn again(
    app: &App,
    services: &Services,
    record: UploadRecord,
    quota: RateLimitVerdict,
    now: SystemTime,
) -> Result<Presigned, Error> {
    let upload = match record.state {
        UploadState::Pending => Some(sign_again(app, services, &record, now).await?),
        UploadState::Uploaded
        | UploadState::Ready
        | UploadState::Failed
        | UploadState::Orphaned
        | UploadState::Deleted => None,
    };
    let owner = record.owner.as_ref().ok_or(Error::Internal)?;
    let token = services.tokens.mint(&app.name, record.key.id(), owner);
    Ok(Presigned { key: record.key, upload, state: record.state, token, quota })
}

/// The record of an upload that is about to be authorised.
fn pending(
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

/// Checks what the client declares against what the app allows.
fn check(app: &App, file: &FileName, request: &PresignRequest) -> Result<Declared, Error> {
    if let Some(declared) = &request.content_type
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
    match request.size {
        None if app.upload.require_size => return Err(Error::SizeRequired),
        Some(0) => return Err(Error::InvalidRequest("size is 0: the file is empty".into())),
        Some(size) if size > app.upload.max_bytes => {
            return Err(Error::FileTooLarge { max_bytes: app.upload.max_bytes });
        }
        _ => {}
    }
    let sha256 = request.sha256.as_deref().map(parse_sha256).transpose()?;
    Ok(Declared { media_type: file.media_type, size: request.size, sha256 })
}

fn parse_sha256(hex: &str) -> Result<[u8; 32], Error> {
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

/// Takes one request from the quotas of owner and app.
fn admit(app: &App, owner: &OwnerId) -> Result<RateLimitVerdict, Error> {
    let refuse = |verdict: RateLimitVerdict| {
        app.metrics.rate_limited(verdict.limit);
        Error::RateLimited(verdict)
    };
    // The owner's limit first: one owner who floods does not use up the app's.
    let quota = app.owner_limit.check(owner.as_str()).map_err(refuse)?;
    app.app_limit.check().map_err(refuse)?;
    Ok(quota)
}

fn entropy() -> Result<[u8; MINT_ENTROPY_BYTES], Error> {
    let mut bytes = [0; MINT_ENTROPY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Error::Internal
    })?;
    Ok(bytes)
}

/// Signs the PUT of an upload, with everything that was promised for it.
pub(super) async fn sign(
    app: &App,
    key: &MintedKey,
    declared: &Declared,
    expires_in: Duration,
    now: SystemTime,
) -> Result<SignedRequest, Error> {
    let path = app.key_prefix.path_of_minted(key);
    let grant = PutGrant {
        path: &path,
        media_type: declared.media_type,
        size: declared.size,
        sha256: declared.sha256,
        prevent_overwrite: app.upload.prevent_overwrite,
        expires_in,
    };
    app.store.sign_put(&grant, now).await.map_err(|error| match error.kind {
        StorageErrorKind::Unsupported => Error::UnsupportedConstraint(
            "this app's storage cannot enforce a checksum: leave sha256 out".into(),
        ),
        kind => {
            tracing::error!(app = %app.name, %error, "the upload URL could not be signed");
            match kind {
                // Where the provider's own key signs, it may be waited for in vain.
                StorageErrorKind::Timeout => Error::StorageTimeout,
                _ => Error::StorageFailed,
            }
        }
    })
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
