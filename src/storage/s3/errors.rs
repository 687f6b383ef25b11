//! What a failed S3 call means.
//!
//! The status alone is not enough: a 403 may be about one object or about the credentials, and a
//! 404 about the object or the whole bucket. So the error code decides, and the status where there
//! is none.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::domain::ContentRange;
use crate::storage::call::{meaning_of_status, printable};
use crate::storage::{StorageError, StorageErrorKind};

/// The meaning of a failed call.
pub(super) fn storage_error<E>(error: &SdkError<E, HttpResponse>) -> StorageError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => {
            StorageError::new(StorageErrorKind::Timeout, "no answer in time")
        }
        SdkError::DispatchFailure(failure) => {
            let timed_out = failure.is_timeout();
            let kind =
                if timed_out { StorageErrorKind::Timeout } else { StorageErrorKind::Unavailable };
            let cause = failure.as_connector_error().map_or_else(String::new, |cause| chain(cause));
            StorageError::new(kind, format!("no answer: {cause}"))
        }
        SdkError::ConstructionFailure(_) => StorageError::new(
            StorageErrorKind::Unavailable,
            format!("the request could not be made: {}", chain(error)),
        ),
        SdkError::ServiceError(failure) => answered(failure.raw(), failure.err()),
        // The answer broke off, or is not what the call promises.
        _ => StorageError::new(StorageErrorKind::Unavailable, chain(error)),
    }
}

fn answered<E: ProvideErrorMetadata>(response: &HttpResponse, error: &E) -> StorageError {
    let headers = response.headers();
    said(Said {
        status: response.status().as_u16(),
        code: error.code(),
        message: error.message().unwrap_or_default(),
        document: response.body().bytes().unwrap_or_default(),
        content_range: headers.get("content-range"),
        region: headers.get("x-amz-bucket-region"),
        request: response.request_id(),
    })
}

/// The document of a failure.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    code: Option<String>,
    message: String,
}

/// The meaning of an answer to a read that is no success.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap, document: &[u8]) -> StorageError {
    let text = std::str::from_utf8(document).unwrap_or_default();
    let failure: Failure = quick_xml::de::from_str(text).unwrap_or_default();
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    said(Said {
        status: status.as_u16(),
        code: failure.code.as_deref(),
        message: &failure.message,
        document,
        content_range: header("content-range"),
        region: header("x-amz-bucket-region"),
        request: header("x-amz-request-id"),
    })
}

/// What a server says of a failure.
struct Said<'a> {
    status: u16,
    code: Option<&'a str>,
    message: &'a str,
    document: &'a [u8],
    content_range: Option<&'a str>,
    region: Option<&'a str>,
    request: Option<&'a str>,
}

fn said(said: Said<'_>) -> StorageError {
    let Said { status, code, message, document, content_range, region, request } = said;
    let mut kind = meaning(status, code);
    if let StorageErrorKind::RangeNotSatisfiable { size } = &mut kind {
        *size = object_size(content_range, document);
    }
    let mut detail = format!("{status} {}", printable(code.unwrap_or("without an error code")));
    if let Some(region) = region
        && (300..400).contains(&status)
    {
        detail.push_str(&format!(" (the bucket is in the region {})", printable(region)));
    }
    if !message.is_empty() {
        detail.push_str(&format!(": {}", printable(message)));
    }
    if let Some(id) = request {
        detail.push_str(&format!(" (request {})", printable(id)));
    }
    StorageError::new(kind, detail)
}

/// The table. Codes of the Amazon S3 API reference ("Error responses"), with those of servers that
/// speak its protocol.
pub(super) fn meaning(status: u16, code: Option<&str>) -> StorageErrorKind {
    use StorageErrorKind as Kind;
    match code.unwrap_or_default() {
        "NoSuchKey" | "NoSuchVersion" => return Kind::NotFound,
        // The settings are wrong or the bucket is gone: no statement about any one object.
        "NoSuchBucket" => return Kind::Unavailable,
        "NoSuchUpload" => return Kind::NoSuchUpload,
        "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" => return Kind::WrongParts,
        "AccessDenied" => return Kind::AccessDenied,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed"
        | "AuthorizationHeaderMalformed"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "AccountProblem"
        // Cloudflare's.
        | "Unauthorized"
        | "ExpiredRequest"
        | "NotEntitled" => return Kind::Credentials,
        "PreconditionFailed" => return Kind::PreconditionFailed,
        "InvalidRange" => return Kind::RangeNotSatisfiable { size: None },
        "RequestTimeout" => return Kind::Timeout,
        "NotImplemented" | "MethodNotAllowed" => return Kind::Unsupported,
        _ => {}
    }
    meaning_of_status(status)
}

/// The size of the object that a 416 is about, from its `Content-Range` or from its XML.
fn object_size(content_range: Option<&str>, body: &[u8]) -> Option<u64> {
    content_range.and_then(ContentRange::parse_unsatisfied).or_else(|| {
        let body = std::str::from_utf8(body).ok()?;
        let (_, rest) = body.split_once("<ActualObjectSize>")?;
        let (digits, _) = rest.split_once("</ActualObjectSize>")?;
        digits.parse().ok()
    })
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::call::MAX_MESSAGE_CHARS;

    #[test]
    fn the_code_decides_and_the_status_where_there_is_none() {
        use StorageErrorKind as Kind;
        for (status, code, expected) in [
            (404, Some("NoSuchKey"), Kind::NotFound),
            (404, None, Kind::NotFound),
            (404, Some("NoSuchBucket"), Kind::Unavailable),
            (404, Some("NoSuchUpload"), Kind::NoSuchUpload),
            (403, Some("AccessDenied"), Kind::AccessDenied),
            (403, Some("SignatureDoesNotMatch"), Kind::Credentials),
            (400, Some("ExpiredToken"), Kind::Credentials),
            (403, Some("InvalidObjectState"), Kind::Unavailable),
            (403, None, Kind::Unavailable),
            (401, None, Kind::Credentials),
            (301, Some("PermanentRedirect"), Kind::Unavailable),
            (304, None, Kind::NotModified),
            (412, None, Kind::PreconditionFailed),
            (409, Some("ConditionalRequestConflict"), Kind::Unavailable),
            (416, None, Kind::RangeNotSatisfiable { size: None }),
            (501, Some("NotImplemented"), Kind::Unsupported),
            (500, Some("InternalError"), Kind::Unavailable),
            (503, Some("SlowDown"), Kind::Unavailable),
            (400, Some("RequestTimeout"), Kind::Timeout),
            (200, None, Kind::Unavailable),
        ] {
            assert_eq!(meaning(status, code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn the_size_of_an_unsatisfiable_range() {
        let xml = b"<Error><ActualObjectSize>42</ActualObjectSize></Error>";
        assert_eq!(object_size(Some("bytes */7"), xml), Some(7));
        assert_eq!(object_size(Some("nonsense"), xml), Some(42));
        assert_eq!(object_size(None, b"<Error></Error>"), None);
    }

    #[test]
    fn a_message_is_one_short_line() {
        let hostile = format!("a\r\nb{}", "c".repeat(1_000));
        let text = printable(&hostile);
        assert!(text.starts_with("a  bc") && text.chars().count() == MAX_MESSAGE_CHARS);
    }
}
