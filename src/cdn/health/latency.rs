//! How fast a CDN answers: percentiles of its recent first-byte times.
//!
//! A histogram over a sliding window, in constant memory: each of the last minute's slots counts
//! its answers by log-linear buckets, sixteen to an octave, as `HdrHistogram` does. (Its crate has
//! no window that slides, and would keep 64-bit counts for a range that nobody asks about.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::Percentile;

/// How long an answer is remembered: at most this, and at least a slot less. A minute
/// gives an app with one read a second its p98, and forgets a bad hour within one minute.
pub const WINDOW: Duration = Duration::from_secs(60);

/// In how many slots the window slides.
const SLOTS: usize = 6;

const SLOT: Duration = Duration::from_secs(WINDOW.as_secs() / SLOTS as u64);

/// Each octave is cut into 2⁴ buckets of equal width: no bucket is wider than 1/16 of its values.
const SUB_BITS: u32 = 4;

/// Times below 2⁶ µs share one bucket: no decision is as fine as 64 µs.
const LOWEST_BITS: u32 = 6;

/// Seventeen octaves from 64 µs reach to 8.4 s, far beyond any first-byte timeout that makes sense;
/// longer times count as that.
const OCTAVES: u32 = 17;

const BUCKETS: usize = 1 + ((OCTAVES as usize) << SUB_BITS);

/// Below this many answers no percentile is told, however low: a handful says nothing.
const FEWEST: u32 = 20;

/// The recent first-byte times of one CDN. It takes about 8 KiB.
///
/// A percentile is exact to 1/16 (6.25 %) of its value for times from 64 µs to 8.4 s, by the
/// nearest-rank definition: the estimate and the true value lie in the same bucket.
#[derive(Debug)]
pub struct FirstByteTimes(Mutex<Box<Window>>);

#[derive(Debug)]
struct Window {
    origin: Instant,
    /// The number of the current slot, counted from `origin`.
    current: u64,
    slots: [[u32; BUCKETS]; SLOTS],
    /// The sum of all slots.
    sums: [u32; BUCKETS],
    count: u32,
}

impl FirstByteTimes {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Box::new(Window {
            origin: now,
            current: 0,
            slots: [[0; BUCKETS]; SLOTS],
            sums: [0; BUCKETS],
            count: 0,
        })))
    }

    /// Notes the time from a request to the first byte of its answer.
    pub fn record(&self, first_byte_after: Duration, now: Instant) {
        self.lock().record(bucket_of(first_byte_after), now);
    }

    /// A percentile of the answers of the last minute. `None` while there are too few: fewer than
    /// 20, or so few that not one is expected beyond the percentile (50 for p98).
    #[must_use]
    pub fn percentile(&self, percentile: Percentile, now: Instant) -> Option<Duration> {
        self.lock().percentile(percentile, now)
    }

    fn lock(&self) -> MutexGuard<'_, Box<Window>> {
        // Counts are right after every step, so that a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn record(&mut self, bucket: usize, now: Instant) {
        self.slide(now);
        let slot = &mut self.slots[index(self.current)];
        // Saturating: 2³² answers a minute will not be, and must not wrap if they are.
        if self.count < u32::MAX {
            slot[bucket] += 1;
            self.sums[bucket] += 1;
            self.count += 1;
        }
    }

    fn percentile(&mut self, percentile: Percentile, now: Instant) -> Option<Duration> {
        self.slide(now);
        let count = u64::from(self.count);
        let beyond = count * u64::from(100 - percentile.percent());
        if self.count < FEWEST || beyond < 100 {
            return None;
        }
        // From the top, because the percentiles that are asked for are near it. The answer's rank
        // from above, by nearest rank: 1 for the slowest.
        let from_above = beyond / 100 + 1;
        let mut seen = 0;
        for (bucket, &here) in self.sums.iter().enumerate().rev() {
            let here = u64::from(here);
            if seen + here >= from_above {
                // Evenly spread within the bucket, as far as anybody knows.
                let above_in_bucket = from_above - seen;
                return Some(interpolate(bucket, here - above_in_bucket, here));
            }
            seen += here;
        }
        None
    }

    /// Forgets the slots that have left the window.
    fn slide(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.origin).as_secs() / SLOT.as_secs();
        // A `now` of the slot before, from a thread that was held up, counts in the current one.
        let steps = elapsed.saturating_sub(self.current).min(SLOTS as u64);
        for step in 1..=steps {
            let expired = &mut self.slots[index(elapsed - steps + step)];
            for (sum, here) in self.sums.iter_mut().zip(expired.iter_mut()) {
                *sum -= *here;
                self.count -= *here;
                *here = 0;
            }
        }
        self.current = self.current.max(elapsed);
    }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).expect("it is below the number of slots")
}

