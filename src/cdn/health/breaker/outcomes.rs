//! How many of the last seconds' requests failed: in a row, and in proportion.

use std::time::Instant;

/// So many failures in a row open the breaker, without regard to how long that took: at a CDN that
/// fails one request in a hundred by chance, five in a row are one case in 10¹⁰, and a quiet app
/// that has no twenty requests in ten seconds still gets its breaker.
const IN_A_ROW: u32 = 5;

/// The proportion is taken over this time: long enough for 20 requests of an app with 2 reads a
/// second, short enough that a CDN that has just broken is not judged by how well it did before.
const WINDOW_SECONDS: usize = 10;

/// The proportion is no proportion below this many requests.
const FEWEST: u32 = 20;

/// Half: a CDN that fails more often than it serves costs more time than it saves.
const FAILING_SHARE_DIVISOR: u32 = 2;

/// The outcomes of the last ten seconds, to the second.
#[derive(Debug)]
pub(super) struct Outcomes {
    origin: Instant,
    current: u64,
    seconds: [Second; WINDOW_SECONDS],
    in_a_row: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    all: u32,
    failed: u32,
}

impl Outcomes {
    pub(super) fn new(now: Instant) -> Self {
        let seconds = [Second::default(); WINDOW_SECONDS];
        Self { origin: now, current: 0, seconds, in_a_row: 0 }
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.second(now).all += 1;
        self.in_a_row = 0;
    }

    pub(super) fn failed(&mut self, now: Instant) {
        let second = self.second(now);
        second.all += 1;
        second.failed += 1;
        self.in_a_row += 1;
    }

    pub(super) fn too_many_in_a_row(&self) -> bool {
        self.in_a_row >= IN_A_ROW
    }

    pub(super) fn too_many_of_all(&mut self, now: Instant) -> bool {
        self.second(now);
        let all: u32 = self.seconds.iter().map(|second| second.all).sum();
        let failed: u32 = self.seconds.iter().map(|second| second.failed).sum();
        all >= FEWEST && failed >= all.div_ceil(FAILING_SHARE_DIVISOR)
    }

    /// Starts anew: what was before the breaker opened says nothing of the CDN that answers again.
    pub(super) fn clear(&mut self) {
        self.seconds = [Second::default(); WINDOW_SECONDS];
        self.in_a_row = 0;
    }

    /// The current second, after those that have left the window are forgotten.
    fn second(&mut self, now: Instant) -> &mut Second {
        let elapsed = now.saturating_duration_since(self.origin).as_secs();
        let steps = elapsed.saturating_sub(self.current).min(WINDOW_SECONDS as u64);
        for step in 1..=steps {
            self.seconds[index(elapsed - steps + step)] = Second::default();
        }
        self.current = self.current.max(elapsed);
        &mut self.seconds[index(self.current)]
    }
}

fn index(second: u64) -> usize {
    usize::try_from(second % WINDOW_SECONDS as u64).expect("it is below the number of seconds")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS as u64);

    #[test]
    fn five_in_a_row() {
        let now = Instant::now();
        let mut outcomes = Outcomes::new(now);
        for _ in 0..4 {
            outcomes.failed(now);
        }
        assert!(!outcomes.too_many_in_a_row());
        outcomes.succeeded(now);
        for _ in 0..4 {
            outcomes.failed(now);
        }
        assert!(!outcomes.too_many_in_a_row());
        outcomes.failed(now + Duration::from_hours(1));
        assert!(outcomes.too_many_in_a_row());
        outcomes.clear();
        assert!(!outcomes.too_many_in_a_row());
    }

    #[test]
    fn half_of_twenty() {
        for (good, bad, expected) in
            [(10, 9, false), (10, 10, true), (11, 10, false), (11, 11, true), (0, 19, false)]
        {
            let now = Instant::now();
            let mut outcomes = Outcomes::new(now);
            (0..good).for_each(|_| outcomes.succeeded(now));
            (0..bad).for_each(|_| outcomes.failed(now));
            assert_eq!(outcomes.too_many_of_all(now), expected, "{good} good, {bad} bad");
            assert!(!outcomes.too_many_of_all(now + WINDOW), "later");
        }
    }

    proptest! {
        /// The window against a list of everything that ever happened.
        #[test]
        fn counts_what_the_last_ten_seconds_held(
            events in prop::collection::vec((0..1500_u64, any::<bool>()), 1..200),
        ) {
            let begun = Instant::now();
            let mut outcomes = Outcomes::new(begun);
            let mut history = Vec::new();
            let mut elapsed = 0;
            for (step, good) in events {
                elapsed += step;
                let now = begun + Duration::from_millis(elapsed);
                if good { outcomes.succeeded(now) } else { outcomes.failed(now) }
                history.push((elapsed / 1000, good));
                let first = (elapsed / 1000).saturating_sub(9);
                let recent: Vec<_> = history.iter().filter(|(second, _)| *second >= first).collect();
                let bad = recent.iter().filter(|(_, good)| !good).count();
                let expected = recent.len() >= 20 && bad * 2 >= recent.len();
                prop_assert_eq!(outcomes.too_many_of_all(now), expected);
            }
        }
    }
}
