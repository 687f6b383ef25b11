//! The time of a line, which many lines share but for its last digits.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-21T16:00:00`, and the second since 1970 that it stands for.
type Second = (u64, String);

thread_local! {
    /// The last second that was written: working out a date costs more than the rest of a line.
    static LAST: RefCell<Second> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Appends a time as RFC 3339 has it, in UTC and with microseconds.
pub(super) fn timestamp(out: &mut String, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            let date = i64::try_from(since.as_secs())
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
                .unwrap_or(jiff::Timestamp::MAX);
            *text = date.to_string();
            text.truncate(text.find(['.', 'Z']).unwrap_or(text.len()));
            *second = since.as_secs();
        }
        out.push_str(text);
    });
    out.push('.');
    digits(out, since.subsec_micros(), 100_000);
    out.push('Z');
}

/// Appends a number with as many digits as `first` has, which is the value of the first of them.
pub(super) fn digits(out: &mut String, number: u32, mut first: u32) {
    while first > 0 {
        out.push(char::from_digit(number / first % 10, 10).expect("less than ten"));
        first /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_795_276_800_000_042, "2026-11-21T16:00:00.000042Z"),
            (1_795_276_800_999_999, "2026-11-21T16:00:00.999999Z"),
            (1_795_276_801_000_000, "2026-11-21T16:00:01.000000Z"),
            (0, "1970-01-01T00:00:00.000000Z"),
        ] {
            let mut text = String::new();
            timestamp(&mut text, UNIX_EPOCH + Duration::from_micros(micros));
            assert_eq!(text, expected);
        }
    }
}
