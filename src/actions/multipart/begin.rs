//! Beginning an upload in parts: as any upload is authorised, with a session of storage's in it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::actions::begin::{
    MAX_MINTS, check_size, check_type, every_key_was_taken, mint, pending,
};
use crate::actions::idempotency::earlier;
use crate::actions::{Services, records_failed};
use crate::apps::App;
use crate::domain::{
    CannotCut, Declared, Error, FileName, IdempotencyClaim, IdempotencyKey, MAX_FILE_BYTES,
    MediaType, MintedKey, Multipart, MultipartId, OwnerId, PartPlan, RateLimitVerdict,
    UploadRecord, UploadState, UploadToken,
};
use crate::limits::Admission;
use crate::records::RecordsError;
use crate::storage::StorageErrorKind;

use super::urls::{MAX_URLS, PartUrls, issue, parse_checksums, sign};
use super::{cut, give_up, storage_failed};

/// What a client asks for, as it asks.
#[derive(Debug, Clone)]
pub struct BeginRequest {
    /// The owner.
    pub owner: OwnerId,
    /// The name of the file.
    pub file: String,
    /// The media type, where the client says it.
    pub content_type: Option<String>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The SHA-256 of the whole content, which no storage can check of parts.
    pub sha256: Option<String>,
    /// The size of the parts in bytes, where the client chooses it.
    pub part_size: Option<u64>,
    /// The SHA-256 of parts, by their numbers as text, in hexadecimal or base64. With them, also
    /// with none, every part must have one; without, none may.
    pub checksums: Option<BTreeMap<String, String>>,
    /// Under what the request may be repeated.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An upload in parts that was begun, now or by the same request before.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The key.
    pub key: MintedKey,
    /// What there is to upload; `None` if this is the answer to a repeated request and the upload is
    /// not pending any more.
    pub granted: Option<Granted>,
    /// The state of the upload.
    pub state: UploadState,
    /// What proves later that the upload is the caller's.
    pub token: UploadToken,
    /// What is left of the quotas that it took from.
    pub quotas: Vec<RateLimitVerdict>,
}

/// What there is to upload.
#[derive(Debug, Clone)]
pub struct Granted {
    /// How the file is cut.
    pub plan: PartPlan,
    /// The URLs of the first parts; with checksums, of those that came with one.
    pub urls: PartUrls,
    /// Until when parts may be sent and asked for.
    pub session_expires_at: SystemTime,
}

/// A request that was found right.
struct Checked {
    file: FileName,
    owner: OwnerId,
    declared: Declared,
    plan: PartPlan,
    /// By part number; `None` where parts have none.
    checksums: Option<BTreeMap<u16, [u8; 32]>>,
    claim: Option<IdempotencyClaim>,
}

/// Begins an upload in parts. What was admitted is spent once the request is found right.
///
/// # Errors
/// The refusals of the contract, [`Error::MultipartUnsupported`], and
/// [`Error::RecordsUnavailable`] if the upload cannot be recorded: then no URL leaves, and storage's
/// session is given up.
pub async fn begin(
    app: &App,
    services: &Services,
    request: BeginRequest,
    admission: Admission,
    now: SystemTime,
) -> Result<Begun, Error> {
    let checked = check(app, request, now)?;
    let quotas = admission.spend();
    for _ in 0..MAX_MINTS {
        if let Some(earlier) = earlier(app, services, checked.claim.as_ref(), now).await? {
            return again(app, services, earlier, &checked, quotas, now).await;
        }
        let key = mint(app, services, &checked.file, now)?;
        let record = open_session(app, services, &checked, key, now).await?;
        match record_it(app, services, &record, &checked, now).await {
            Ok(urls) => {
                app.metrics.upload(UploadState::Pending);
                return Ok(begun(services, &checked.owner, &record, Some(urls), quotas));
            }
            Err(failure) => {
                give_up(app, &record).await;
                match failure {
                    // The key is taken, or by now the claim is: look, and mint another.
                    Failure::Duplicate => {}
                    Failure::Final(error) => return Err(error),
                }
            }
        }
    }
    Err(every_key_was_taken(app))
}

fn check(app: &App, request: BeginRequest, now: SystemTime) -> Result<Checked, Error> {
    let file = FileName::parse(&request.file).map_err(Error::InvalidFileName)?;
    let media_type = check_type(app, &file, request.content_type.as_deref())?;
    let size = check_size(app, request.size)?.ok_or(Error::SizeRequired)?;
    if request.sha256.is_some() {
        return Err(Error::UnsupportedConstraint(
            "storage cannot check the SHA-256 of a file that comes in parts: leave sha256 out, and \
             give those of the parts in checksums"
                .into(),
        ));
    }
    let plan = PartPlan::new(size, request.part_size).map_err(|error| match error {
        CannotCut::FileTooLarge => Error::FileTooLarge { max_bytes: MAX_FILE_BYTES },
        CannotCut::Empty | CannotCut::PartSize { .. } => Error::InvalidRequest(error.to_string()),
    })?;
    let checksums = match &request.checksums {
        None => None,
        Some(given) => Some(parse_checksums(given, plan)?),
    };
    if checksums.as_ref().is_some_and(|given| given.len() > MAX_URLS) {
        let text = format!("checksums takes at most {MAX_URLS} parts at once");
        return Err(Error::InvalidRequest(text));
    }
    let claim = claim(app, &request, checksums.as_ref(), now);
    let declared = Declared { media_type, size: Some(size), sha256: None };
    Ok(Checked { file, owner: request.owner, declared, plan, checksums, claim })
}

