//! What browsers are told: public reads are open to every page, the upload endpoints to those of the
//! origins that the app's file names. Credentials are allowed to named origins only, where the file
//! says so.
//!
//! `Access-Control-Request-Private-Network` is not answered: no page of the public network is let into
//! a private one by this gateway.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Response, StatusCode};

use crate::apps::{App, Cors};

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
const UPLOAD_HEADERS: &str =
    "Authorization, Content-Type, X_Owner_Id, X-Owner-Id, Upload-Token, Idempotency-Key";

/// What a page may send to read an image.
const READ_HEADERS: &str =
    "Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range";

/// What a page may send to read a private image.
const PRIVATE_READ_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range",
);

/// How long a browser may keep the answer to the preflight of a read, in seconds. Chromium keeps none
/// longer than two hours.
const READ_MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Opens an answer to every page.
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
    let answer = Answer::of(&app.cors, request.get(ORIGIN));
    if answer.varies {
        response.append(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = answer.origin {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if answer.credentials {
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// What the server takes at all, for `OPTIONS *` (RFC 9110 §9.3.7): no browser asks it.
pub(super) fn of_the_server() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALL_METHODS));
    response
}

/// What an app answers to an origin.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Whom the answer is open to.
    origin: Option<HeaderValue>,
    credentials: bool,
    /// Whether another origin would get another answer, so that a cache must keep them apart.
    varies: bool,
}

impl Answer {
    fn of(cors: &Cors, origin: Option<&HeaderValue>) -> Self {
        let allowed = &cors.allowed_origins;
        if allowed.iter().any(|allowed| allowed == "*") {
            let every = HeaderValue::from_static("*");
            return Self { origin: Some(every), credentials: false, varies: false };
        }
        let is_allowed =
            |origin: &&HeaderValue| allowed.iter().any(|a| a.as_bytes() == origin.as_bytes());
        let origin = origin.filter(is_allowed).cloned();
        let credentials = cors.allow_credentials && origin.is_some();
        Self { origin, credentials, varies: !allowed.is_empty() }
    }
}

/// Answers a preflight, locally.
pub(super) fn preflight(route: &Route<'_>, app: &App, request: &HeaderMap) -> Response<ReplyBody> {
    let (mut response, methods) = allowing(route.allow());
    let headers = response.headers_mut();
    let (sendable, max_age) = if route.is_of_uploads() {
        for_uploads(app, request, headers);
        (upload_headers(&app.cors), app.cors.max_age.as_secs().into())
    } else if app.is_private() {
        for_uploads(app, request, headers);
        (PRIVATE_READ_HEADERS, app.cors.max_age.as_secs().into())
    } else {
        open(headers);
        (HeaderValue::from_static(READ_HEADERS), READ_MAX_AGE)
    };
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sendable);
        headers.insert(ACCESS_CONTROL_MAX_AGE, max_age);
    }
    response
}

/// Answers a preflight for what is not there, so that the page may ask and read that it is not. Not
/// to be kept: the app may come.
pub(super) fn preflight_of_no_app() -> Response<ReplyBody> {
    let (mut response, methods) = allowing(ALL_METHODS);
    let headers = response.headers_mut();
    open(headers);
    let sendable = HeaderValue::try_from(format!("{UPLOAD_HEADERS}, {READ_HEADERS}"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sendable.expect("names are ASCII"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("0"));
    response
}

/// An answer without a body that says which methods there are, and these as a header.
fn allowing(methods: &'static str) -> (Response<ReplyBody>, HeaderValue) {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static(methods);
    response.headers_mut().insert(ALLOW, methods.clone());
    (response, methods)
}

/// What a page may send to the upload endpoints of an app.
fn upload_headers(cors: &Cors) -> HeaderValue {
    let mut names = UPLOAD_HEADERS.to_owned();
    for name in &cors.allowed_headers {
        names.push_str(", ");
        names.push_str(name.as_str());
    }
    HeaderValue::try_from(names).expect("names of headers are ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SHOP: &str = "https://www.shop.example";
    const ADMIN: &str = "https://admin.shop.example:8443";

    fn cors(origins: &[&str], allow_credentials: bool) -> Cors {
        Cors {
            allowed_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            allowed_headers: Vec::new(),
            allow_credentials,
            max_age: Duration::ZERO,
        }
    }

    #[test]
    fn who_is_let_in() {
        for (origins, credentials, origin, expected) in [
            // The origins of the file, whether with credentials, who asks: whom it is open to,
            // whether with credentials, whether it varies.
            (&[][..], false, Some(SHOP), (None, false, false)),
            (&[], false, None, (None, false, false)),
            (&["*"], false, Some(SHOP), (Some("*"), false, false)),
            (&["*"], false, Some("null"), (Some("*"), false, false)),
            (&["*"], false, None, (Some("*"), false, false)),
            (&["*", SHOP], false, Some(SHOP), (Some("*"), false, false)),
            (&[SHOP], false, Some(SHOP), (Some(SHOP), false, true)),
            (&[SHOP], true, Some(SHOP), (Some(SHOP), true, true)),
            (&[SHOP, ADMIN], false, Some(ADMIN), (Some(ADMIN), false, true)),
            (&[SHOP], true, Some(ADMIN), (None, false, true)),
            (&[SHOP], false, Some("null"), (None, false, true)),
            (&[SHOP], false, Some("https://WWW.shop.example"), (None, false, true)),
            (&[SHOP], false, Some("https://www.shop.example:443"), (None, false, true)),
            (&[SHOP], false, Some("https://www.shop.example.evil.example"), (None, false, true)),
            (&[SHOP], false, Some("https://www.shop.example, *"), (None, false, true)),
            (&[SHOP], false, Some("*"), (None, false, true)),
            (&[SHOP], false, Some(""), (None, false, true)),
            (&[SHOP], false, None, (None, false, true)),
            // No file can say it, and it would not be told to anybody.
            (&["*"], true, Some(SHOP), (Some("*"), false, false)),
        ] {
            let header = origin.map(HeaderValue::from_static);
            let answer = Answer::of(&cors(origins, credentials), header.as_ref());
            let (open_to, with_credentials, varies) = expected;
            let expected = Answer {
                origin: open_to.map(HeaderValue::from_static),
                credentials: with_credentials,
                varies,
            };
            assert_eq!(answer, expected, "{origins:?} {credentials} {origin:?}");
        }
    }

    #[test]
    fn what_a_file_adds_may_be_sent_besides() {
        let mut cors = cors(&[SHOP], false);
        assert_eq!(upload_headers(&cors), UPLOAD_HEADERS);
        cors.allowed_headers = vec![HeaderName::from_static("x-trace-id")];
        assert_eq!(upload_headers(&cors), format!("{UPLOAD_HEADERS}, x-trace-id"));
    }
}
