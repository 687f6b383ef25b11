//! The endpoints of uploads in parts: begin one, get URLs, see what has arrived, complete it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::Body;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actions::multipart::{
    BeginRequest, Granted, NamedPart, PartUrls, begin, complete, part_urls, uploaded_parts,
};
use crate::actions::upload;
use crate::apps::App;
use crate::storage::UploadedPart;

use super::super::body::{MAX_JSON_BYTES, ReplyBody, read_json, read_json_or_default};
use super::super::error::Problem;
use super::super::idempotency::idempotency_key;
use super::super::route::Route;
use super::super::{identity, limits};
use super::{
    Call, PresignAnswer, counted, headers_of, presign_answer, success, timestamp, upload_answer,
};

/// The largest list of parts, in bytes: 10,000 of them have some 60 each.
const MAX_LIST_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BeginBody {
    file: String,
    content_type: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
    part_size: Option<u64>,
    checksums: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartUrlsBody {
    part_numbers: Vec<u64>,
    #[serde(default)]
    checksums: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct CompleteBody {
    parts: Option<Vec<PartBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartBody {
    part_number: u64,
    etag: String,
    checksum: Option<String>,
}

#[derive(Serialize)]
struct BeginAnswer<'a> {
    #[serde(flatten)]
    upload: PresignAnswer<'a>,
    #[serde(rename = "completeURL")]
    complete_url: String,
    #[serde(flatten)]
    granted: Option<GrantedAnswer<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantedAnswer<'a> {
    part_size: u64,
    part_count: u16,
    #[serde(flatten)]
    urls: PartUrlsAnswer<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartUrlsAnswer<'a> {
    #[serde(rename = "partURLs")]
    part_urls: Vec<PartUrlAnswer<'a>>,
    urls_expire_at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartUrlAnswer<'a> {
    part_number: u16,
    url: &'a str,
    headers: Map<String, Value>,
}

#[derive(Serialize)]
struct PartsAnswer<'a> {
    parts: Vec<PartAnswer<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartAnswer<'a> {
    part_number: u16,
    size: u64,
    etag: &'a str,
}

/// Answers a call, and counts it.
pub(super) async fn handle<B>(
    call: Call<'_>,
    route: &Route<'_>,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let count = |request| move |outcome| call.app.metrics.multipart(request, outcome);
    match *route {
        Route::Multipart { .. } => counted(count("begin"), handle_begin(call, body)).await,
        Route::PartUrls { id, .. } => {
            counted(count("part_urls"), handle_part_urls(call, id, body)).await
        }
        Route::Parts { id, .. } => counted(count("parts"), handle_parts(call, id)).await,
        Route::Complete { id, .. } => {
            counted(count("complete"), handle_complete(call, id, body)).await
        }
        Route::Presign { .. }
        | Route::Upload { .. }
        | Route::Finalize { .. }
        | Route::UploadUrl { .. }
        | Route::OwnImage { .. }
        | Route::SignedUrls { .. }
        | Route::Image { .. } => Err(Problem::UnknownRoute),
    }
}

/// `POST /darkroom/{app}/v1/images/multipart-uploads`
async fn handle_begin<B>(call: Call<'_>, body: B) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Call { app, head: Parts { headers, .. }, .. } = call;
    let owner = identity::owner(app, call.caller().await?.as_ref(), headers)?;
    let idempotency_key = idempotency_key(headers)?;
    let body: BeginBody = read_json(headers, body, MAX_JSON_BYTES).await?;
    let request = BeginRequest {
        owner,
        file: body.file,
        content_type: body.content_type,
        size: body.size,
        sha256: body.sha256,
        part_size: body.part_size,
        checksums: body.checksums,
        idempotency_key,
    };
    let begun = call.run_to_end(async move |app, services| {
        begin(&app, &services, request, SystemTime::now()).await
    });
    let begun = begun.await?;
    let (key, token) = (&begun.key, &begun.token.0);
    let upload = presign_answer(app, key, token);
    let upload = match &begun.granted {
        // The headers that the PUTs of all parts have in common: none.
        Some(granted) => PresignAnswer {
            method: Some("PUT"),
            headers: Some(Map::new()),
            expires_at: Some(timestamp(granted.session_expires_at)),
            ..upload
        },
        None => PresignAnswer { state: Some(begun.state.as_str()), ..upload },
    };
    let mut response = success(BeginAnswer {
        upload,
        complete_url: complete_url(app, key.id().as_str(), token),
        granted: begun.granted.as_ref().map(granted_answer),
    });
    limits::add_headers(response.headers_mut(), &begun.quota);
    Ok(response)
}

fn complete_url(app: &App, id: &str, token: &str) -> String {
    format!("{}/v1/uploads/{id}/complete?token={token}", app.public_base)
}

fn granted_answer(granted: &Granted) -> GrantedAnswer<'_> {
    GrantedAnswer {
        part_size: granted.plan.part_size(),
        part_count: granted.plan.count(),
        urls: part_urls_answer(&granted.urls),
    }
}

fn part_urls_answer(issued: &PartUrls) -> PartUrlsAnswer<'_> {
    let part_urls = issued.urls.iter().map(|part| PartUrlAnswer {
        part_number: part.number,
        url: &part.request.url,
        headers: headers_of(&part.request),
    });
    PartUrlsAnswer { part_urls: part_urls.collect(), urls_expire_at: timestamp(issued.expire_at) }
}

/// `POST /darkroom/{app}/v1/uploads/{id}/part-urls`
async fn handle_part_urls<B>(
    call: Call<'_>,
    id: &str,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (id, right) = call.upload(id).await?;
    let Call { app, services, head, .. } = call;
    let body: PartUrlsBody = read_json(&head.headers, body, MAX_JSON_BYTES).await?;
    let PartUrlsBody { part_numbers, checksums } = body;
    let now = SystemTime::now();
    let issued = part_urls(app, services, id, &right, &part_numbers, &checksums, now).await?;
    Ok(success(part_urls_answer(&issued)))
}

/// `GET /darkroom/{app}/v1/uploads/{id}/parts`
async fn handle_parts(call: Call<'_>, id: &str) -> Result<Response<ReplyBody>, Problem> {
    let (id, right) = call.upload(id).await?;
    let now = SystemTime::now();
    let parts = uploaded_parts(call.app, call.services, id, &right, now).await?;
    Ok(success(PartsAnswer { parts: parts.iter().map(part_answer).collect() }))
}

fn part_answer(part: &UploadedPart) -> PartAnswer<'_> {
    PartAnswer { part_number: part.number, size: part.size, etag: part.etag.as_str() }
}

/// `POST /darkroom/{app}/v1/uploads/{id}/complete`
async fn handle_complete<B>(
    call: Call<'_>,
    id: &str,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (id, right) = call.upload(id).await?;
    // Nobody's megabyte is read who has no right to the upload.
    upload::find(call.app, call.services, id, &right).await?;
    let headers = &call.head.headers;
    let body: CompleteBody = read_json_or_default(headers, body, MAX_LIST_BYTES).await?;
    let name = |PartBody { part_number, etag, checksum }| NamedPart {
        number: part_number,
        etag,
        checksum,
    };
    let named = body.parts.map(|parts| parts.into_iter().map(name).collect::<Vec<_>>());
    let completed = call.run_to_end(async move |app, services| {
        complete(&app, &services, id, &right, named.as_deref(), SystemTime::now()).await
    });
    Ok(success(upload_answer(call.app, &completed.await?)))
}
