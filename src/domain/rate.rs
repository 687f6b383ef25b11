//! How often something may happen: `{ Rate = "60/m", Burst = 20 }` of an app's file.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// The fastest refill, in tokens a second. Beyond it the nanoseconds in which intervals are counted
/// would round by more than 0.1 %.
const MAX_PER_SECOND: u64 = 1_000_000;

/// The longest time in which an empty bucket may fill up. A longer one is a typing error, and far
/// longer ones do not fit the limiter's clock (64 bits of nanoseconds).
const MAX_REFILL: Duration = Duration::from_hours(30 * 24);

/// A sustained rate, and how many requests may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_window: NonZeroU32,
    unit: Unit,
    burst: NonZeroU32,
}

/// The unit of time of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// Why a rate cannot be used. The texts are meant for whoever writes the app's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    /// It is not of the form `60/m`.
    #[error("a rate is a whole number, '/', and s, m or h, for example \"60/m\"")]
    Malformed,
    /// The number is zero.
    #[error("a rate must be above 0: to allow nothing, switch the feature off instead")]
    ZeroRate,
    /// The bucket holds nothing.
    #[error("a burst must be at least 1: it is how many requests may come at once")]
    ZeroBurst,
    /// It is no limit any more.
    #[error("a rate may be at most 1000000/s, and its number at most {}", u32::MAX)]
    TooFast,
    /// The bucket takes too long to fill up.
    #[error("an empty bucket must fill up within 30 days: lower the burst or raise the rate")]
    TooSlow,
}

impl Rate {
    /// Parses a rate such as `60/m` (units `s`, `m`, `h`), with the size of its bucket.
    ///
    /// # Errors
    /// [`InvalidRate`] for another form, a zero, more than 1,000,000 a second, or a bucket that
    /// takes longer than 30 days to fill up.
    pub fn parse(text: &str, burst: u32) -> Result<Self, InvalidRate> {
        let (number, unit) = text.split_once('/').ok_or(InvalidRate::Malformed)?;
        let unit = Unit::parse(unit).ok_or(InvalidRate::Malformed)?;
        // Digits only: `u32::from_str` would take a leading `+`.
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidRate::Malformed);
        }
        let number: u32 = number.parse().map_err(|_| InvalidRate::TooFast)?;
        let per_window = NonZeroU32::new(number).ok_or(InvalidRate::ZeroRate)?;
        let burst = NonZeroU32::new(burst).ok_or(InvalidRate::ZeroBurst)?;
        let rate = Self { per_window, unit, burst };
        if u64::from(number) > MAX_PER_SECOND * unit.length().as_secs() {
            return Err(InvalidRate::TooFast);
        }
        // In seconds and without division: the exact product fits 64 bits (2³² · 3600).
        let refill = u64::from(burst.get()) * unit.length().as_secs();
        if refill > MAX_REFILL.as_secs() * u64::from(number) {
            return Err(InvalidRate::TooSlow);
        }
        Ok(rate)
    }

    /// A rate of the program's own, for defaults: `count` a minute.
    ///
    /// # Panics
    /// If a number is 0; in a constant, at compile time.
    #[must_use]
    pub const fn per_minute(count: u32, burst: u32) -> Self {
        Self {
            per_window: NonZeroU32::new(count).expect("a default rate is not 0"),
            unit: Unit::Minute,
            burst: NonZeroU32::new(burst).expect("a default burst is not 0"),
        }
    }

    /// How many requests each window allows in the long run.
    #[must_use]
    pub const fn per_window(&self) -> u32 {
        self.per_window.get()
    }

    /// The window of the sustained rate: a second, a minute or an hour.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.unit.length()
    }

    /// How many requests may come at once: the size of the bucket.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst.get()
    }

    /// The same, as a number that cannot be 0.
    #[must_use]
    pub const fn burst_size(&self) -> NonZeroU32 {
        self.burst
    }

    /// The time in which one token is refilled.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.window() / self.per_window.get()
    }

    /// The time in which an empty bucket fills up.
    #[must_use]
    pub fn refill_time(&self) -> Duration {
        // In 128 bits, for an exact quotient.
        let nanos =
            self.window().as_nanos() * u128::from(self.burst()) / u128::from(self.per_window());
        Duration::from_nanos(u64::try_from(nanos).expect("30 days of nanoseconds fit 64 bits"))
    }
}

/// As it is written in an app's file, without the burst.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.per_window, self.unit.letter())
    }
}

impl Unit {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.letter() == text)
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    const fn length(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_contract_form() {
        for (text, burst, per_window, window, interval, refill) in [
            ("60/m", 20, 60, 60, 1_000, 20_000),
            ("120/m", 60, 120, 60, 500, 30_000),
            ("6000/m", 600, 6000, 60, 10, 6_000),
            ("10/s", 1, 10, 1, 100, 100),
            ("7/h", 7, 7, 3600, 514_285, 3_600_000),
        ] {
            let rate = Rate::parse(text, burst).unwrap();
            assert_eq!((rate.per_window(), rate.burst()), (per_window, burst), "{text}");
            assert_eq!(rate.window(), Duration::from_secs(window), "{text}");
            assert_eq!(rate.interval().as_millis(), interval, "{text}");
            assert_eq!(rate.refill_time().as_millis(), refill, "{text}");
            assert_eq!(rate.to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        use InvalidRate::{Malformed, TooFast, TooSlow, ZeroBurst, ZeroRate};
        for (text, burst, expected) in [
            ("", 1, Malformed),
            ("60", 1, Malformed),
            ("/m", 1, Malformed),
            ("60/", 1, Malformed),
            ("60/d", 1, Malformed),
            ("60/M", 1, Malformed),
            ("60/min", 1, Malformed),
            ("60 /m", 1, Malformed),
            ("+60/m", 1, Malformed),
            ("-60/m", 1, Malformed),
            ("1.5/s", 1, Malformed),
            ("1/2/s", 1, Malformed),
            ("٦/m", 1, Malformed),
            ("0/m", 1, ZeroRate),
            ("00/m", 1, ZeroRate),
            ("1/m", 0, ZeroBurst),
            ("4294967296/h", 1, TooFast),
            ("99999999999999999999999/m", 1, TooFast),
            ("1000001/s", 1, TooFast),
            ("4294967295/h", 1, TooFast),
            ("1/h", 721, TooSlow),
            ("1/h", u32::MAX, TooSlow),
        ] {
            assert_eq!(Rate::parse(text, burst), Err(expected), "{text} with {burst}");
        }
        for (text, burst) in [("1000000/s", u32::MAX), ("1/h", 720), ("3600000000/h", u32::MAX)] {
            assert!(Rate::parse(text, burst).is_ok(), "{text} with {burst}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_usable(number: u32, unit in "[smh]", burst: u32) {
            let text = format!("{number}/{unit}");
            if let Ok(rate) = Rate::parse(&text, burst) {
                prop_assert_eq!(rate.to_string(), text);
                prop_assert!(rate.interval() >= Duration::from_nanos(990));
                prop_assert!(rate.refill_time() <= MAX_REFILL);
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,12}", burst: u32) {
            let _ = Rate::parse(&text, burst);
        }
    }
}
