//! Answers of providers that the tests cannot reach, as their documentation and their users' logs
//! show them: not tried by this project. Codes and statuses are the providers'; a message is theirs
//! where a source stands with it.

use super::answer;
use crate::storage::StorageErrorKind;

/// One answer, and what it must mean.
pub(super) struct Recorded {
    /// Whose it is, and to what.
    pub(super) what: &'static str,
    /// Status line and headers, without the length.
    pub(super) head: &'static str,
    pub(super) body: &'static str,
    pub(super) meaning: StorageErrorKind,
}

impl Recorded {
    /// As it goes over the wire.
    pub(super) fn on_the_wire(&self) -> String {
        answer(&format!("{}\r\nContent-Type: application/xml", self.head), self.body)
    }
}

/// Cloudflare R2. The form and the first body: "Error codes", "How errors are returned"; codes and
/// statuses: the tables of the same page, as of February 2026.
/// <https://developers.cloudflare.com/r2/api/error-codes/>
pub(super) const R2: &[Recorded] = &[
    Recorded {
        what: "R2: a missing key",
        head: "404 Not Found",
        body: r#"<?xml version="1.0" encoding="UTF-8"?>
<Error>
  <Code>NoSuchKey</Code>
  <Message>The specified key does not exist.</Message>
</Error>"#,
        meaning: StorageErrorKind::NotFound,
    },
    Recorded {
        what: "R2: a missing bucket",
        head: "404 Not Found",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
    Recorded {
        what: "R2: a token without the permission",
        head: "403 Forbidden",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"#,
        meaning: StorageErrorKind::AccessDenied,
    },
    Recorded {
        what: "R2: an unknown token",
        head: "401 Unauthorized",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>Unauthorized</Code><Message>Unauthorized</Message></Error>"#,
        meaning: StorageErrorKind::Credentials,
    },
    Recorded {
        what: "R2: a wrong secret",
        head: "403 Forbidden",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided. Check your secret access key and signing method. </Message></Error>"#,
        meaning: StorageErrorKind::Credentials,
    },
    Recorded {
        what: "R2: a clock that is wrong",
        head: "400 Bad Request",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>ExpiredRequest</Code><Message>Request has expired</Message></Error>"#,
        meaning: StorageErrorKind::Credentials,
    },
    Recorded {
        what: "R2: an account without a subscription",
        head: "403 Forbidden",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>NotEntitled</Code><Message>Not entitled</Message></Error>"#,
        meaning: StorageErrorKind::Credentials,
    },
    Recorded {
        what: "R2: a condition that does not hold",
        head: "412 Precondition Failed",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>PreconditionFailed</Code><Message>At least one of the pre-conditions you specified did not hold.</Message></Error>"#,
        meaning: StorageErrorKind::PreconditionFailed,
    },
    Recorded {
        what: "R2: a range behind the end",
        head: "416 Range Not Satisfiable",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message></Error>"#,
        meaning: StorageErrorKind::RangeNotSatisfiable { size: None },
    },
    Recorded {
        what: "R2: an object under a bucket lock",
        head: "403 Forbidden",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>ObjectLockedByBucketPolicy</Code><Message>The object is locked by the bucket policy.</Message></Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
    // With the text of <https://github.com/cloudflare/cloudflare-docs/issues/4508>.
    Recorded {
        what: "R2: a header that it does not have",
        head: "501 Not Implemented",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>NotImplemented</Code><Message>Header 'x-amz-checksum-algorithm' with value 'SHA256' not implemented</Message></Error>"#,
        meaning: StorageErrorKind::Unsupported,
    },
    Recorded {
        what: "R2: more than one write a second to a key",
        head: "429 Too Many Requests",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>TooManyRequests</Code><Message>Reduce your concurrent request rate for the same object.</Message></Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
    Recorded {
        what: "R2: an outage",
        head: "503 Service Unavailable",
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>ServiceUnavailable</Code><Message>Service is temporarily unavailable.</Message></Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
];

/// Backblaze B2. The form: "Call the S3-Compatible API", which says that it answers as Amazon's does.
/// <https://www.backblaze.com/docs/cloud-storage-call-the-s3-compatible-api>
pub(super) const B2: &[Recorded] = &[
    Recorded {
        what: "B2: a missing key",
        head: "404 Not Found",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>NoSuchKey</Code>
    <Message>Key not found</Message>
</Error>"#,
        meaning: StorageErrorKind::NotFound,
    },
    // <https://github.com/WWBN/AVideo/issues/5884>
    Recorded {
        what: "B2: a bucket from before the protocol",
        head: "403 Forbidden",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>AccessDenied</Code>
    <Message>Not allowed to access bucket because it is not s3-enabled: </Message>
</Error>"#,
        meaning: StorageErrorKind::AccessDenied,
    },
    // What the master key brings. <https://github.com/muxinc/next-video/issues/216>
    Recorded {
        what: "B2: a key that is none",
        head: "403 Forbidden",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>InvalidAccessKeyId</Code>
    <Message>Malformed Access Key Id</Message>
</Error>"#,
        meaning: StorageErrorKind::Credentials,
    },
    // <https://github.com/backblaze-b2-samples/cloudflare-b2/issues/5>
    Recorded {
        what: "B2: a wrong secret",
        head: "403 Forbidden",
        body: "<Error>\n\t<Code>SignatureDoesNotMatch</Code>\n\t<Message>Signature validation \
               failed</Message>\n</Error>",
        meaning: StorageErrorKind::Credentials,
    },
    // <https://github.com/mastodon/mastodon/issues/30030>
    Recorded {
        what: "B2: a pod that is full",
        head: "503 Service Unavailable",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>ServiceUnavailable</Code>
    <Message>no tomes available</Message>
</Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
    Recorded {
        what: "B2: something inside",
        head: "500 Internal Server Error",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>InternalError</Code>
    <Message>An internal error occurred.  Please retry your upload.</Message>
</Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
    // <https://github.com/sathinduga/obsidian-s3-sync-and-backup/issues/78>
    Recorded {
        what: "B2: a conditional write",
        head: "501 Not Implemented",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>NotImplemented</Code>
    <Message>A header you provided implies functionality that is not implemented</Message>
</Error>"#,
        meaning: StorageErrorKind::Unsupported,
    },
    // <https://github.com/iterate-ch/cyberduck/issues/16107>. A client meets it, not the gateway.
    Recorded {
        what: "B2: a checksum",
        head: "400 Bad Request",
        body: r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Error>
    <Code>InvalidArgument</Code>
    <Message>Unsupported header 'x-amz-checksum-sha256' received for this API call.</Message>
</Error>"#,
        meaning: StorageErrorKind::Unavailable,
    },
];
