//! The upload endpoints: presign, status, finalize, a fresh URL.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, Span};

use crate::actions::finalize::finalize;
use crate::actions::presign::{PresignRequest, Presigned, presign};
use crate::actions::renew::renew;
use crate::actions::{Services, upload};
use crate::apps::App;
use crate::domain::{Error, MintedKey, UploadId, UploadRecord};
use crate::storage::SignedRequest;

use super::body::{MAX_JSON_BYTES, ReplyBody, json_response, read_json};
use super::error::Problem;
use super::idempotency::idempotency_key;
use super::limits;
use super::owner::owner_id;

/// The header that may carry the upload token instead of the query.
const UPLOAD_TOKEN: &str = "upload-token";

/// The longest token that is looked at, in bytes. Ours are shorter.
const MAX_TOKEN_BYTES: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PresignBody {
    file: String,
    content_type: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresignAnswer<'a> {
    #[serde(rename = "uploadURL", skip_serializing_if = "Option::is_none")]
    upload_url: Option<&'a str>,
    #[serde(rename = "publicURL")]
    public_url: String,
    key: &'a str,
    #[serde(rename = "uploadID")]
    upload_id: &'a str,
    upload_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Told where there is nothing to upload any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(rename = "finalizeURL")]
    finalize_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UploadAnswer<'a> {
    #[serde(rename = "uploadID")]
    upload_id: &'a str,
    key: &'a str,
    #[serde(rename = "publicURL")]
    public_url: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<&'a str>,
    expires_at: String,
}

/// `POST /darkroom/{app}/v1/images/presigned-urls`
pub(super) async fn handle_presign<B>(
    app: &App,
    services: &Services,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut counted = CountedPresign { app, outcome: "client_left" };
    let answered = answer_presign(app, services, headers, body).await;
    counted.outcome = answered.as_ref().map_or_else(Problem::code, |_| "ok");
    answered
}

/// Counts a presign request once, also when the client leaves before the answer.
struct CountedPresign<'a> {
    app: &'a App,
    outcome: &'static str,
}

impl Drop for CountedPresign<'_> {
    fn drop(&mut self) {
        self.app.metrics.presign(self.outcome);
    }
}

async fn answer_presign<B>(
    app: &App,
    services: &Services,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let owner = owner_id(headers)?;
    let idempotency_key = idempotency_key(headers)?;
    let body: PresignBody = read_json(headers, body, MAX_JSON_BYTES).await?;
    let request = PresignRequest {
        owner,
        file: body.file,
        content_type: body.content_type,
        size: body.size,
        sha256: body.sha256,
        idempotency_key,
    };
    let presigned = presign(app, services, request, SystemTime::now()).await?;
    let Presigned { key, upload, state, token, .. } = &presigned;
    let data = match upload {
        Some(upload) => granted(app, key, upload, &token.0),
        None => PresignAnswer { state: Some(state.as_str()), ..presign_answer(app, key, &token.0) },
    };
    let answer = Success { success: true, data };
    let mut response = json_response(StatusCode::OK, &answer);
    limits::add_headers(response.headers_mut(), &presigned.quota);
    Ok(response)
}

/// The answer that grants an upload.
fn granted<'a>(
    app: &App,
    key: &'a MintedKey,
    upload: &'a SignedRequest,
    token: &'a str,
) -> PresignAnswer<'a> {
    let headers = upload
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::Value::String(value.clone())));
    PresignAnswer {
        upload_url: Some(&upload.url),
        method: Some("PUT"),
        headers: Some(headers.collect()),
        expires_at: Some(timestamp(upload.expires_at)),
        ..presign_answer(app, key, token)
    }
}

