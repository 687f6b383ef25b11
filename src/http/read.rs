//! `GET|HEAD /darkroom/{app}/v2/images/{key}`: the stable URL of an image.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, InvalidHeaderValue,
    LAST_MODIFIED, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};

use crate::actions::Services;
use crate::actions::read::{Delivery, FromMemory, ReadReply, ReadRequest, read};
use crate::apps::App;
use crate::domain::{
    ETag, Error, FallbackReason, InvalidKey, MediaType, ObjectKey, RangeRequest, Representation,
    Source,
};
use crate::log::RequestId;

use super::body::ReplyBody;
use super::conditions;
use super::cors;
use super::error::Problem;
use super::exchange::Line;
use super::private::{self, ReadRight};
use super::uploads::Call;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How many headers an answer to a read has at most, with those that are added on its way out.
const MAX_READ_HEADERS: usize = 20;

/// What caches may do with an image whose upload URL may still be used.
const YOUNG: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// The same, in seconds.
pub(super) const YOUNG_SECONDS: u64 = 60;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Lets pages of other origins see the timing of a public image.
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// What a document may do that a browser was led to open: nothing.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// Answers a read.
pub(super) async fn handle(call: Call<'_>, raw_key: &str, line: &mut Line) -> Response<ReplyBody> {
    let Call { app, services, head, .. } = call;
    let mut counted = CountedRead { app, source: Source::None, code: "499" };
    let (request, right) = match prepare(call, raw_key).await {
        Ok(prepared) => prepared,
        Err(problem) => {
            let response = problem.into_response(&line.id);
            return finish(&mut counted, response, None, head, line.begun.elapsed());
        }
    };
    let reply = read(app, services, &request).await;
    counted.source = reply.source;
    line.source = Some(reply.source.label());
    line.fallback = reply.fallback.map(FallbackReason::label);
    let mut response = respond(app, &request, &right, reply, &line.id);
    let took = line.begun.elapsed();
    if let Ok(timing) = server_timing(&counted, line, took) {
        response.headers_mut().insert(SERVER_TIMING, timing);
        if !app.is_private() {
            response.headers_mut().insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
    finish(&mut counted, response, Some(&right), head, took)
}

/// Reads what is asked, and by what right.
async fn prepare(call: Call<'_>, raw_key: &str) -> Result<(ReadRequest, ReadRight), Problem> {
    let right = private::right(call, raw_key).await?;
    let key = parse_key(call.app, call.services, raw_key)?;
    Ok((parse(key, call.head, &right), right))
}

/// Parses the key of a URL's path.
///
/// # Errors
/// [`Error::NotFound`] for what cannot be any object's key, [`Error::InvalidKey`] for path tricks.
pub(super) fn parse_key(
    app: &App,
    services: &Services,
    raw_key: &str,
) -> Result<ObjectKey, Problem> {
    let parsed =
        ObjectKey::parse(raw_key, &app.name, &services.mint_secrets, app.accept_foreign_keys);
    parsed.map_err(|invalid| match invalid {
        InvalidKey::Unknown => Error::NotFound.into(),
        InvalidKey::Hostile => Error::InvalidKey.into(),
    })
}

/// Counts a read once: with its status, or as 499 when the client leaves before there is one.
struct CountedRead<'a> {
    app: &'a App,
    source: Source,
    code: &'static str,
}

impl Drop for CountedRead<'_> {
    fn drop(&mut self) {
        self.app.metrics.read(self.source, self.code);
    }
}

fn finish(
    counted: &mut CountedRead<'_>,
    mut response: Response<ReplyBody>,
    right: Option<&ReadRight>,
    request: &Parts,
    took: Duration,
) -> Response<ReplyBody> {
    cors::for_reads(counted.app, right, &request.headers, response.headers_mut());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    counted.code = code_label(response.status());
    counted.app.metrics.first_byte(counted.source, took.as_secs_f64());
    response
}

