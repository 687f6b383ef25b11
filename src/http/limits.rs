//! The rate-limit headers of draft-ietf-httpapi-ratelimit-headers-11.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::RateLimitVerdict;

/// `RateLimit-Policy`
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Says what the limit is, and how much of it is left.
pub(super) fn add_headers(headers: &mut HeaderMap, verdict: &RateLimitVerdict) {
    let RateLimitVerdict { limit, quota, remaining, .. } = verdict;
    let window = verdict.window.as_secs().max(1);
    let policy = format!("\"{limit}\";q={quota};w={window}");
    // `t` is when at least one more request is possible; nothing to wait for while some are left.
    let state = match verdict.retry_after.as_secs() {
        0 => format!("\"{limit}\";r={remaining}"),
        wait => format!("\"{limit}\";r={remaining};t={wait}"),
    };
    for (name, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, state)] {
        headers.insert(name, HeaderValue::try_from(value).expect("names and digits are ASCII"));
    }
}
