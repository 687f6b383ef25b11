//! Rate limits, in the memory of this process: one bucket for an app as a whole
//! ([`SingleLimiter`]), or one for each owner, client address or upload ([`KeyedLimiter`]). Those that
//! an upload is counted by when it begins are taken from together ([`Quotas`]).
//!
//! A bucket holds [`Rate::burst`](crate::domain::Rate::burst) tokens and refills evenly; a request takes one. What a check says
//! is a [`RateLimitVerdict`], in the terms of draft-ietf-httpapi-ratelimit-headers: the quota is the
//! whole bucket, the window the time in which an empty bucket fills up.
//!
//! One more limit knows no rate: how many requests are out at once ([`ConcurrencyLimit`]).

mod bounded_store;
mod clock;
mod concurrency;
mod keyed;
mod quotas;
mod single;

use std::time::Duration;

use governor::Quota;
use governor::middleware::StateSnapshot;

use crate::domain::{Rate, RateLimitVerdict};

pub use clock::SharedClock;
pub use concurrency::{ConcurrencyBounds, ConcurrencyLimit, Overloaded, Permit};
pub use keyed::{Bucket, DEFAULT_MAX_KEYS, KeyedLimiter};
pub use quotas::{Admission, Quotas, UploadRates};
pub use single::SingleLimiter;

/// A limit's name and rate: what the verdicts of one limiter have in common.
#[derive(Debug, Clone, Copy)]
struct Policy {
    limit: &'static str,
    rate: Rate,
}

impl Policy {
    /// The verdict on a request that got a token.
    fn admitted(self, state: &StateSnapshot) -> RateLimitVerdict {
        let remaining = state.remaining_burst_capacity();
        // After the last token the next one is at most one interval away.
        let wait = if remaining == 0 { self.rate.interval() } else { Duration::ZERO };
        self.verdict(remaining, whole_seconds(wait))
    }

    /// The verdict on a request that got none; `wait` is the time until there is one.
    fn refused(self, wait: Duration) -> RateLimitVerdict {
        // A wait of zero only means that time went on since the decision.
        self.verdict(0, whole_seconds(wait).max(Duration::from_secs(1)))
    }

    fn verdict(self, remaining: u32, retry_after: Duration) -> RateLimitVerdict {
        RateLimitVerdict {
            limit: self.limit,
            quota: self.rate.burst(),
            window: self.rate.refill_time(),
            remaining,
            retry_after,
        }
    }
}

/// A rate, as the limiter takes it.
fn quota(rate: Rate) -> Quota {
    Quota::with_period(rate.interval())
        .expect("an interval is at least a microsecond")
        .allow_burst(rate.burst_size())
}

/// Rounds up to whole seconds, the unit of `Retry-After`.
fn whole_seconds(wait: Duration) -> Duration {
    let started = u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(wait.as_secs().saturating_add(started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (59_500, 60)] {
            let rounded = whole_seconds(Duration::from_millis(millis));
            assert_eq!(rounded, Duration::from_secs(seconds), "{millis} ms");
        }
    }
}
