//! The outcomes of requests about an image that its owner makes: what exists at 0 from the start.

/// The outcomes of a request to delete an image that has reached an app.
pub(super) const DELETE_OUTCOMES: &[&str] = &[
    "ok",
    "ambiguous_owner_id",
    "conflict",
    "forbidden",
    "identity_unavailable",
    "internal",
    "invalid_key",
    "invalid_owner_id",
    "invalid_request",
    "not_found",
    "rate_limited",
    "records_unavailable",
    "storage_failed",
    "storage_timeout",
    "unauthenticated",
];

/// The outcomes of a request for a signed URL that has reached an app.
pub(super) const SIGNED_URL_OUTCOMES: &[&str] = &[
    "ok",
    "ambiguous_owner_id",
    "body_too_large",
    "forbidden",
    "identity_unavailable",
    "internal",
    "invalid_json",
    "invalid_key",
    "invalid_owner_id",
    "invalid_request",
    "not_found",
    "records_unavailable",
    "request_timeout",
    "unauthenticated",
];
