//! What browsers are told: open for public reads, per app for uploads. Never credentials, so that a
//! `*` harms nobody.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use http::{HeaderMap, Response, StatusCode};

use crate::apps::App;

use super::ALL_METHODS;
use super::body::ReplyBody;
use super::private::ReadRight;
use super::route::Route;

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What a page may read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Content-Range, Content-Length, Age, Cache-Status, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id",
);

/// What a page may send to the upload endpoints. `X_Owner_Id` is what forces the preflight.
const UPLOAD_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, X_Owner_Id, X-Owner-Id, Upload-Token, Idempotency-Key",
);

/// What a page may send to read an image.
const READ_HEADERS: HeaderValue = HeaderValue::from_static(
    "Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range",
);

/// What a page may send to read a private image.
const PRIVATE_READ_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range",
);

/// How long a browser may keep the answer to a preflight, in seconds. Chromium keeps none longer
/// than two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Opens an answer to a public read, errors included.
pub(super) fn open(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(CORP, HeaderValue::from_static("cross-origin"));
}

/// Opens an answer to a read: that of a public image to all, that of a private one to the origins
/// that the app's file names. The right that a signed URL gives, whoever has it may use on any page;
/// a proof that a browser sends by itself is not for pages of other sites.
pub(super) fn for_reads(
    app: &App,
    right: Option<&ReadRight>,
    request: &HeaderMap,
    response: &mut HeaderMap,
) {
    if !app.is_private() {
        return open(response);
    }
    for_uploads(app, request, response);
    if !matches!(right, Some(ReadRight::Signed(_))) {
        response.insert(CORP, HeaderValue::from_static("same-site"));
    }
}

/// Opens an answer of an upload endpoint to the origins that the app's file names.
pub(super) fn for_uploads(app: &App, request: &HeaderMap, response: &mut HeaderMap) {
    if app.allowed_origins.is_empty() {
        return;
    }
    // Also where this origin is not allowed: the answer to another one would differ.
    response.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed_origin(app, request) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// What the server takes at all, for `OPTIONS *` (RFC 9110 §9.3.7): no browser asks it.
pub(super) fn of_the_server() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALL_METHODS));
    response
}

fn allowed_origin(app: &App, request: &HeaderMap) -> Option<HeaderValue> {
    let origin = request.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    let mut allowed = app.allowed_origins.iter().map(String::as_str);
    allowed.any(|allowed| allowed == "*" || allowed == text).then(|| origin.clone())
}

/// Answers a preflight, locally.
pub(super) fn preflight(route: &Route<'_>, app: &App, request: &HeaderMap) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(http::header::ALLOW, HeaderValue::from_static(route.allow()));
    let sendable = if route.is_of_uploads() {
        for_uploads(app, request, headers);
        UPLOAD_HEADERS
    } else if app.is_private() {
        for_uploads(app, request, headers);
        PRIVATE_READ_HEADERS
    } else {
        open(headers);
        READ_HEADERS
    };
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(route.allow()));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sendable);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}
