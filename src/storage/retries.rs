//! When a failed attempt is tried again, and after how long. Every call of the store may be sent
//! twice: reads, and writes that leave the same state.

use std::time::Duration;

use http::StatusCode;

use crate::domain::EarnedBudget;
use crate::upstream::SendError;

/// The first attempt and two more.
const MAX_ATTEMPTS: u32 = 3;

/// The mean wait before the second attempt is half of this.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);

/// The longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The retries of one store, which its calls earn: a server that is down is not asked three times as
/// often as one that is up.
pub(super) struct Retries {
    budget: EarnedBudget,
}

impl Retries {
    pub(super) const fn new() -> Self {
        Self { budget: EarnedBudget::for_retries() }
    }

    /// How long to wait before the attempt that follows the `failed`th, counted from 1. `chance`
    /// lies between 0 and 1: waits are spread, so that those who failed together do not come back
    /// together.
    pub(super) fn pause(&self, failed: u32, chance: f64) -> Option<Duration> {
        if failed >= MAX_ATTEMPTS || !self.budget.try_spend() {
            return None;
        }
        let longest = INITIAL_BACKOFF.saturating_mul(1 << (failed - 1)).min(MAX_BACKOFF);
        Some(longest.mul_f64(chance.clamp(0.0, 1.0)))
    }

    /// Notes a call.
    pub(super) fn called(&self) {
        self.budget.earn();
    }
}

/// A number between 0 and 1.
pub(super) fn chance() -> f64 {
    // Without randomness the wait is the mean one.
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// Whether another attempt can end better than one that had this answer. The statuses that Google
/// documents as worth a retry ("Retry strategy"); those that Amazon's SDKs try again ("Retry
/// behavior") are among them.
pub(super) const fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502..=504)
}

/// Whether another attempt can end better than one that had no answer.
pub(super) const fn may_connect(error: &SendError) -> bool {
    match error {
        SendError::Resolve(_)
        | SendError::Connect(_)
        | SendError::ConnectTimeout
        | SendError::TlsTimeout
        | SendError::FirstByteTimeout
        | SendError::Reset(_)
        | SendError::Closed => true,
        SendError::Forbidden(_) | SendError::Tls(_) | SendError::Protocol(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let retries = Retries::new();
        assert_eq!(retries.pause(1, 1.0), Some(Duration::from_millis(100)));
        assert_eq!(retries.pause(2, 1.0), Some(Duration::from_millis(200)));
        assert_eq!(retries.pause(1, 0.0), Some(Duration::ZERO));
        assert_eq!(retries.pause(3, 1.0), None);
    }

    #[test]
    fn a_server_that_is_down_is_not_asked_ever_more() {
        let retries = Retries::new();
        let granted = (0..1_000).filter(|_| retries.pause(1, 0.0).is_some()).count();
        assert_eq!(granted, 10, "those of one dropped pool");
        let calls = (0..1_000).filter(|_| {
            retries.called();
            retries.pause(1, 0.0).is_some()
        });
        assert_eq!(calls.count(), 100, "one in ten");
    }

    #[test]
    fn what_is_tried_again() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(may_pass(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 304, 400, 401, 403, 404, 412, 416, 501] {
            assert!(!may_pass(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
