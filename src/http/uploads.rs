//! The upload endpoints: presign, status, finalize, a fresh URL, and giving up. Those of uploads in
//! parts are in `multipart.rs`.

mod multipart;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actions::abandon::abandon;
use crate::actions::finalize::finalize;
use crate::actions::presign::{PresignRequest, Presigned, presign};
use crate::actions::renew::renew;
use crate::actions::upload::Right;
use crate::actions::{Services, admit, upload};
use crate::apps::App;
use crate::domain::{
    Caller, ClientNetwork, Error, MintedKey, TrustedProxies, UploadId, UploadRecord,
};
use crate::log::of_this_request;
use crate::storage::SignedRequest;

use super::body::{MAX_JSON_BYTES, ReplyBody, json_response, read_json};
use super::error::Problem;
use super::idempotency::idempotency_key;
use super::route::Route;
use super::{identity, limits, timestamp};

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
    headers: Option<Map<String, Value>>,
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

/// A request to an endpoint of an app: past admission.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) services: &'a Services,
    pub(super) head: &'a Parts,
    pub(super) peer: IpAddr,
    pub(super) trusted_proxies: Option<&'a TrustedProxies>,
    /// Who asks, where clients are told apart; looked for only where it counts.
    pub(super) client: Option<ClientNetwork>,
}

/// Answers a call.
pub(super) async fn handle<B>(
    call: Call<'_>,
    route: &Route<'_>,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    // Boxed, all but the first: it is what most requests are, and has no use for their room.
    match *route {
        Route::Presign { .. } => {
            counted(|outcome| call.app.metrics.presign(outcome), handle_presign(call, body)).await
        }
        Route::Upload { id, .. } if call.head.method == Method::DELETE => {
            Box::pin(handle_abandon(call, id)).await
        }
        Route::Upload { id, .. } => Box::pin(handle_status(call, id)).await,
        Route::Finalize { id, .. } => Box::pin(handle_finalize(call, id)).await,
        Route::UploadUrl { id, .. } => Box::pin(handle_renewal(call, id)).await,
        Route::Multipart { .. }
        | Route::PartUrls { .. }
        | Route::Parts { .. }
        | Route::Complete { .. } => Box::pin(multipart::handle(call, route, body)).await,
        Route::OwnImage { .. } | Route::SignedUrls { .. } | Route::Image { .. } => {
            Err(Problem::UnknownRoute)
        }
    }
}

impl Call<'_> {
    /// Who is calling, where that is proved.
    pub(super) async fn caller(&self) -> Result<Option<Caller>, Problem> {
        identity::caller(self.app, self.head, self.peer, self.trusted_proxies).await
    }

    /// The upload that the call is about, and what gives a right to it. Without either, nobody learns
    /// anything.
    async fn upload(&self, id: &str) -> Result<(UploadId, Right), Problem> {
        let right = Right { token: self.upload_token(), caller: self.caller().await? };
        let id = UploadId::parse(id).filter(|_| right.is_some());
        Ok((id.ok_or(Error::UploadNotFound)?, right))
    }

    fn upload_token(&self) -> Option<String> {
        let from_query = || {
            let query = self.head.uri.query().unwrap_or_default();
            url::form_urlencoded::parse(query.as_bytes())
                .find_map(|(name, value)| (name == "token").then(|| value.into_owned()))
        };
        let headers = &self.head.headers;
        let from_header = headers.get(UPLOAD_TOKEN).and_then(|value| value.to_str().ok());
        let token = from_header.map(str::to_owned).or_else(from_query);
        token.filter(|token| token.len() <= MAX_TOKEN_BYTES)
    }

    /// Runs an action to its end, also if the client leaves in the middle: half-done it would leave
    /// something in the bucket that nobody asks for.
    pub(super) async fn run_to_end<T, F, A>(&self, action: A) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        A: FnOnce(Arc<App>, Services) -> F,
    {
        let action = action(Arc::clone(self.app), self.services.clone());
        let done = tokio::spawn(of_this_request(action)).await;
        Ok(done.map_err(|error| {
            tracing::error!(%error, "an action ended badly");
            Error::Internal
        })??)
    }
}

