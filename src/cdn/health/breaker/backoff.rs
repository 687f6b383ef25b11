//! How long the breaker stays open.

use std::time::{Duration, Instant};

/// The first time: long enough that a restart or a dropped route is over, short enough that a
/// passing fault costs the CDN little traffic.
const FIRST: Duration = Duration::from_millis(500);

/// The longest: the CDN is asked again at least this often, so that its return is noticed within
/// ten seconds, with the second that a probe may take. It bounds `Retry-After` as well.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// A quarter of each time is left to chance, so that many gateways do not probe in step.
const JITTER: f64 = 0.25;

/// After this long in good health the next fault starts from [`FIRST`] again. Sooner, the CDN has
/// not recovered but flaps, and every opening costs some reads their time.
const CALM: Duration = Duration::from_secs(10);

/// The times for which the breaker opens: each twice as long as the one before, up to a limit.
#[derive(Debug)]
pub(super) struct Backoff {
    openings: u32,
    closed_at: Option<Instant>,
    random: fastrand::Rng,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { openings: 0, closed_at: None, random: fastrand::Rng::with_seed(seed) }
    }

    /// The breaker closes.
    pub(super) fn closed(&mut self, now: Instant) {
        self.closed_at = Some(now);
    }

    /// The breaker opens: for how long?
    pub(super) fn opened(&mut self, now: Instant) -> Duration {
        if let Some(closed_at) = self.closed_at.take()
            && now.saturating_duration_since(closed_at) >= CALM
        {
            self.openings = 0;
        }
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.openings).unwrap_or(u32::MAX));
        self.openings = self.openings.saturating_add(1);
        doubled.min(LONGEST).mul_f64(1.0 - JITTER * self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn doubles_to_its_limit_and_starts_anew_after_calm(seed: u64) {
            let mut now = Instant::now();
            let mut backoff = Backoff::new(seed);
            for base in [500, 1000, 2000, 4000, 5000, 5000, 5000].into_iter().chain([5000; 40]) {
                let open = backoff.opened(now).as_secs_f64() * 1000.0;
                let base = f64::from(base);
                prop_assert!(open <= base && open >= base * 0.75, "{open} of {base}");
            }
            backoff.closed(now);
            now += CALM - Duration::from_millis(1);
            prop_assert!(backoff.opened(now) > Duration::from_secs(3), "it flaps");
            backoff.closed(now);
            now += CALM;
            prop_assert!(backoff.opened(now) <= FIRST);
        }
    }

    #[test]
    fn two_gateways_do_not_probe_in_step() {
        let now = Instant::now();
        assert_ne!(Backoff::new(1).opened(now), Backoff::new(2).opened(now));
    }
}
