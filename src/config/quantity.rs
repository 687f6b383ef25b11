//! Sizes, times and rates, as they are written in a configuration file.

use std::time::Duration;

use crate::domain::{InvalidRate, Rate};

use super::section::Section;

/// The units of a size, in bytes.
const BYTE_UNITS: [(&str, u64); 8] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The units of a time, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The longest time that a file may name. Longer ones are slips, and a limit keeps every sum of a
/// time and a clock in range.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads a section `{ Rate = "60/m", Burst = 20 }`: both, or (for the default) neither.
#[must_use]
pub fn rate(section: &mut Section<'_>, default: Rate) -> Rate {
    if section.is_empty() {
        // Asked for all the same, so that the keys are known.
        let _ = (
            section.key("Rate").text(sustained).optional(),
            section.key("Burst").integer().optional(),
        );
        return default;
    }
    let written = section.key("Rate").text(sustained);
    let place = written.place().clone();
    let written = written.required("a rate such as \"60/m\"");
    let burst = section
        .key("Burst")
        .integer()
        .check(|burst| match u32::try_from(*burst) {
            Ok(1..) => Ok(()),
            _ => Err("a burst is a whole number from 1 to 4294967295"),
        })
        .required("how many requests may come at once, such as 20");
    let (Some(written), Some(burst)) = (written, burst) else { return default };
    // Checked together: a bucket may take too long to fill up, though both numbers are fine.
    let burst = u32::try_from(burst).expect("checked above");
    Rate::parse(&written, burst).unwrap_or_else(|error| {
        section.error(&place, error.to_string(), None);
        default
    })
}

/// A rate without its burst, kept as it is written.
fn sustained(text: &str) -> Result<String, String> {
    match Rate::parse(text, 1) {
        // Whether the bucket fills up in time is known only with the burst.
        Ok(_) | Err(InvalidRate::TooSlow) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is no rate: {error}")),
    }
}

/// Parses a size, for example `20MiB`, into bytes.
///
/// # Errors
/// A text for the author of the file.
pub fn byte_size(text: &str) -> Result<u64, String> {
    amount(text, &BYTE_UNITS).ok_or_else(|| {
        format!("{text:?} is not a size: write a whole number and one of B, KB, MB, GB, KiB, MiB, GiB, TiB, such as \"20MiB\"")
    })
}

/// Parses a time, for example `300ms`.
///
/// # Errors
/// A text for the author of the file.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration = amount(text, &TIME_UNITS).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a time: write a whole number and one of ms, s, m, h, d, such as \"15m\"")
    })?;
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than a year"));
    }
    Ok(duration)
}

/// A whole number and a unit.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let number_end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(number_end);
    let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
    digits(number)?.checked_mul(*factor)
}

/// A whole number of digits alone: `parse` would take a `+` too.
fn digits(text: &str) -> Option<u64> {
    let all_digits = text.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("20MiB", 20 << 20),
            ("256KiB", 256 << 10),
            ("20MB", 20_000_000),
            ("5GiB", 5 << 30),
            ("9007199254740993B", 9_007_199_254_740_993),
        ] {
            assert_eq!(byte_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "20",
            "MiB",
            "20 MiB",
            "20mib",
            "1.5MiB",
            "-1B",
            "+1B",
            "20potatoes",
            "99999999TiB",
            "٣B",
        ] {
            assert!(byte_size(text).unwrap_err().contains("such as \"20MiB\""), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, millis) in [
            ("300ms", 300),
            ("5s", 5_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "15", "m", "1h30m", "1.5s", "15 m", "15min", "-5s", "99999999999999999999s"]
        {
            assert!(duration(text).unwrap_err().contains("such as \"15m\""), "{text}");
        }
        assert_eq!(duration("400d").unwrap_err(), "\"400d\" is longer than a year");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,24}") {
            let _ = (byte_size(&text), duration(&text), sustained(&text));
        }

        #[test]
        fn what_is_written_is_read(number in 0u64..1 << 20) {
            prop_assert_eq!(byte_size(&format!("{number}MiB")), Ok(number << 20));
            prop_assert_eq!(duration(&format!("{number}s")), Ok(Duration::from_secs(number)));
        }
    }
}
