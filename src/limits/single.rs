//! One bucket for everybody: the limit of an app as a whole.

use std::sync::Arc;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};

use super::bounded_store::put_back;
use super::clock::SharedClock;
use super::{Policy, quota};
use crate::domain::{Rate, RateLimitVerdict};

/// A limit with one bucket.
pub struct SingleLimiter<C: Clock = SharedClock> {
    policy: Policy,
    bucket: OneBucket,
    limiter: governor::RateLimiter<NotKeyed, OneBucket, C, StateInformationMiddleware>,
}

/// The bucket. A clone is another handle of it.
#[derive(Clone, Default)]
struct OneBucket(Arc<InMemoryState>);

impl StateStore for OneBucket {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

impl SingleLimiter {
    /// Makes the limit, with a full bucket. `limit` is its name in answers and metrics.
    #[must_use]
    pub fn new(limit: &'static str, rate: Rate) -> Self {
        Self::with_clock(limit, rate, SharedClock)
    }
}

impl<C: Clock> SingleLimiter<C> {
    /// The same, by another clock.
    #[must_use]
    pub fn with_clock(limit: &'static str, rate: Rate, clock: C) -> Self {
        let bucket = OneBucket::default();
        let limiter = governor::RateLimiter::new(quota(rate), bucket.clone(), clock);
        Self { policy: Policy { limit, rate }, bucket, limiter }
    }

    /// Puts a token back that was taken: what it was taken for was not done.
    pub fn give_back(&self) {
        put_back(&self.bucket.0, self.policy.rate.interval().into());
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The verdict again, if there is none.
    pub fn check(&self) -> Result<RateLimitVerdict, RateLimitVerdict> {
        match self.limiter.check() {
            Ok(state) => Ok(self.policy.admitted(&state)),
            Err(until) => {
                Err(self.policy.refused(until.wait_time_from(self.limiter.clock().now())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(rate: &str, burst: u32) -> (SingleLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate::parse(rate, burst).unwrap();
        (SingleLimiter::with_clock("app", rate, clock.clone()), clock)
    }

    #[test]
    fn the_bucket_empties_refuses_and_refills() {
        let (limiter, clock) = limiter("60/m", 3);
        for left in [2, 1, 0] {
            let verdict = limiter.check().unwrap();
            assert_eq!(verdict.remaining, left);
            let wait = if left == 0 { 1 } else { 0 };
            assert_eq!(verdict.retry_after, Duration::from_secs(wait), "{left} left");
        }
        let refused = limiter.check().unwrap_err();
        let expected = RateLimitVerdict {
            limit: "app",
            quota: 3,
            window: Duration::from_secs(3),
            remaining: 0,
            retry_after: Duration::from_secs(1),
        };
        assert_eq!(refused, expected);

        clock.advance(Duration::from_millis(999));
        assert!(limiter.check().is_err());
        clock.advance(Duration::from_millis(1));
        assert_eq!(limiter.check().unwrap().remaining, 0);
        clock.advance(Duration::from_mins(10));
        assert_eq!(limiter.check().unwrap().remaining, 2, "a bucket does not overflow");
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let (limiter, clock) = limiter("60/m", 2);
        limiter.give_back();
        for _ in 0..10 {
            assert_eq!(limiter.check().unwrap().remaining, 1);
            limiter.give_back();
        }
        limiter.check().unwrap();
        limiter.check().unwrap();
        assert!(limiter.check().is_err(), "a bucket of two never holds three");
        limiter.give_back();
        assert_eq!(limiter.check().unwrap().remaining, 0);
        clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(limiter.check().unwrap().remaining, 0, "the refill goes on as before");
    }

    #[test]
    fn waiting_as_long_as_told_is_enough() {
        for (rate, burst) in [("60/m", 5), ("7/h", 2), ("1000/s", 4), ("3/s", 1)] {
            let (limiter, clock) = limiter(rate, burst);
            for _ in 0..burst {
                clock.advance(Duration::from_micros(137));
                limiter.check().unwrap();
            }
            let refused = limiter.check().unwrap_err();
            clock.advance(refused.retry_after);
            let admitted = limiter.check().unwrap_or_else(|_| panic!("{rate} with {burst}"));
            if admitted.remaining == 0 {
                clock.advance(admitted.retry_after);
                assert!(limiter.check().is_ok(), "{rate} with {burst}");
            }
        }
    }
}
