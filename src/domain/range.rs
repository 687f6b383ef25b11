//! Byte ranges (RFC 9110 §14): what a client asks for, and which bytes of an object that is.

/// One range as a client asks for it. Any number of ranges other than one is answered with the
/// whole object, which RFC 9110 §14.2 allows and which keeps overlapping ranges harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// `bytes=first-`
    From(u64),
    /// `bytes=first-last`, with `first <= last`
    Between(u64, u64),
    /// `bytes=-n`: the last `n` bytes
    Last(u64),
}

/// Bytes `start..=end` of an object; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The last byte, inclusive.
    pub end: u64,
}

/// A `Content-Range`: which bytes of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes.
    pub range: ByteRange,
    /// The length of the whole object.
    pub total: u64,
}

impl RangeRequest {
    /// Parses a `Range` field value. `None` for everything that is to be ignored: another unit,
    /// several ranges, a malformed one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, spec) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = spec.trim_matches([' ', '\t']).split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// Which bytes of an object of `size` bytes this is; `None` if it cannot be satisfied.
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<ByteRange> {
        let last = size.checked_sub(1)?;
        match self {
            Self::From(start) => (start <= last).then_some(ByteRange { start, end: last }),
            Self::Between(start, end) => {
                (start <= last).then_some(ByteRange { start, end: end.min(last) })
            }
            Self::Last(0) => None,
            Self::Last(count) => Some(ByteRange { start: size.saturating_sub(count), end: last }),
        }
    }
}

impl std::fmt::Display for RangeRequest {
    /// The `Range` field value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::From(first) => write!(f, "bytes={first}-"),
            Self::Between(first, last) => write!(f, "bytes={first}-{last}"),
            Self::Last(count) => write!(f, "bytes=-{count}"),
        }
    }
}

// A range is never empty, so there is no `is_empty` to go with `len`.
#[allow(clippy::len_without_is_empty)]
impl ByteRange {
    /// How many bytes the range covers.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end - self.start + 1
    }
}

impl ContentRange {
    /// Parses a `Content-Range` field value of a 206: `bytes 0-99/1234`. A total that is not given
    /// (`*`) proves nothing about the object, so it is `None` like any other malformed value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (span, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (start, end) = span.split_once('-')?;
        let (start, end, total) = (number(start)?, number(end)?, number(total)?);
        (start <= end && end < total).then_some(Self { range: ByteRange { start, end }, total })
    }

    /// The total of a 416's `Content-Range`: `bytes */1234`.
    #[must_use]
    pub fn parse_unsatisfied(text: &str) -> Option<u64> {
        number(text.trim().strip_prefix("bytes */")?)
    }
}

impl std::fmt::Display for ContentRange {
    /// The `Content-Range` field value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes {}-{}/{}", self.range.start, self.range.end, self.total)
    }
}

/// Digits only: `u64::from_str` would take a leading `+`.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_one_range_and_ignores_the_rest() {
        for (text, expected) in [
            ("bytes=0-99", Some(RangeRequest::Between(0, 99))),
            ("Bytes=5-", Some(RangeRequest::From(5))),
            ("bytes=-500", Some(RangeRequest::Last(500))),
            ("bytes=0-0", Some(RangeRequest::Between(0, 0))),
            ("bytes=-0", Some(RangeRequest::Last(0))),
            ("bytes=5-4", None),
            ("bytes=0-1,5-6", None),
            ("bytes=0-,-1", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=99999999999999999999-", None),
            ("items=0-1", None),
            ("", None),
        ] {
            assert_eq!(RangeRequest::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn resolves_against_a_size() {
        for (request, size, expected) in [
            (RangeRequest::From(0), 10, Some((0, 9))),
            (RangeRequest::From(10), 10, None),
            (RangeRequest::Between(2, 100), 10, Some((2, 9))),
            (RangeRequest::Between(10, 11), 10, None),
            (RangeRequest::Last(3), 10, Some((7, 9))),
            (RangeRequest::Last(30), 10, Some((0, 9))),
            (RangeRequest::Last(0), 10, None),
            (RangeRequest::From(0), 0, None),
            (RangeRequest::Last(1), 0, None),
        ] {
            let expected = expected.map(|(start, end)| ByteRange { start, end });
            assert_eq!(request.resolve(size), expected, "{request} of {size}");
        }
    }

    #[test]
    fn content_range_must_be_complete_and_consistent() {
        let parsed = ContentRange::parse("bytes 2-5/10").unwrap();
        assert_eq!((parsed.range.start, parsed.range.end, parsed.total), (2, 5, 10));
        for bad in ["bytes 5-2/10", "bytes 2-10/10", "bytes 2-5/*", "bytes */10", "2-5/10", ""] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
        assert_eq!(ContentRange::parse_unsatisfied("bytes */10"), Some(10));
        assert_eq!(ContentRange::parse_unsatisfied("bytes 0-1/10"), None);
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "(bytes=)?[0-9,-]{0,24}") {
            if let Some(range) = RangeRequest::parse(&text) {
                prop_assert_eq!(RangeRequest::parse(&range.to_string()), Some(range));
            }
        }

        #[test]
        fn what_is_resolved_lies_inside(start in any::<u64>(), end in any::<u64>(), size in any::<u64>()) {
            for request in [RangeRequest::From(start), RangeRequest::Last(end), RangeRequest::Between(start.min(end), start.max(end))] {
                if let Some(range) = request.resolve(size) {
                    prop_assert!(range.start <= range.end && range.end < size);
                }
            }
        }
    }
}
