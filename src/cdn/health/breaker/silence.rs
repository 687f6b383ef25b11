//! Whether the CDN has fallen silent: requests that wait for longer than its answers ever take, and
//! not one answer since they began.
//!
//! A blackout shows in the requests that are out, long before one of them times out. Each answer
//! clears the list: what is still out from before it is a straggler, and no sign of silence.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many overdue requests are silence. Fewer could be the few slow objects of one page; and a
/// blackout costs at most these beside those that come in before the first of them is overdue.
const ENOUGH: usize = 5;

/// A request is overdue at this multiple of the p95 of recent answers. Twice is an ordinary tail;
/// four times, five requests in a row, and no answer to anybody meanwhile is not.
const TIMES_P95: u32 = 4;

/// No request is overdue before this: a busy machine on either side may hold an answer up for as
/// long, and no human sees it.
const SHORTEST: Duration = Duration::from_millis(50);

/// A request is overdue at this age while too little is known: a quarter of the default first-byte
/// timeout, and more than a handshake and a miss at a healthy CDN usually take.
const UNKNOWN: Duration = Duration::from_millis(250);

/// No patience is longer, whatever a probe took: by then every request has failed by itself.
const LONGEST: Duration = Duration::from_secs(60);

/// For how long a request counts that was given up because storage was faster, unless the CDN is
/// heard. It was not answered, and would still be out. As long as the window of the failure ratio:
/// at a quiet app with hedges no read waits until it is overdue, and these are all there is.
const OUTRUN_COUNTS_FOR: Duration = Duration::from_secs(10);

/// At what age a request is overdue, from the p95 of recent answers and the time that the last
/// probe took. The probe shows that a CDN is slower than it used to be when all others were given
/// up before they were answered; without it the breaker would open again and again.
pub(super) fn patience(p95: Option<Duration>, probe: Option<Duration>) -> Duration {
    let floor = if p95.is_some() { SHORTEST } else { UNKNOWN };
    let typical = p95.max(probe).unwrap_or_default();
    typical.saturating_mul(TIMES_P95).clamp(floor, LONGEST)
}

/// The requests that went out since the CDN last answered, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Silence {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    began: Instant,
    overdue_at: Instant,
    /// Nobody waits for it any more: it counts for a while.
    outrun: bool,
}

impl Silence {
    /// A request goes out. Numbers rise.
    pub(super) fn sent(&mut self, number: u64, began: Instant, overdue_at: Instant) {
        while self.waiting.front().is_some_and(|oldest| oldest.has_lapsed(began)) {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { number, began, overdue_at, outrun: false });
    }

    /// The CDN said something: it is not silent.
    pub(super) fn heard(&mut self) {
        self.waiting.clear();
    }

    /// A request failed without a word of the CDN's, or was given up by its client.
    pub(super) fn withdrawn(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            self.waiting.remove(place);
        }
    }

    /// A request was given up because storage was faster.
    pub(super) fn outrun(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            self.waiting[place].outrun = true;
        }
    }

    /// Whether enough requests are overdue.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        let overdue = |waiting: &&Waiting| waiting.overdue_at <= now && !waiting.has_lapsed(now);
        self.waiting.iter().filter(overdue).take(ENOUGH).count() == ENOUGH
    }

    /// When there may be enough: the time at which the fifth is overdue, if five are out.
    pub(super) fn may_be_complete_at(&self) -> Option<Instant> {
        self.waiting.get(ENOUGH - 1).map(|fifth| fifth.overdue_at)
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}

impl Waiting {
    fn has_lapsed(&self, now: Instant) -> bool {
        self.outrun && now.saturating_duration_since(self.began) >= OUTRUN_COUNTS_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn how_long_is_too_long() {
        for (p95, probe, expected) in [
            (None, None, 250),
            (Some(1), None, 50),
            (Some(12), None, 50),
            (Some(13), None, 52),
            (Some(100), None, 400),
            (None, Some(10), 250),
            (None, Some(100), 400),
            (Some(10), Some(300), 1200),
            (Some(300), Some(10), 1200),
        ] {
            assert_eq!(patience(p95.map(ms), probe.map(ms)), ms(expected), "{p95:?} {probe:?}");
        }
        assert_eq!(patience(None, Some(Duration::MAX)), LONGEST);
    }

    /// Requests 0 to 4, a millisecond apart, each overdue after 50 ms.
    fn five(begun: Instant) -> Silence {
        let mut silence = Silence::default();
        for number in 0..5 {
            let began = begun + ms(number);
            silence.sent(number, began, began + ms(50));
        }
        silence
    }

    #[test]
    fn five_overdue_requests_are_silence() {
        let begun = Instant::now();
        let silence = five(begun);
        assert!(!silence.is_complete(begun + ms(53)), "four are overdue");
        assert!(silence.is_complete(begun + ms(54)));
        assert_eq!(silence.may_be_complete_at(), Some(begun + ms(54)));
    }

    #[test]
    fn an_answer_to_anybody_breaks_it() {
        let begun = Instant::now();
        let mut silence = five(begun);
        silence.heard();
        silence.sent(5, begun + ms(60), begun + ms(110));
        assert!(!silence.is_complete(begun + ms(500)));
    }

    #[test]
    fn who_left_does_not_count() {
        let begun = Instant::now();
        let mut silence = five(begun);
        silence.withdrawn(2);
        silence.withdrawn(2);
        assert!(!silence.is_complete(begun + ms(500)));
        silence.sent(5, begun + ms(5), begun + ms(55));
        assert!(silence.is_complete(begun + ms(55)));
    }

    #[test]
    fn who_was_outrun_counts_for_a_while() {
        let begun = Instant::now();
        let mut silence = five(begun);
        (0..4).for_each(|number| silence.outrun(number));
        assert!(silence.is_complete(begun + ms(54)));
        assert!(silence.is_complete(begun + ms(9_999)));
        assert!(!silence.is_complete(begun + ms(10_000)));
        silence.sent(5, begun + ms(10_002), begun + ms(10_052));
        assert_eq!(silence.waiting.len(), 3, "3 and 4 are left, and 5");
    }
}