fn bucket_of(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if micros < 1 << LOWEST_BITS {
        return 0;
    }
    let bits = micros.ilog2();
    let octave = u64::from(bits - LOWEST_BITS);
    let within = (micros >> (bits - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    let bucket = 1 + (octave << SUB_BITS) + within;
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The place of the value that has `below` of the bucket's `count` values below it.
fn interpolate(bucket: usize, below: u64, count: u64) -> Duration {
    let (start, width) = bounds(bucket);
    Duration::from_micros(start + width * (2 * below + 1) / (2 * count))
}

/// Where a bucket begins, and how wide it is, in microseconds.
fn bounds(bucket: usize) -> (u64, u64) {
    let Some(place) = (bucket as u64).checked_sub(1) else { return (0, 1 << LOWEST_BITS) };
    let (octave, within) = (place >> SUB_BITS, place & ((1 << SUB_BITS) - 1));
    let shift = octave + u64::from(LOWEST_BITS - SUB_BITS);
    (((1 << SUB_BITS) + within) << shift, 1 << shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_told_of_a_handful() {
        let now = Instant::now();
        let times = FirstByteTimes::new(now);
        let p50 = Percentile::new(50).unwrap();
        for recorded in 0..60 {
            assert_eq!(times.percentile(p50, now).is_some(), recorded >= 20, "{recorded}");
            assert_eq!(times.percentile(Percentile::P95, now).is_some(), recorded >= 20);
            assert_eq!(times.percentile(Percentile::P98, now).is_some(), recorded >= 50);
            times.record(ms(10), now);
        }
    }

    #[test]
    fn what_is_old_is_forgotten_slot_by_slot() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let times = FirstByteTimes::new(begun);
        let median_is = |expected: Option<u64>, seconds| {
            let told = times.percentile(Percentile::new(50).unwrap(), at(seconds));
            let near = match (told, expected) {
                (Some(told), Some(expected)) => told.abs_diff(ms(expected)) * 16 <= ms(expected),
                (told, expected) => told.is_none() && expected.is_none(),
            };
            assert!(near, "{told:?} instead of {expected:?} ms at {seconds} s");
        };
        (0..100).for_each(|_| times.record(ms(400), at(0)));
        (0..60).for_each(|_| times.record(ms(10), at(30)));
        median_is(Some(400), 59);
        // By now the slow ones are a minute old.
        median_is(Some(10), 60);
        median_is(Some(10), 89);
        median_is(None, 90);
        // After a long silence.
        (0..60).for_each(|_| times.record(ms(20), at(100_000)));
        median_is(Some(20), 100_000);
        // A thread that was held up harms nothing.
        times.record(ms(20), at(99_000));
        median_is(Some(20), 100_000);
    }

    #[test]
    fn buckets_join_without_gap_and_hold_what_is_put_into_them() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let (start, width) = bounds(bucket);
            assert_eq!(start, next);
            assert_eq!(bucket_of(Duration::from_micros(start)), bucket);
            assert_eq!(bucket_of(Duration::from_micros(start + width - 1)), bucket);
            assert!(bucket == 0 || width * 16 <= start);
            next = start + width;
        }
        assert_eq!(next, 1 << 23, "8.4 s");
        assert_eq!(bucket_of(Duration::from_micros(next)), BUCKETS - 1);
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_percentile_is_right_to_a_sixteenth(
            mut micros in prop::collection::vec(prop_oneof![64..2_000_u64, 64..8_000_000_u64], 50..600),
            percent in 50..=98_u8,
            spread in 0..50_u64,
        ) {
            let begun = Instant::now();
            let times = FirstByteTimes::new(begun);
            for (place, micros) in micros.iter().enumerate() {
                let at = begun + ms(spread * place as u64 % 50_000);
                times.record(Duration::from_micros(*micros), at);
            }
            micros.sort_unstable();
            let rank = (micros.len() * usize::from(percent)).div_ceil(100);
            let exact = micros[rank - 1];
            let told = times.percentile(Percentile::new(percent).unwrap(), begun + ms(49_999));
            let told = u64::try_from(told.unwrap().as_micros()).unwrap();
            prop_assert!(told.abs_diff(exact) * 16 <= exact, "told {told}, exact {exact}");
        }
    }
}
