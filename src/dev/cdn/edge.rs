//! The CDN while nothing fails: a cache in memory, in front of the origin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, LAST_MODIFIED, RANGE, VIA,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use moka::sync::Cache;

use super::board::Outcome;
use super::{NAME, reads, text, whole};
use crate::domain::{ContentRange, ETag, Precondition, RangeRequest, StoragePath, Validators};
use crate::http::conditions;
use crate::storage::{
    GetOptions, ObjectBody, ObjectMeta, ObjectRead, ObjectStore, StorageError, StorageErrorKind,
};

/// How much is kept in memory, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// The largest object that is kept, in bytes. Larger ones pass through.
const OBJECT_BYTES: u64 = 8 << 20;

/// How long a copy is served: the default of CloudFront, 24 hours.
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Expiration.html>
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the weigher adds for the entry itself, in bytes.
const ENTRY_BYTES: usize = 512;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// A copy of an object.
struct Copy {
    meta: ObjectMeta,
    bytes: Bytes,
    since: Instant,
}

/// Where an answer comes from.
#[derive(Clone, Copy)]
enum Served {
    /// From memory, where it has been so long.
    Hit(Duration),
    Miss,
}

/// What a read is answered with, as far as its validators decide it.
enum Selection {
    Whole,
    Part(ContentRange),
    Unsatisfiable,
    NotModified,
    PreconditionFailed,
}

/// The cache and the origin.
pub(super) struct Edge {
    origin: Arc<dyn ObjectStore>,
    cache: Cache<String, Arc<Copy>>,
}

impl Edge {
    pub(super) fn new(origin: Arc<dyn ObjectStore>) -> Self {
        let cache = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|name: &String, copy: &Arc<Copy>| {
                u32::try_from(copy.bytes.len() + name.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .time_to_live(LIFE)
            .build();
        Self { origin, cache }
    }

    /// Forgets every copy.
    pub(super) fn forget(&self) {
        self.cache.invalidate_all();
    }

    /// Answers a request for an object.
    pub(super) async fn answer(&self, request: Request<()>) -> (Outcome, Response<ObjectBody>) {
        let (outcome, mut response) = match name_of(&request) {
            Ok(name) => self.read(&name, request.method(), request.headers()).await,
            Err((status, words)) => (Outcome::Refused, text(status, words)),
        };
        if !response.headers().contains_key(X_CACHE) {
            let value = HeaderValue::try_from(format!("Error from {NAME}"));
            response.headers_mut().insert(X_CACHE, value.expect("a constant that is ASCII"));
        }
        let via = HeaderValue::try_from(format!("1.1 {NAME}"));
        response.headers_mut().insert(VIA, via.expect("a constant that is ASCII"));
        (outcome, response)
    }

    async fn read(
        &self,
        name: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> (Outcome, Response<ObjectBody>) {
        if let Some(copy) = self.cache.get(name) {
            let served = Served::Hit(copy.since.elapsed());
            return (Outcome::Hit, from_memory(&copy, headers, served));
        }
        let path = StoragePath::from_listing(name);
        let answer = if method == Method::HEAD {
            self.origin.head(&path).await.map(|meta| described(&meta, headers))
        } else {
            self.fetch(&path, headers).await
        };
        match answer {
            Ok(response) => (Outcome::Miss, response),
            Err(error) => failure(&error),
        }
    }

    /// Gets an object from the origin, and keeps it if it is whole and not too large.
    async fn fetch(
        &self,
        path: &StoragePath,
        headers: &HeaderMap,
    ) -> Result<Response<ObjectBody>, StorageError> {
        let conditional_range = conditions::from_headers(headers).if_range.is_some();
        // Whether the range applies is known only with the object; then it is sent whole.
        let range = range_of(headers).filter(|_| !conditional_range);
        let read = self.origin.get(path, &GetOptions { range, ..GetOptions::default() }).await?;
        if read.part.is_some() || read.meta.size > OBJECT_BYTES {
            return Ok(passed_through(read, headers));
        }
        let ObjectRead { meta, body, .. } = read;
        let bytes = body
            .collect()
            .await
            .map_err(|error| StorageError::new(StorageErrorKind::Unavailable, error.to_string()))?;
        let copy = Copy { meta, bytes: bytes.to_bytes(), since: Instant::now() };
        if copy.bytes.len() as u64 != copy.meta.size {
            let detail = format!("{} of {} bytes came", copy.bytes.len(), copy.meta.size);
            return Err(StorageError::new(StorageErrorKind::Unavailable, detail));
        }
        let copy = Arc::new(copy);
        self.cache.insert(path.as_str().to_owned(), Arc::clone(&copy));
        Ok(from_memory(&copy, headers, Served::Miss))
    }
}

/// The name of the object that is asked for, or why there is none.
fn name_of(request: &Request<()>) -> Result<String, (StatusCode, &'static str)> {
    if !reads(request.method()) {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "This CDN reads objects: GET or HEAD."));
    }
    let path = request.uri().path();
    let path = path.strip_prefix('/').unwrap_or(path);
    match percent_encoding::percent_decode_str(path).decode_utf8() {
        Ok(name) if !name.is_empty() => Ok(name.into_owned()),
        _ => Err((StatusCode::BAD_REQUEST, "The path must be the name of an object.")),
    }
}

fn range_of(headers: &HeaderMap) -> Option<RangeRequest> {
    headers.get(RANGE)?.to_str().ok().and_then(RangeRequest::parse)
}

/// Answers with an object that is in memory, or the part of it that is asked for.
fn from_memory(copy: &Copy, headers: &HeaderMap, served: Served) -> Response<ObjectBody> {
    let selection = select(&copy.meta, headers, range_of(headers));
    let bytes = match &selection {
        Selection::Whole => Some(copy.bytes.clone()),
        Selection::Part(part) => {
            let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(copy.bytes.len());
            Some(copy.bytes.slice(at(part.range.start)..at(part.range.end + 1)))
        }
        _ => None,
    };
    head(&copy.meta, &selection, served).map(|()| whole(bytes.unwrap_or_default()))
}

/// Answers with an object as it comes from the origin.
fn passed_through(read: ObjectRead, headers: &HeaderMap) -> Response<ObjectBody> {
    let selection = match (select(&read.meta, headers, None), read.part) {
        (Selection::Whole, Some(part)) => Selection::Part(part),
        (selection, _) => selection,
    };
    let with_body = matches!(selection, Selection::Whole | Selection::Part(_));
    let body = if with_body { read.body } else { whole(Bytes::new()) };
    head(&read.meta, &selection, Served::Miss).map(|()| body)
}

/// Answers a HEAD with what the origin says of the object.
fn described(meta: &ObjectMeta, headers: &HeaderMap) -> Response<ObjectBody> {
    // A range is defined for GET only (RFC 9110 §14.2).
    let selection = select(meta, headers, None);
    head(meta, &selection, Served::Miss).map(|()| whole(Bytes::new()))
}

fn select(meta: &ObjectMeta, headers: &HeaderMap, range: Option<RangeRequest>) -> Selection {
    let conditions = conditions::from_headers(headers);
    let current = Validators { etag: meta.etag.as_ref(), last_modified: meta.last_modified };
    match conditions.evaluate(current) {
        Precondition::Holds => {}
        Precondition::NotModified => return Selection::NotModified,
        Precondition::Failed => return Selection::PreconditionFailed,
    }
    match range.filter(|_| conditions.range_applies(current)) {
        None => Selection::Whole,
        Some(range) => match range.resolve(meta.size) {
            Some(range) => Selection::Part(ContentRange { range, total: meta.size }),
            None => Selection::Unsatisfiable,
        },
    }
}

/// The head of an answer about an object that exists.
fn head(meta: &ObjectMeta, selection: &Selection, served: Served) -> Response<()> {
    let (status, length, range) = match selection {
        Selection::Whole => (StatusCode::OK, Some(meta.size), None),
        Selection::Part(part) => {
            (StatusCode::PARTIAL_CONTENT, Some(part.range.len()), Some(part.to_string()))
        }
        Selection::Unsatisfiable => {
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(0), Some(format!("bytes */{}", meta.size)))
        }
        Selection::NotModified => (StatusCode::NOT_MODIFIED, None, None),
        Selection::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, Some(0), None),
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: Option<&str>| {
        // What cannot stand in a header field is left out.
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_LENGTH, length.map(|length| length.to_string()).as_deref());
    set(CONTENT_RANGE, range.as_deref());
    set(ACCEPT_RANGES, Some("bytes"));
    set(ETAG, meta.etag.as_ref().map(ETag::as_str));
    set(LAST_MODIFIED, meta.last_modified.map(httpdate::fmt_http_date).as_deref());
    if status.is_success() {
        set(CONTENT_TYPE, meta.content_type.as_deref());
        set(CONTENT_ENCODING, meta.content_encoding.as_deref());
    }
    match served {
        Served::Hit(age) => {
            set(X_CACHE, Some(&format!("Hit from {NAME}")));
            set(AGE, Some(&age.as_secs().to_string()));
        }
        Served::Miss => set(X_CACHE, Some(&format!("Miss from {NAME}"))),
    }
    response
}

