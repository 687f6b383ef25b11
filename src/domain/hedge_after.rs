//! When storage is asked beside a CDN that keeps a read waiting: `HedgeAfter` of an app's file.

use std::fmt;
use std::time::Duration;

/// The lowest percentile. Below the median most reads would ask storage too, and the budget of
/// hedges would be spent on reads that are not slow.
const LOWEST: u8 = 50;

/// The highest percentile. Beyond it a minute of a usual app's reads says too little.
const HIGHEST: u8 = 99;

/// A percentile from 50 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentile(u8);

/// When storage is asked too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// Never.
    Off,
    /// When the CDN has kept a read waiting for this long.
    Fixed(Duration),
    /// When the CDN has kept a read waiting for longer than this percentile of its recent answers.
    Percentile(Percentile),
}

impl Percentile {
    /// The percentile by which silence is judged.
    pub const P95: Self = Self(95);
    /// The percentile after which reads are hedged by default.
    pub const P98: Self = Self(98);

    /// A percentile, if it is one from 50 to 99.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent < LOWEST || percent > HIGHEST { None } else { Some(Self(percent)) }
    }

    /// The number: 98 for p98.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// Parses `p98`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('p')?;
        // Digits only: `u8::from_str` would take a leading `+`.
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok().and_then(Self::new)).flatten()
    }
}

impl HedgeAfter {
    /// Parses `"off"`, a percentile such as `"p98"`, or what `duration` takes for a time.
    ///
    /// # Errors
    /// A text for the author of the file.
    pub fn parse(
        text: &str,
        duration: impl FnOnce(&str) -> Result<Duration, String>,
    ) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(percentile) = Percentile::parse(text) {
            return Ok(Self::Percentile(percentile));
        }
        match duration(text) {
            Ok(Duration::ZERO) => {
                Err(format!("{text:?} is no wait: write \"off\", or a time above 0"))
            }
            Ok(delay) => Ok(Self::Fixed(delay)),
            Err(_) => Err(format!(
                "{text:?} does not say when to ask storage too: write \"off\", a percentile from \
                 \"p{LOWEST}\" to \"p{HIGHEST}\", or a time such as \"80ms\""
            )),
        }
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> Result<Duration, String> {
        let number = text.strip_suffix("ms").ok_or("not a time")?;
        number.parse().map(Duration::from_millis).map_err(|_| "not a number".to_owned())
    }

    #[test]
    fn reads_the_three_forms() {
        for (text, expected) in [
            ("off", Some(HedgeAfter::Off)),
            ("p50", Percentile::new(50).map(HedgeAfter::Percentile)),
            ("p98", Some(HedgeAfter::Percentile(Percentile::P98))),
            ("p99", Percentile::new(99).map(HedgeAfter::Percentile)),
            ("80ms", Some(HedgeAfter::Fixed(Duration::from_millis(80)))),
            ("p49", None),
            ("p100", None),
            ("p9", None),
            ("p098", None),
            ("p+9", None),
            ("p99.9", None),
            ("P98", None),
            ("Off", None),
            ("0ms", None),
            ("", None),
            ("98", None),
        ] {
            assert_eq!(HedgeAfter::parse(text, millis).ok(), expected, "{text}");
        }
    }

    #[test]
    fn says_what_to_write() {
        let error = HedgeAfter::parse("p999", millis).unwrap_err();
        assert!(error.contains("\"p999\"") && error.contains("\"off\""), "{error}");
        assert!(error.contains("\"p50\" to \"p99\""), "{error}");
        let error = HedgeAfter::parse("0ms", millis).unwrap_err();
        assert!(error.contains("above 0"), "{error}");
    }

    proptest! {
        #[test]
        fn every_percentile_is_read_as_it_is_written(percent: u8) {
            let read = Percentile::parse(&format!("p{percent}"));
            prop_assert_eq!(read, Percentile::new(percent));
            if let Some(read) = read {
                prop_assert_eq!(read.to_string(), format!("p{percent}"));
                prop_assert!((50..=99).contains(&read.percent()));
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,8}") {
            let _ = HedgeAfter::parse(&text, millis);
        }
    }
}