/// Counts a request once by its outcome, also when the client leaves before the answer.
pub(super) async fn counted<T>(
    count: impl Fn(&'static str),
    answering: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    struct Counted<C: Fn(&'static str)> {
        count: C,
        outcome: &'static str,
    }
    impl<C: Fn(&'static str)> Drop for Counted<C> {
        fn drop(&mut self) {
            (self.count)(self.outcome);
        }
    }
    let mut counted = Counted { count, outcome: "client_left" };
    let answered = answering.await;
    counted.outcome = answered.as_ref().map_or_else(Problem::code, |_| "ok");
    answered
}

/// `POST /darkroom/{app}/v1/images/presigned-urls`
async fn handle_presign<B>(call: Call<'_>, body: B) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Call { app, services, head: Parts { headers, .. }, .. } = call;
    let owner = identity::owner(app, call.caller().await?.as_ref(), headers)?;
    let idempotency_key = idempotency_key(headers)?;
    // Before the body: whoever is refused has it read by nobody.
    let admission = admit(app, &owner, call.client)?;
    let body: PresignBody = read_json(headers, body, MAX_JSON_BYTES).await?;
    let request = PresignRequest {
        owner,
        file: body.file,
        content_type: body.content_type,
        size: body.size,
        sha256: body.sha256,
        idempotency_key,
    };
    let presigned = presign(app, services, request, admission, SystemTime::now()).await?;
    let Presigned { key, upload, state, token, .. } = &presigned;
    let data = match upload {
        Some(upload) => granted(app, key, upload, &token.0),
        None => PresignAnswer { state: Some(state.as_str()), ..presign_answer(app, key, &token.0) },
    };
    let mut response = success(data);
    limits::add_headers(response.headers_mut(), &presigned.quotas);
    Ok(response)
}

/// The answer that grants an upload.
fn granted<'a>(
    app: &App,
    key: &'a MintedKey,
    upload: &'a SignedRequest,
    token: &'a str,
) -> PresignAnswer<'a> {
    PresignAnswer {
        upload_url: Some(&upload.url),
        method: Some("PUT"),
        headers: Some(headers_of(upload)),
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

/// The headers that whoever sends a signed request must set.
fn headers_of(signed: &SignedRequest) -> Map<String, Value> {
    let headers = signed.headers.iter();
    headers.map(|(name, value)| ((*name).to_owned(), Value::String(value.clone()))).collect()
}

/// `GET /darkroom/{app}/v1/uploads/{id}`
async fn handle_status(call: Call<'_>, id: &str) -> Result<Response<ReplyBody>, Problem> {
    let (id, right) = call.upload(id).await?;
    let record = upload::ask(call.app, call.services, id, &right).await?;
    Ok(success(upload_answer(call.app, &record)))
}

/// `DELETE /darkroom/{app}/v1/uploads/{id}`
async fn handle_abandon(call: Call<'_>, id: &str) -> Result<Response<ReplyBody>, Problem> {
    let (id, right) = call.upload(id).await?;
    let abandoned = call.run_to_end(async move |app, services| {
        abandon(&app, &services, id, &right, SystemTime::now()).await
    });
    Ok(success(upload_answer(call.app, &abandoned.await?)))
}

/// `POST /darkroom/{app}/v1/uploads/{id}/finalize`
async fn handle_finalize(call: Call<'_>, id: &str) -> Result<Response<ReplyBody>, Problem> {
    let (id, right) = call.upload(id).await?;
    let finalized = call.run_to_end(async move |app, services| {
        finalize(&app, &services, id, &right, SystemTime::now()).await
    });
    Ok(success(upload_answer(call.app, &finalized.await?)))
}

/// `POST /darkroom/{app}/v1/uploads/{id}/upload-url`
async fn handle_renewal(call: Call<'_>, id: &str) -> Result<Response<ReplyBody>, Problem> {
    let (id, right) = call.upload(id).await?;
    let (record, upload) = renew(call.app, call.services, id, &right, SystemTime::now()).await?;
    let owner = record.owner.as_ref().ok_or(Error::Internal)?;
    // The caller may have come without one.
    let token = call.services.tokens.mint(&call.app.name, id, owner);
    Ok(success(granted(call.app, &record.key, &upload, &token.0)))
}

/// The answer to a call that did what it was asked.
pub(super) fn success<T: Serialize>(data: T) -> Response<ReplyBody> {
    json_response(StatusCode::OK, &Success { success: true, data })
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

pub(super) fn public_url(app: &App, key: &str) -> String {
    format!("{}/v2/images/{key}", app.public_base)
}