/// What the CDN makes of a failure of the origin.
fn failure(error: &StorageError) -> (Outcome, Response<ObjectBody>) {
    let (outcome, status, words) = match error.kind {
        StorageErrorKind::NotFound => {
            (Outcome::Missing, StatusCode::NOT_FOUND, "There is no such object.")
        }
        StorageErrorKind::AccessDenied => {
            (Outcome::Denied, StatusCode::FORBIDDEN, "The origin denies access.")
        }
        StorageErrorKind::RangeNotSatisfiable { size } => {
            let mut response =
                text(StatusCode::RANGE_NOT_SATISFIABLE, "The range lies outside of the object.");
            let total = size.map_or_else(|| "*".to_owned(), |size| size.to_string());
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{total}")) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
            return (Outcome::Miss, response);
        }
        StorageErrorKind::Timeout => (
            Outcome::OriginFailed,
            StatusCode::GATEWAY_TIMEOUT,
            "The origin did not answer in time.",
        ),
        StorageErrorKind::NotModified
        | StorageErrorKind::PreconditionFailed
        | StorageErrorKind::Credentials
        | StorageErrorKind::WrongParts
        | StorageErrorKind::NoSuchUpload
        | StorageErrorKind::Unsupported
        | StorageErrorKind::Overloaded
        | StorageErrorKind::Unavailable => {
            (Outcome::OriginFailed, StatusCode::BAD_GATEWAY, "The origin failed.")
        }
    };
    if outcome == Outcome::OriginFailed {
        tracing::warn!(%error, "the origin of the development CDN failed");
    }
    (outcome, text(status, words))
}
