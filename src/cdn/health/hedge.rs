//! When storage is asked beside a CDN that keeps a read waiting.
//!
//! The delay is decided here; whether the read may then be hedged is a matter of the budget
//! (`domain::EarnedBudget`), because a CDN that is slow as a whole would otherwise double the load
//! at the very moment when storage has to carry it.

use std::time::{Duration, Instant};

use crate::domain::HedgeAfter;

use super::latency::FirstByteTimes;

/// The delay while the CDN's percentiles are not known yet: a quarter of the default first-byte
/// timeout. The budget bounds what a wrong guess may cost.
const UNKNOWN: Duration = Duration::from_millis(250);

/// How long to wait for the CDN before storage is asked too; `None`: however long it takes.
#[must_use]
pub fn hedge_delay(after: HedgeAfter, times: &FirstByteTimes, now: Instant) -> Option<Duration> {
    match after {
        HedgeAfter::Off => None,
        HedgeAfter::Fixed(delay) => Some(delay),
        HedgeAfter::Percentile(percentile) => {
            Some(times.percentile(percentile, now).unwrap_or(UNKNOWN))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Percentile;

    #[test]
    fn the_delay_follows_the_cdn_once_it_is_known() {
        let ms = Duration::from_millis;
        let now = Instant::now();
        let times = FirstByteTimes::new(now);
        let p98 = HedgeAfter::Percentile(Percentile::P98);
        assert_eq!(hedge_delay(HedgeAfter::Off, &times, now), None);
        assert_eq!(hedge_delay(HedgeAfter::Fixed(ms(80)), &times, now), Some(ms(80)));
        assert_eq!(hedge_delay(p98, &times, now), Some(UNKNOWN));
        for millis in 1..=100 {
            times.record(ms(millis), now);
        }
        let delay = hedge_delay(p98, &times, now).unwrap();
        assert!(delay > ms(92) && delay < ms(105), "{delay:?}");
        assert_eq!(hedge_delay(p98, &times, now + Duration::from_mins(2)), Some(UNKNOWN));
    }
}