/// For the developer tools of browsers: who answered, why not the CDN, and after how many
/// milliseconds the head was there (W3C Server Timing).
fn server_timing(
    counted: &CountedRead<'_>,
    line: &Line,
    took: Duration,
) -> Result<HeaderValue, InvalidHeaderValue> {
    let tenths = (took.as_micros() + 50) / 100;
    let mut text = String::with_capacity(64);
    text.push_str(counted.source.label());
    if let Some(reason) = line.fallback {
        text.extend([";desc=\"cdn=", reason, "\""]);
    }
    let mut digits = itoa::Buffer::new();
    text.extend([";dur=", digits.format(tenths / 10), "."]);
    text.push_str(digits.format(tenths % 10));
    HeaderValue::try_from(text)
}

/// The statuses that a read can have, as a closed set of labels.
fn code_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        206 => "206",
        302 => "302",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        412 => "412",
        416 => "416",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}

/// Reads the conditions and the range of a request. What is malformed is ignored, as RFC 9110 has
/// it: the client then gets the whole object.
fn parse(key: ObjectKey, head: &Parts, right: &ReadRight) -> ReadRequest {
    let headers = &head.headers;
    let head_only = head.method == Method::HEAD;
    let mut ranges = headers.get_all(RANGE).iter();
    let range = match (ranges.next(), ranges.next()) {
        (Some(range), None) if !head_only => range.to_str().ok().and_then(RangeRequest::parse),
        _ => None,
    };
    let mut conditions = conditions::from_headers(headers);
    if range.is_none() {
        // There is nothing for it to decide.
        conditions.if_range = None;
    }
    let needs_size = head.version < Version::HTTP_11;
    let owned_by = match right {
        ReadRight::Proven(owner) => owner.clone(),
        ReadRight::Everybodys | ReadRight::Signed(_) => None,
    };
    ReadRequest { key, head_only, range, conditions, needs_size, owned_by }
}

