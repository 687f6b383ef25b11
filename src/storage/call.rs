//! What the calls of all providers have in common.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;

use super::{GetOptions, ListPage, Listed, ObjectMeta, ObjectRead, StorageError, StorageErrorKind};
use crate::domain::{ByteRange, ContentRange, ETag, RangeRequest, StoragePath};
use crate::upstream::SendError;

/// The largest page of a listing, by the protocol that S3 and Google share.
pub(super) const MAX_KEYS: u16 = 1_000;

/// How much of a provider's text goes into a log line, in characters.
pub(super) const MAX_MESSAGE_CHARS: usize = 200;

/// Runs a call within the time that it may take, with all its attempts.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {limit:?}, with all attempts");
        Err(StorageError::new(StorageErrorKind::Timeout, detail))
    })
}

/// Asks for an object's metadata with a GET of its first byte: the failure of a HEAD has no body and
/// so no code, and does not say whether the object, the bucket or the credentials are meant.
pub(super) async fn head_by_get<F>(
    get: impl Fn(GetOptions) -> F,
) -> Result<ObjectMeta, StorageError>
where
    F: Future<Output = Result<ObjectRead, StorageError>>,
{
    let first_byte =
        GetOptions { range: Some(RangeRequest::Between(0, 0)), ..GetOptions::default() };
    match get(first_byte).await {
        Ok(read) => Ok(read.meta),
        Err(StorageError { kind: StorageErrorKind::RangeNotSatisfiable { .. }, .. }) => {
            // An empty object: it is there now, though it was not a moment ago.
            get(GetOptions::default()).await.map(|read| read.meta)
        }
        Err(error) => Err(error),
    }
}

/// Whether the part that came is the part that was asked for.
fn check_part(
    part: Option<ContentRange>,
    sent: u64,
    asked: Option<RangeRequest>,
) -> Result<(), StorageError> {
    let Some(part) = part else { return Ok(()) };
    let expected: Option<ByteRange> = asked.and_then(|range| range.resolve(part.total));
    if expected != Some(part.range) || part.range.len() != sent {
        return Err(nonsense("a 206 with another part than the one that was asked for"));
    }
    Ok(())
}

/// Whether the version that came is one that was asked for: some servers ignore the conditions.
pub(super) fn check_version(meta: &ObjectMeta, options: &GetOptions) -> Result<(), StorageError> {
    if options.if_match.is_some() && options.if_match != meta.etag {
        let detail = "the server ignored If-Match and sent another version";
        return Err(StorageError::new(StorageErrorKind::PreconditionFailed, detail));
    }
    if let Some(etag) = &meta.etag
        && options.if_none_match.iter().any(|known| known.matches_weakly(etag))
    {
        let detail = "the server ignored If-None-Match and sent a version that is known";
        return Err(StorageError::new(StorageErrorKind::NotModified, detail));
    }
    Ok(())
}

/// A page of a listing, from what the server says of its end.
pub(super) fn page(
    objects: Vec<Listed>,
    is_truncated: bool,
    next: Option<String>,
) -> Result<ListPage, StorageError> {
    match (is_truncated, next) {
        (false, _) => Ok(ListPage { objects, next: None }),
        (true, Some(next)) => Ok(ListPage { objects, next: Some(next) }),
        (true, None) => {
            Err(nonsense("a page that is not the last one, without the next one's token"))
        }
    }
}

/// A name in a listing. With `encoding-type=url` it is encoded as in an HTML form.
pub(super) fn listed_name(name: &str, encoded: bool) -> Result<StoragePath, StorageError> {
    if !encoded {
        return Ok(StoragePath::from_listing(name));
    }
    let spaced = name.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| nonsense("a listed name that is not UTF-8"))?;
    Ok(StoragePath::from_listing(&decoded))
}

/// What the status of a failure means, where no code says more. It is the same for both protocols.
pub(super) fn meaning_of_status(status: u16) -> StorageErrorKind {
    use StorageErrorKind as Kind;
    match status {
        304 => Kind::NotModified,
        401 => Kind::Credentials,
        404 => Kind::NotFound,
        405 | 501 => Kind::Unsupported,
        412 => Kind::PreconditionFailed,
        416 => Kind::RangeNotSatisfiable { size: None },
        408 | 504 => Kind::Timeout,
        // A redirect to another region, a throttle, a 5xx, a 403 that does not say what is denied
        // (an archived object, a disabled account, a firewall): none of them says that there is no
        // such object.
        _ => Kind::Unavailable,
    }
}

/// An answer that is not what the protocol promises.
pub(super) fn nonsense(what: &str) -> StorageError {
    let detail = format!("the server sent {}", printable(what));
    StorageError::new(StorageErrorKind::Unavailable, detail)
}

/// A text of a provider's in a form that is fit for a log line.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_MESSAGE_CHARS).map(clean).collect()
}

/// The meaning of no answer.
pub(super) fn unanswered(error: &SendError) -> StorageError {
    let kind = match error {
        SendError::ConnectTimeout | SendError::TlsTimeout | SendError::FirstByteTimeout => {
            StorageErrorKind::Timeout
        }
        SendError::Forbidden(_)
        | SendError::Resolve(_)
        | SendError::Connect(_)
        | SendError::Tls(_)
        | SendError::Reset(_)
        | SendError::Closed
        | SendError::Protocol(_) => StorageErrorKind::Unavailable,
    };
    StorageError::new(kind, format!("no answer: {}", printable(&error.to_string())))
}

/// A header of an answer as text, if it is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A header of an answer as a number.
pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    text(headers, name).and_then(|value| value.parse().ok())
}

/// A header of an answer as a date.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    text(headers, name).and_then(|value| httpdate::parse_http_date(value).ok())
}

/// The conditions and the range of a read, as a request has them.
pub(super) fn read_headers(
    options: &GetOptions,
) -> Result<Vec<(HeaderName, HeaderValue)>, StorageError> {
    let tags: Vec<_> = options.if_none_match.iter().map(ETag::as_str).collect();
    let given = [
        (RANGE, options.range.map(|range| range.to_string())),
        (IF_MATCH, options.if_match.as_ref().map(|etag| etag.as_str().to_owned())),
        (IF_NONE_MATCH, (!tags.is_empty()).then(|| tags.join(", "))),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given
        .map(|(name, value)| match HeaderValue::try_from(value) {
            Ok(value) => Ok((name, value)),
            Err(_) => {
                let detail = format!("{name} cannot carry such a value");
                Err(StorageError::new(StorageErrorKind::Unsupported, detail))
            }
        })
        .collect()
}

/// What an answer to a read holds: how many bytes, and of which part.
pub(super) fn extent(
    status: StatusCode,
    headers: &HeaderMap,
    asked: Option<RangeRequest>,
) -> Result<(u64, Option<ContentRange>), StorageError> {
    let sent =
        number(headers, &CONTENT_LENGTH).ok_or_else(|| nonsense("an object without a length"))?;
    let part = match status {
        StatusCode::PARTIAL_CONTENT => Some(
            text(headers, &CONTENT_RANGE)
                .and_then(ContentRange::parse)
                .ok_or_else(|| nonsense("a 206 that does not say which part it holds"))?,
        ),
        StatusCode::OK => None,
        status => return Err(nonsense(&format!("{status} to a GET"))),
    };
    check_part(part, sent, asked)?;
    Ok((part.map_or(sent, |part| part.total), part))
}
