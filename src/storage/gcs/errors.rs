//! What a failed call means. A missing object, a bucket that is not ours and credentials that do
//! not hold must never be confused.

use http::header::CONTENT_RANGE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::domain::ContentRange;
use crate::storage::call::{meaning_of_status, printable};
use crate::storage::{StorageError, StorageErrorKind};

/// The document of a failure.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    code: Option<String>,
    message: Option<String>,
    details: Option<String>,
}

/// The meaning of an answer that is no success.
pub(super) fn answered(status: StatusCode, headers: &HeaderMap, document: &[u8]) -> StorageError {
    let document = std::str::from_utf8(document).unwrap_or_default();
    let failure: Failure = quick_xml::de::from_str(document).unwrap_or_default();
    let mut kind = meaning(status.as_u16(), failure.code.as_deref());
    if let StorageErrorKind::RangeNotSatisfiable { size } = &mut kind {
        let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        *size = range.and_then(ContentRange::parse_unsatisfied);
    }
    let code = failure.code.as_deref().unwrap_or("without an error code");
    let mut detail = format!("{} {}", status.as_u16(), printable(code));
    for text in [failure.message, failure.details].into_iter().flatten() {
        detail.push_str(&format!(": {}", printable(&text)));
    }
    if let Some(id) = headers.get("x-guploader-uploadid").and_then(|id| id.to_str().ok()) {
        detail.push_str(&format!(" (request {})", printable(id)));
    }
    StorageError::new(kind, detail)
}

/// The table: codes of the XML API's reference ("HTTP status and error codes").
fn meaning(status: u16, code: Option<&str>) -> StorageErrorKind {
    use StorageErrorKind as Kind;
    match code.unwrap_or_default() {
        "NoSuchKey" => return Kind::NotFound,
        // The settings are wrong or the bucket is gone: no statement about any one object.
        "NoSuchBucket" => return Kind::Unavailable,
        "AccessDenied" => return Kind::AccessDenied,
        "InvalidSecurity"
        | "AuthenticationRequired"
        | "MissingSecurityHeader"
        | "ExpiredToken"
        | "InvalidToken"
        | "SignatureDoesNotMatch"
        | "RequestTimeTooSkewed"
        | "NotSignedUp"
        | "AccountProblem"
        | "UserProjectAccountProblem"
        | "UserProjectMissing" => return Kind::Credentials,
        "PreconditionFailed" => return Kind::PreconditionFailed,
        "InvalidRange" => return Kind::RangeNotSatisfiable { size: None },
        "RequestTimeout" => return Kind::Timeout,
        "NotImplemented" | "MethodNotAllowed" => return Kind::Unsupported,
        _ => {}
    }
    meaning_of_status(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_the_status_where_there_is_none() {
        use StorageErrorKind as Kind;
        for (status, code, expected) in [
            (404, Some("NoSuchKey"), Kind::NotFound),
            (404, None, Kind::NotFound),
            (404, Some("NoSuchBucket"), Kind::Unavailable),
            (403, Some("AccessDenied"), Kind::AccessDenied),
            (403, Some("InvalidSecurity"), Kind::Credentials),
            (403, Some("SignatureDoesNotMatch"), Kind::Credentials),
            (403, Some("UserProjectAccountProblem"), Kind::Credentials),
            (401, Some("AuthenticationRequired"), Kind::Credentials),
            (401, None, Kind::Credentials),
            (403, None, Kind::Unavailable),
            (301, None, Kind::Unavailable),
            (304, None, Kind::NotModified),
            (412, Some("PreconditionFailed"), Kind::PreconditionFailed),
            (412, None, Kind::PreconditionFailed),
            (416, Some("InvalidRange"), Kind::RangeNotSatisfiable { size: None }),
            (429, Some("SlowDown"), Kind::Unavailable),
            (500, Some("InternalError"), Kind::Unavailable),
            (503, Some("ServiceUnavailable"), Kind::Unavailable),
            (504, None, Kind::Timeout),
        ] {
            assert_eq!(meaning(status, code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn the_log_says_what_the_server_said_on_one_line() {
        let document = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code>\
            <Message>Access\r\ndenied &amp; more.</Message><Details>no storage.objects.get</Details></Error>";
        let error = answered(StatusCode::FORBIDDEN, &HeaderMap::new(), document);
        assert_eq!(error.kind, StorageErrorKind::AccessDenied);
        assert!(error.detail.starts_with("403 AccessDenied: Access"), "{}", error.detail);
        assert!(error.detail.ends_with("& more.: no storage.objects.get"), "{}", error.detail);
        assert!(!error.detail.contains('\n') && !error.detail.contains('\r'));
    }

    #[test]
    fn a_document_that_is_none_leaves_the_status() {
        for document in ["", "<html>no<p>", "not xml", "<Error>", "\u{0}"] {
            let error = answered(StatusCode::NOT_FOUND, &HeaderMap::new(), document.as_bytes());
            assert_eq!(error.kind, StorageErrorKind::NotFound, "{document}");
        }
    }
}
