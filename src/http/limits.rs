//! The rate-limit headers of draft-ietf-httpapi-ratelimit-headers-11: lists, with an item for each
//! limit that a request took from, or the one that refused it.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::RateLimitVerdict;

/// `RateLimit-Policy`
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How long the item of a limit is, in most cases.
const USUAL_ITEM: usize = 32;

/// Says what the limits are, and how much of them is left.
pub(super) fn add_headers(headers: &mut HeaderMap, verdicts: &[RateLimitVerdict]) {
    for (name, item) in [(RATELIMIT_POLICY, policy as fn(&_, &mut _)), (RATELIMIT, state)] {
        let mut list = String::with_capacity(USUAL_ITEM * verdicts.len());
        for verdict in verdicts {
            if !list.is_empty() {
                list.push_str(", ");
            }
            list.extend(["\"", verdict.limit, "\""]);
            item(verdict, &mut list);
        }
        if !list.is_empty() {
            headers.insert(name, HeaderValue::try_from(list).expect("names and digits are ASCII"));
        }
    }
}

fn policy(verdict: &RateLimitVerdict, item: &mut String) {
    parameter(item, ";q=", verdict.quota.into());
    parameter(item, ";w=", verdict.window.as_secs().max(1));
}

fn state(verdict: &RateLimitVerdict, item: &mut String) {
    parameter(item, ";r=", verdict.remaining.into());
    // `t` is when at least one more request is possible; nothing to wait for while some are left.
    match verdict.retry_after.as_secs() {
        0 => {}
        wait => parameter(item, ";t=", wait),
    }
}

fn parameter(item: &mut String, name: &str, value: u64) {
    item.push_str(name);
    item.push_str(itoa::Buffer::new().format(value));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_item_for_each_limit() {
        let owner = RateLimitVerdict {
            limit: "owner",
            quota: 20,
            window: Duration::from_secs(20),
            remaining: 19,
            retry_after: Duration::ZERO,
        };
        let app = RateLimitVerdict {
            limit: "app",
            quota: 600,
            window: Duration::from_millis(300),
            remaining: 0,
            retry_after: Duration::from_secs(2),
        };
        for (verdicts, policies, states) in [
            (&[owner][..], r#""owner";q=20;w=20"#, r#""owner";r=19"#),
            (
                &[owner, app],
                r#""owner";q=20;w=20, "app";q=600;w=1"#,
                r#""owner";r=19, "app";r=0;t=2"#,
            ),
        ] {
            let mut headers = HeaderMap::new();
            add_headers(&mut headers, verdicts);
            assert_eq!(headers[RATELIMIT_POLICY], policies);
            assert_eq!(headers[RATELIMIT], states);
        }
        let mut headers = HeaderMap::new();
        add_headers(&mut headers, &[]);
        assert!(headers.is_empty());
    }
}
