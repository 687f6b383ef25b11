//! The outcomes of requests, by what they ask for: what exists at 0 from the start.

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

/// The outcomes of a presign that has reached an app.
pub(super) const PRESIGN_OUTCOMES: &[&str] = &[
    "ok",
    "ambiguous_owner_id",
    "body_too_large",
    "conflict",
    "file_too_large",
    "idempotency_conflict",
    "internal",
    "invalid_file_name",
    "invalid_json",
    "invalid_owner_id",
    "invalid_request",
    "missing_owner_id",
    "overloaded",
    "public_upload_disabled",
    "rate_limited",
    "records_unavailable",
    "request_timeout",
    "size_required",
    "storage_failed",
    "type_mismatch",
    "unsupported_constraint",
    "unsupported_image_type",
    "upload_expired",
];

/// The outcomes of a request for an upload in parts that has reached an app, by what it asks for. To
/// begin one can come to all that a presign can, and more.
pub(super) const MULTIPART_OUTCOMES: &[(&str, &[&str])] = &[
    ("begin", PRESIGN_OUTCOMES),
    ("begin", &["multipart_unsupported", "storage_timeout"]),
    (
        "part_urls",
        &[
            "ok",
            "body_too_large",
            "conflict",
            "internal",
            "invalid_json",
            "invalid_request",
            "rate_limited",
            "records_unavailable",
            "request_timeout",
            "storage_failed",
            "upload_expired",
            "upload_not_found",
        ],
    ),
    (
        "parts",
        &[
            "ok",
            "conflict",
            "internal",
            "invalid_request",
            "rate_limited",
            "records_unavailable",
            "storage_failed",
            "storage_timeout",
            "upload_expired",
            "upload_not_found",
        ],
    ),
    (
        "complete",
        &[
            "ok",
            "body_too_large",
            "conflict",
            "internal",
            "invalid_json",
            "invalid_request",
            "rate_limited",
            "records_unavailable",
            "request_timeout",
            "storage_failed",
            "storage_timeout",
            "upload_expired",
            "upload_not_found",
            "verification_failed",
            "wrong_parts",
        ],
    ),
];
