//! What the rules of this program can refuse, and what can fail under them. The texts are written
//! for the caller: they say what to change, and never name a host, a path, a key id or a cause.

use std::time::Duration;

use super::InvalidFileName;

/// Why a stored object was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerificationFailure {
    /// It is larger than allowed, or not of the declared size.
    Size,
    /// It is stored under another type than was declared.
    Type,
    /// Its bytes are not of the type it claims.
    Content,
    /// It has more pixels than allowed.
    Dimensions,
    /// It is stored with a `Content-Encoding`.
    Encoding,
    /// Its checksum is not the declared one.
    Checksum,
}

impl VerificationFailure {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 6] =
        [Self::Size, Self::Type, Self::Content, Self::Dimensions, Self::Encoding, Self::Checksum];

    /// The name in answers and in the record store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Type => "type",
            Self::Content => "content",
            Self::Dimensions => "dimensions",
            Self::Encoding => "encoding",
            Self::Checksum => "checksum",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What a rate limit says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitVerdict {
    /// The name of the limit: `owner`, `client_ip`, `app` or `upload`.
    pub limit: &'static str,
    /// The quota: how many requests one window allows.
    pub quota: u32,
    /// The window, in which an empty quota is full again.
    pub window: Duration,
    /// How many requests are left now.
    pub remaining: u32,
    /// After how long at least one more request is allowed; zero while some are left.
    pub retry_after: Duration,
}

/// Everything that an action can answer instead of what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is not the JSON object that the endpoint takes.
    #[error("{0}")]
    InvalidRequest(String),
    /// The declared file name cannot be accepted.
    #[error("{0}")]
    InvalidFileName(InvalidFileName),
    /// The image type is unknown, or not one that the app accepts.
    #[error("{0}")]
    UnsupportedImageType(String),
    /// The declared type contradicts the extension.
    #[error(
        "contentType is {declared}, but a file named .{extension} is {expected}: make the two agree"
    )]
    TypeMismatch {
        /// What the client declared.
        declared: String,
        /// The extension of the file name.
        extension: &'static str,
        /// The type that the extension stands for.
        expected: &'static str,
    },
    /// The app wants the size declared, or the file comes in parts.
    #[error("`size` is required here: the length of the file in bytes")]
    SizeRequired,
    /// The provider cannot enforce what was asked for.
    #[error("{0}")]
    UnsupportedConstraint(String),
    /// The path of the URL is no key.
    #[error("the path has dot segments, backslashes, empty segments or doubly encoded characters")]
    InvalidKey,
    /// The app does not take uploads from the public.
    #[error("this app does not accept public uploads")]
    PublicUploadDisabled,
    /// Whoever asks has proved who it is, and may not do this.
    #[error("this credential gives no right to that: it is another owner's, or too weak")]
    Forbidden,
    /// No such app.
    #[error("there is no app of that name")]
    UnknownApp,
    /// No such image.
    #[error("there is no such image")]
    NotFound,
    /// No such upload, or no right to see it.
    #[error("there is no such upload, or the upload token does not belong to it")]
    UploadNotFound,
    /// Finalize before the file arrived.
    #[error(
        "the file has not arrived in storage yet: upload it first (in parts: complete it), then finalize"
    )]
    NotUploaded,
    /// The upload ended without a file.
    #[error("the upload has expired: ask for a new one")]
    UploadExpired,
    /// The upload is not where the request takes it to be, perhaps since a moment ago.
    #[error("the upload has moved on, perhaps by a request at the same time: ask how it stands")]
    Conflict,
    /// Another request was made under the same `Idempotency-Key`.
    #[error(
        "this Idempotency-Key was used for another request in the last 24 hours: take a new key"
    )]
    IdempotencyConflict,
    /// The parts are not those that storage has.
    #[error("{0}")]
    WrongParts(String),
    /// The app's storage takes no multipart uploads.
    #[error("this app's storage takes no multipart uploads: upload the file in one piece")]
    MultipartUnsupported,
    /// The declared or stored file is too large.
    #[error("the file may have at most {max_bytes} bytes")]
    FileTooLarge {
        /// The limit of the app.
        max_bytes: u64,
    },
    /// The stored object is not what was promised.
    #[error("the stored file was refused: {}", .0.as_str())]
    VerificationFailed(VerificationFailure),
    /// The client's precondition does not hold.
    #[error("the image is another version than the one asked for")]
    PreconditionFailed,
    /// The range lies outside of the object.
    #[error("the range lies outside of the image")]
    RangeNotSatisfiable {
        /// The size of the object in bytes.
        size: u64,
    },
    /// Too many requests.
    #[error("too many requests: wait for the time that Retry-After gives")]
    RateLimited(RateLimitVerdict),
    /// The record store does not answer.
    #[error("the records of uploads cannot be reached at the moment: try again")]
    RecordsUnavailable,
    /// Storage has as many requests as it may have.
    #[error("more images are asked for than storage can deliver: try again after Retry-After")]
    Overloaded,
    /// Storage failed.
    #[error("storage did not deliver the image: try again")]
    StorageFailed,
    /// Storage did not answer in time.
    #[error("storage did not answer in time: try again")]
    StorageTimeout,
    /// A bug, or a broken machine.
    #[error("something went wrong here; the request id finds it in the log")]
    Internal,
}

impl Error {
    /// The stable code of the contract.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidFileName(InvalidFileName::Malformed(_)) => "invalid_file_name",
            Self::InvalidFileName(InvalidFileName::UnknownExtension)
            | Self::UnsupportedImageType(_) => "unsupported_image_type",
            Self::TypeMismatch { .. } => "type_mismatch",
            Self::SizeRequired => "size_required",
            Self::UnsupportedConstraint(_) => "unsupported_constraint",
            Self::InvalidKey => "invalid_key",
            Self::PublicUploadDisabled => "public_upload_disabled",
            Self::Forbidden => "forbidden",
            Self::UnknownApp => "unknown_app",
            Self::NotFound => "not_found",
            Self::UploadNotFound => "upload_not_found",
            Self::NotUploaded => "not_uploaded",
            Self::UploadExpired => "upload_expired",
            Self::Conflict => "conflict",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::WrongParts(_) => "wrong_parts",
            Self::MultipartUnsupported => "multipart_unsupported",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::VerificationFailed(_) => "verification_failed",
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::RateLimited(_) => "rate_limited",
            Self::RecordsUnavailable => "records_unavailable",
            Self::Overloaded => "overloaded",
            Self::StorageFailed => "storage_failed",
            Self::StorageTimeout => "storage_timeout",
            Self::Internal => "internal",
        }
    }
}