/// What is known of an upload whether there is still something to upload or not.
fn presign_answer<'a>(app: &App, key: &'a MintedKey, token: &'a str) -> PresignAnswer<'a> {
    let id = key.id();
    PresignAnswer {
        upload_url: None,
        public_url: public_url(app, key.as_str()),
        key: key.as_str(),
        // The id is the beginning of the key.
        upload_id: &key.as_str()[..id.as_str().len()],
        upload_token: token,
        method: None,
        headers: None,
        expires_at: None,
        state: None,
        finalize_url: format!("{}/v1/uploads/{id}/finalize?token={token}", app.public_base),
    }
}

/// `GET /darkroom/{app}/v1/uploads/{id}`
pub(super) async fn handle_status(
    app: &App,
    services: &Services,
    id: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response<ReplyBody>, Problem> {
    let (id, token) = credentials(id, headers, query)?;
    let record = upload::ask(app, services, id, &token).await?;
    Ok(upload_response(app, &record))
}

/// `POST /darkroom/{app}/v1/uploads/{id}/finalize`
pub(super) async fn handle_finalize(
    app: &Arc<App>,
    services: &Services,
    id: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response<ReplyBody>, Problem> {
    let (id, token) = credentials(id, headers, query)?;
    let task = {
        let (app, services) = (Arc::clone(app), services.clone());
        // In a task of its own: a client that leaves between the verdict and the deletion of a
        // refused object would keep that object in the bucket.
        tokio::spawn(
            async move { finalize(&app, &services, id, &token, SystemTime::now()).await }
                .instrument(Span::current()),
        )
    };
    let record = task.await.map_err(|error| {
        tracing::error!(%error, "a finalize ended badly");
        Error::Internal
    })??;
    Ok(upload_response(app, &record))
}

/// `POST /darkroom/{app}/v1/uploads/{id}/upload-url`
pub(super) async fn handle_renewal(
    app: &App,
    services: &Services,
    id: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response<ReplyBody>, Problem> {
    let (id, token) = credentials(id, headers, query)?;
    let (record, upload) = renew(app, services, id, &token, SystemTime::now()).await?;
    let data = granted(app, &record.key, &upload, &token);
    Ok(json_response(StatusCode::OK, &Success { success: true, data }))
}

/// Id and token of a call on an existing upload. Without both, nobody learns anything.
fn credentials(
    id: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(UploadId, String), Problem> {
    let from_query = || {
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .find_map(|(name, value)| (name == "token").then(|| value.into_owned()))
    };
    let from_header = headers.get(UPLOAD_TOKEN).and_then(|value| value.to_str().ok());
    let token = from_header.map(str::to_owned).or_else(from_query);
    match (UploadId::parse(id), token) {
        (Some(id), Some(token)) if token.len() <= MAX_TOKEN_BYTES => Ok((id, token)),
        _ => Err(Error::UploadNotFound.into()),
    }
}

fn upload_response(app: &App, record: &UploadRecord) -> Response<ReplyBody> {
    let answer = Success { success: true, data: upload_answer(app, record) };
    json_response(StatusCode::OK, &answer)
}

fn upload_answer<'a>(app: &App, record: &'a UploadRecord) -> UploadAnswer<'a> {
    let stored = record.stored.as_ref();
    let dimensions = stored.and_then(|stored| stored.dimensions);
    let key = record.key.as_str();
    UploadAnswer {
        upload_id: &key[..record.key.id().as_str().len()],
        key,
        public_url: public_url(app, key),
        state: record.state.as_str(),
        reason: record.reason.map(crate::domain::VerificationFailure::as_str),
        size: stored.map(|stored| stored.size),
        content_type: stored.and_then(|stored| stored.content_type.as_deref()),
        width: dimensions.map(|(width, _)| width),
        height: dimensions.map(|(_, height)| height),
        etag: stored.and_then(|stored| stored.etag.as_ref()).map(crate::domain::ETag::as_str),
        expires_at: timestamp(record.url_expires_at),
    }
}

fn public_url(app: &App, key: &str) -> String {
    format!("{}/v2/images/{key}", app.public_base)
}

/// RFC 3339 in UTC, to the second.
fn timestamp(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(since_1970).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
