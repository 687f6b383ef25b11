//! The only place where an error gets a status: `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use crate::domain::{Error, InvalidFileName};
use crate::log::RequestId;

use super::body::ReplyBody;
use super::limits;

/// Every refusal that a request can get: those of the actions, and those of HTTP itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The application refused, or something under it failed.
    #[error(transparent)]
    Action(#[from] Error),
    /// The body is no JSON object of the right form.
    #[error("the body is not the JSON object that this endpoint takes: {0}")]
    InvalidJson(String),
    /// No owner was named.
    #[error("the header X_Owner_Id is missing: it names the owner of the upload")]
    MissingOwnerId,
    /// The owner's name is malformed.
    #[error("X_Owner_Id takes 1 to 128 visible ASCII characters")]
    InvalidOwnerId,
    /// Two owners were named, or a proxy may have dropped one.
    #[error("send X_Owner_Id (or X-Owner-Id) once, and do not name it in Connection")]
    AmbiguousOwnerId,
    /// The request is malformed in a way that no honest client's is.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Whoever asks did not prove who it is.
    #[error("prove who you are: send the credential that this endpoint takes")]
    Unauthenticated,
    /// What it sent to prove it does not prove it. Why, only the metrics say.
    #[error("this credential is not valid here, or not any more: get another one")]
    InvalidCredential,
    /// Nobody can say whether a credential is valid.
    #[error("whether the credential is valid cannot be found out at the moment: try again")]
    IdentityUnavailable,
    /// Nobody can prove who it is.
    #[error("nobody can prove here whose an image is: the app's file has no [Identity]")]
    NoIdentity,
    /// The signature of a URL is not one that was given for it, or has ended.
    #[error("this signed URL is not valid, or not any more: ask for another one")]
    InvalidSignature,
    /// There is nothing at this path.
    #[error("there is nothing at this path")]
    UnknownRoute,
    /// The path does not take this method.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The methods that it takes.
        allow: &'static str,
    },
    /// The request did not arrive in time.
    #[error("the request did not arrive in time")]
    RequestTimeout,
    /// The body is too large.
    #[error("the body may have at most {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The URI is too long.
    #[error("the request target may have at most 2048 bytes")]
    UriTooLong,
    /// The headers are too large.
    #[error("the headers may have at most 16 KiB together")]
    HeadersTooLarge,
    /// Something was expected that this server does not do.
    #[error("the only expectation that is met is 100-continue")]
    ExpectationFailed,
    /// The gateway is at its capacity.
    #[error("the gateway is at its capacity: try again in a moment")]
    Overloaded,
    /// The request has been here before.
    #[error("the request came around: the CDN's origin is this gateway itself")]
    LoopDetected,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    success: bool,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(rename = "requestID")]
    request_id: &'a str,
}

impl Problem {
    /// The stable code of the contract.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Action(error) => error.code(),
            Self::InvalidJson(_) => "invalid_json",
            Self::MissingOwnerId => "missing_owner_id",
            Self::InvalidOwnerId => "invalid_owner_id",
            Self::AmbiguousOwnerId => "ambiguous_owner_id",
            Self::BadRequest(_) => "invalid_request",
            Self::Unauthenticated | Self::InvalidCredential => "unauthenticated",
            Self::IdentityUnavailable => "identity_unavailable",
            Self::NoIdentity | Self::InvalidSignature => "forbidden",
            Self::UnknownRoute => "unknown_route",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ExpectationFailed => "expectation_failed",
            Self::Overloaded => "overloaded",
            Self::LoopDetected => "loop_detected",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Action(error) => status_of(error),
            Self::InvalidJson(_)
            | Self::MissingOwnerId
            | Self::InvalidOwnerId
            | Self::AmbiguousOwnerId
            | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::InvalidCredential => StatusCode::UNAUTHORIZED,
            Self::NoIdentity | Self::InvalidSignature => StatusCode::FORBIDDEN,
            Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::Overloaded | Self::IdentityUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
        }
    }

    /// Whether the connection must not be used for another request, because what follows on it
    /// may be a part of this one.
    const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::RequestTimeout
                | Self::BodyTooLarge { .. }
                | Self::UriTooLong
                | Self::HeadersTooLarge
        )
    }

    /// The complete answer.
    #[must_use]
    pub fn into_response(self, request_id: &RequestId) -> Response<ReplyBody> {
        let status = self.status();
        let document = Document {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            success: false,
            code: self.code(),
            reason: self.reason(),
            request_id: request_id.as_str(),
        };
        let json = serde_json::to_vec(&document).expect("strings and numbers are valid JSON");
        let mut response = Response::new(ReplyBody::full(Bytes::from(json)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.add_headers(headers);
        response
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Action(Error::VerificationFailed(reason)) => Some(reason.as_str()),
            _ => None,
        }
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        match self {
            Self::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // RFC 6750 §3.1: the error only where something was presented.
            Self::InvalidCredential => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::MethodNotAllowed { allow } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::Overloaded
            | Self::IdentityUnavailable
            | Self::Action(
                Error::RecordsUnavailable
                | Error::Overloaded
                | Error::StorageFailed
                | Error::StorageTimeout,
            ) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Action(Error::RangeNotSatisfiable { size }) => {
                let value = HeaderValue::try_from(format!("bytes */{size}"));
                headers.insert(CONTENT_RANGE, value.expect("digits are valid in a header"));
            }
            Self::Action(Error::RateLimited(verdict)) => {
                headers.insert(RETRY_AFTER, verdict.retry_after.as_secs().max(1).into());
                limits::add_headers(headers, verdict);
            }
            _ => {}
        }
    }
}

const fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::InvalidRequest(_)
        | Error::InvalidFileName(
            InvalidFileName::Malformed(_) | InvalidFileName::UnknownExtension,
        )
        | Error::UnsupportedImageType(_)
        | Error::TypeMismatch { .. }
        | Error::SizeRequired
        | Error::UnsupportedConstraint(_)
        | Error::InvalidKey => StatusCode::BAD_REQUEST,
        Error::PublicUploadDisabled | Error::Forbidden => StatusCode::FORBIDDEN,
        Error::UnknownApp | Error::NotFound | Error::UploadNotFound => StatusCode::NOT_FOUND,
        Error::NotUploaded
        | Error::Conflict
        | Error::IdempotencyConflict
        | Error::WrongParts(_) => StatusCode::CONFLICT,
        Error::UploadExpired => StatusCode::GONE,
        Error::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Error::FileTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Error::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        Error::VerificationFailed(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Error::MultipartUnsupported => StatusCode::NOT_IMPLEMENTED,
        Error::StorageFailed => StatusCode::BAD_GATEWAY,
        Error::RecordsUnavailable | Error::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Error::StorageTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}
