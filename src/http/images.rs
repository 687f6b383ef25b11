//! What the owner of an image, or the application, may ask about it: that it be deleted, and, where
//! it is private, a URL that others can read it with.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use serde::{Deserialize, Serialize};

use crate::actions::delete::delete;
use crate::actions::sign_read::sign_read;
use crate::domain::{Caller, ObjectKey, UploadState};

use super::body::{MAX_JSON_BYTES, ReplyBody, read_json_or_default};
use super::error::Problem;
use super::private::query_of;
use super::read::parse_key;
use super::route::Route;
use super::timestamp;
use super::uploads::{Call, counted, public_url, success};

#[derive(Serialize)]
struct Deleted<'a> {
    key: &'a str,
    state: &'static str,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct SignedUrlBody {
    /// In seconds.
    expires_in: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedUrl {
    url: String,
    expires_at: String,
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
    let metrics = &call.app.metrics;
    match *route {
        Route::OwnImage { key, .. } => {
            counted(|outcome| metrics.delete(outcome), handle_delete(call, key)).await
        }
        Route::SignedUrls { key, .. } => {
            counted(|outcome| metrics.signed_url(outcome), handle_signed_url(call, key, body)).await
        }
        _ => Err(Problem::UnknownRoute),
    }
}

/// `DELETE /darkroom/{app}/v1/images/{key}`
async fn handle_delete(call: Call<'_>, raw_key: &str) -> Result<Response<ReplyBody>, Problem> {
    let caller = proven(call).await?;
    let key = parse_key(call.app, call.services, raw_key)?;
    let named = key.clone();
    call.run_to_end(async move |app, services| {
        delete(&app, &services, &named, &caller, SystemTime::now()).await
    })
    .await?;
    Ok(success(Deleted { key: key.as_str(), state: UploadState::Deleted.as_str() }))
}

/// `POST /darkroom/{app}/v1/images/{key}/signed-urls`
async fn handle_signed_url<B>(
    call: Call<'_>,
    raw_key: &str,
    body: B,
) -> Result<Response<ReplyBody>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let caller = proven(call).await?;
    let Call { app, services, head, .. } = call;
    let body: SignedUrlBody = read_json_or_default(&head.headers, body, MAX_JSON_BYTES).await?;
    let key: ObjectKey = parse_key(app, services, raw_key)?;
    let expires_in = body.expires_in.map(Duration::from_secs);
    let signed = sign_read(app, services, &key, &caller, expires_in, SystemTime::now()).await?;
    Ok(success(SignedUrl {
        url: format!("{}?{}", public_url(app, key.as_str()), query_of(&signed)),
        expires_at: timestamp(signed.expires_at()),
    }))
}

/// Who asks. Without an identity there is no owner, whatever a header names.
async fn proven(call: Call<'_>) -> Result<Caller, Problem> {
    if call.app.identity.is_none() {
        return Err(Problem::NoIdentity);
    }
    call.caller().await?.ok_or(Problem::Unauthenticated)
}