fn respond(
    app: &App,
    request: &ReadRequest,
    right: &ReadRight,
    reply: ReadReply,
    request_id: &RequestId,
) -> Response<ReplyBody> {
    let ReadReply { outcome, object, source, fallback, memory } = reply;
    let memory = memory.as_ref();
    let object = memory.map_or(&object, |memory| &memory.kept.object);
    let status = cache_status(source, fallback, memory);
    let delivery = match outcome {
        Ok(delivery) => delivery,
        Err(error) => {
            let answered = source != Source::None || fallback.is_some();
            return refusal(error, answered.then_some(status), request_id);
        }
    };
    let mut response = Response::new(ReplyBody::empty());
    let headers = response.headers_mut();
    // Room for all at once, rather than growing with them.
    headers.reserve(MAX_READ_HEADERS);
    match memory {
        Some(FromMemory { kept, age, .. }) => {
            let made = kept.headers(|object| object_headers(object).collect());
            for (name, value) in made {
                headers.insert(name.clone(), value.clone());
            }
            headers.insert(AGE, (*age).into());
        }
        None => {
            for (name, value) in object_headers(object) {
                headers.insert(name, value);
            }
            if let Some(age) = object.age {
                headers.insert(AGE, age.into());
            }
        }
    }
    if *right != ReadRight::Everybodys {
        // How long it may be kept counts from now, whenever a source had it.
        headers.remove(AGE);
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, cache_control(app, &request.key, right, SystemTime::now()));
    headers.insert(CACHE_STATUS, status);
    match delivery {
        Delivery::Elsewhere(url) => return elsewhere(&url, fallback),
        Delivery::NotModified => {
            headers.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        Delivery::Whole(body) => {
            add_type_headers(headers, object);
            if let Some(size) = object.size {
                headers.insert(CONTENT_LENGTH, size.into());
            }
            *response.body_mut() = body.into();
        }
        Delivery::Part(part, body) => {
            add_type_headers(headers, object);
            headers.insert(CONTENT_LENGTH, part.range.len().into());
            headers.insert(CONTENT_RANGE, ascii(part.to_string()));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            *response.body_mut() = body.into();
        }
    }
    response
}

/// The client is sent elsewhere. Where to depends on the moment: nobody is to keep it.
fn elsewhere(url: &str, fallback: Option<FallbackReason>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(url).expect("URLs are encoded"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CACHE_STATUS, cache_status(Source::Redirect, fallback, None));
    response
}

fn refusal(
    error: Error,
    status: Option<HeaderValue>,
    request_id: &RequestId,
) -> Response<ReplyBody> {
    let mut response = Problem::from(error).into_response(request_id);
    response.headers_mut().extend(status.map(|status| (CACHE_STATUS, status)));
    response
}

/// The allowlist of what is passed on of an object's headers; its age apart, which changes.
fn object_headers(
    object: &Representation,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    // Some stores give the year 1, which has no form in HTTP.
    let modified = object.last_modified.filter(|date| *date >= SystemTime::UNIX_EPOCH);
    let text = |value: Option<&str>| value.and_then(|value| HeaderValue::from_str(value).ok());
    let all = [
        (ETAG, text(object.etag.as_ref().map(ETag::as_str))),
        (LAST_MODIFIED, modified.map(|date| ascii(httpdate::fmt_http_date(date)))),
        (CONTENT_TYPE, text(object.content_type.as_deref())),
        (CONTENT_ENCODING, text(object.content_encoding.as_deref())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// An image is shown; everything that could run as a document is a download, in a sandbox.
fn add_type_headers(headers: &mut HeaderMap, object: &Representation) {
    let known = object.content_type.as_deref().and_then(MediaType::parse);
    if known.is_some_and(MediaType::is_safe_inline) {
        return;
    }
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
    if object.content_type.is_none() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
}

/// The app's value, once nobody can hold a URL that may still change the object.
fn cache_control(app: &App, key: &ObjectKey, right: &ReadRight, now: SystemTime) -> HeaderValue {
    match right {
        ReadRight::Everybodys if app.is_settled(key, now) => app.cache_control.clone(),
        ReadRight::Everybodys => YOUNG,
        ReadRight::Signed(_) | ReadRight::Proven(_) => private::cache_control(app, key, right, now),
    }
}

/// Who answered, and why the CDN did not (RFC 9211).
fn cache_status(
    source: Source,
    fallback: Option<FallbackReason>,
    memory: Option<&FromMemory>,
) -> HeaderValue {
    match (source, fallback) {
        (Source::Memory, _) if memory.is_some_and(|memory| memory.stale) => {
            return HeaderValue::from_static("safelight; hit; detail=stale");
        }
        (Source::Memory, _) => return HeaderValue::from_static("safelight; hit"),
        (Source::Cdn, _) if memory.is_none() => {
            return HeaderValue::from_static("safelight; fwd=uri-miss; detail=cdn");
        }
        _ => {}
    }
    let how = match memory.map_or((false, false), |memory| (memory.stale, memory.collapsed)) {
        (false, false) => "fwd=uri-miss",
        (false, true) => "fwd=uri-miss; collapsed",
        (true, false) => "fwd=stale",
        (true, true) => "fwd=stale; collapsed",
    };
    ascii(match (source, fallback) {
        (Source::Redirect, None) => format!("safelight; {how}; detail=redirect"),
        (Source::Redirect, Some(reason)) => {
            format!("safelight; {how}; detail=\"redirect; cdn={}\"", reason.label())
        }
        (Source::Cdn, _) => format!("safelight; {how}; detail=cdn"),
        (_, Some(reason)) => {
            format!("safelight; {how}; detail=\"storage; cdn={}\"", reason.label())
        }
        (_, None) => format!("safelight; {how}; detail=storage"),
    })
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("made of labels, digits and dates, which are ASCII")
}
