//! Authorising an upload in one piece: everything is checked, a key is minted, the upload is
//! recorded, and only then does a signed URL leave.

use std::time::{Duration, SystemTime};

use crate::apps::App;
use crate::domain::{
    Declared, Error, FileName, IdempotencyClaim, IdempotencyKey, MintedKey, OwnerId,
    RateLimitVerdict, UploadRecord, UploadState, UploadToken,
};
use crate::limits::Admission;
use crate::records::RecordsError;
use crate::storage::{PutGrant, SignedRequest, StorageErrorKind};

use super::begin::{
    MAX_MINTS, check_size, check_type, every_key_was_taken, mint, parse_sha256, pending,
};
use super::idempotency::earlier;
use super::renew::sign_again;
use super::{Services, records_failed};

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
    /// What is left of the quotas that it took from.
    pub quotas: Vec<RateLimitVerdict>,
}

/// Authorises an upload. What was admitted is spent once the request is found right.
///
/// # Errors
/// The refusals of the contract, and [`Error::RecordsUnavailable`] if the upload cannot be
/// recorded: then no URL leaves.
pub async fn presign(
    app: &App,
    services: &Services,
    request: PresignRequest,
    admission: Admission,
    now: SystemTime,
) -> Result<Presigned, Error> {
    let file = FileName::parse(&request.file).map_err(Error::InvalidFileName)?;
    let sha256 = request.sha256.as_deref().map(parse_sha256).transpose()?;
    let declared = Declared {
        media_type: check_type(app, &file, request.content_type.as_deref())?,
        size: check_size(app, request.size)?,
        sha256,
    };
    let quotas = admission.spend();
    let claim = claim(app, &request, now);
    for _ in 0..MAX_MINTS {
        if let Some(earlier) = earlier(app, services, claim.as_ref(), now).await? {
            return again(app, services, earlier, quotas, now).await;
        }
        let key = mint(app, services, &file, now)?;
        // Signed before it is recorded, handed out after: a URL that cannot be signed leaves no
        // record, and a record that cannot be written keeps the URL here.
        let upload = sign(app, &key, &declared, app.upload.url_expiry, now).await?;
        let record = pending(app, services, &request.owner, key.clone(), &declared, now);
        match services.records.insert(record, claim).await {
            Ok(()) => {
                app.metrics.upload(UploadState::Pending);
                let token = services.tokens.mint(&app.name, key.id(), &request.owner);
                let state = UploadState::Pending;
                return Ok(Presigned { key, upload: Some(upload), state, token, quotas });
            }
            // The key is taken, or by now the claim is: look, and mint another.
            Err(RecordsError::Duplicate) => {}
            Err(error) => return Err(records_failed(&error)),
        }
    }
    Err(every_key_was_taken(app))
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
    quotas: Vec<RateLimitVerdict>,
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
    Ok(Presigned { key: record.key, upload, state: record.state, token, quotas })
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
        StorageErrorKind::Overloaded => {
            app.metrics.signing_overloaded();
            Error::Overloaded
        }
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