/// What the request claims, if it may be repeated.
fn claim(
    app: &App,
    request: &BeginRequest,
    checksums: Option<&BTreeMap<u16, [u8; 32]>>,
    now: SystemTime,
) -> Option<IdempotencyClaim> {
    let key = request.idempotency_key.as_ref()?;
    let size = request.size.map(|size| size.to_string());
    let part_size = request.part_size.map(|size| size.to_string());
    // However they were spelled.
    let checksums = checksums.map(|checksums| format!("{checksums:?}"));
    let fields = [
        Some("multipart"),
        Some(&request.file),
        request.content_type.as_deref(),
        size.as_deref(),
        part_size.as_deref(),
        checksums.as_deref(),
    ];
    Some(IdempotencyClaim::new(&app.name, &request.owner, key, &fields, now))
}

/// Has storage open a session, and makes the record that is to hold it.
async fn open_session(
    app: &App,
    services: &Services,
    checked: &Checked,
    key: MintedKey,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    let Checked { owner, declared, plan, checksums, .. } = checked;
    let mut record = pending(app, services, owner, key, declared, now);
    let id = session(app, &record.key, declared.media_type, checksums.is_some()).await?;
    let checksums = checksums.is_some();
    record.multipart = Some(Multipart { id, part_size: plan.part_size(), checksums });
    Ok(record)
}

async fn session(
    app: &App,
    key: &MintedKey,
    media_type: MediaType,
    checksums: bool,
) -> Result<MultipartId, Error> {
    let path = app.key_prefix.path_of_minted(key);
    let created = app.store.create_multipart(&path, media_type, checksums).await;
    created.map_err(|error| match error.kind {
        StorageErrorKind::Unsupported if checksums => Error::UnsupportedConstraint(
            "this app's storage takes no parts with checksums: leave checksums out".into(),
        ),
        StorageErrorKind::Unsupported => Error::MultipartUnsupported,
        _ => storage_failed(app, &error),
    })
}

/// Why a session is not handed out.
enum Failure {
    Duplicate,
    Final(Error),
}

/// Signs the first URLs and records the upload, in this order: a URL that cannot be signed leaves no
/// record, and a record that cannot be written keeps the URLs here.
async fn record_it(
    app: &App,
    services: &Services,
    record: &UploadRecord,
    checked: &Checked,
    now: SystemTime,
) -> Result<PartUrls, Failure> {
    let checksums = checked.checksums.clone().unwrap_or_default();
    let numbers = first_numbers(checked);
    let urls = sign(app, record, &numbers, &checksums, app.upload.url_expiry, now).await;
    let urls = urls.map_err(Failure::Final)?;
    match services.records.insert(record.clone(), checked.claim).await {
        Ok(()) => Ok(urls),
        Err(RecordsError::Duplicate) => Err(Failure::Duplicate),
        Err(error) => Err(Failure::Final(records_failed(&error))),
    }
}

/// The parts whose URLs come with the answer.
fn first_numbers(checked: &Checked) -> Vec<u16> {
    match &checked.checksums {
        Some(given) => given.keys().copied().collect(),
        None => (1..=checked.plan.count()).take(MAX_URLS).collect(),
    }
}

/// Answers a repeated request: the same upload, its URLs signed anew while it is pending.
async fn again(
    app: &App,
    services: &Services,
    record: UploadRecord,
    checked: &Checked,
    quotas: Vec<RateLimitVerdict>,
    now: SystemTime,
) -> Result<Begun, Error> {
    let urls = match record.state {
        UploadState::Pending => {
            let checksums = checked.checksums.clone().unwrap_or_default();
            let numbers = first_numbers(checked);
            Some(issue(app, services, &record, &numbers, &checksums, now).await?)
        }
        UploadState::Uploaded
        | UploadState::Ready
        | UploadState::Failed
        | UploadState::Orphaned
        | UploadState::Deleted => None,
    };
    Ok(begun(services, &checked.owner, &record, urls, quotas))
}

fn begun(
    services: &Services,
    owner: &OwnerId,
    record: &UploadRecord,
    urls: Option<PartUrls>,
    quotas: Vec<RateLimitVerdict>,
) -> Begun {
    let session_expires_at = record.session_expires_at;
    let granted = urls.zip(cut(record).ok()).map(|(urls, (_, plan))| Granted {
        plan,
        urls,
        session_expires_at,
    });
    Begun {
        key: record.key.clone(),
        granted,
        state: record.state,
        token: services.tokens.mint(&record.app, record.key.id(), owner),
        quotas,
    }
}
