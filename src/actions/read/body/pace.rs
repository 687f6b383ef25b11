//! Whether a source delivers, judged only by the time in which the client was ready for more.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::alarm::{Alarm, after};
use crate::domain::HealReason;

/// Over how much waiting the rate of a source is judged.
const SLOW_AFTER: Duration = Duration::from_secs(10);

/// The rate below which a source is too slow, in bytes per second of waiting.
const SLOW_RATE: u64 = 8 * 1024;

/// Watches a source. The body is polled only while the client can take bytes, so the time from a
/// poll that found nothing to the chunk that ends the wait is the source's alone.
pub(super) struct Pace {
    stall_timeout: Duration,
    waiting: Option<Wait>,
    alarm: Alarm,
    waited: Duration,
    bytes: u64,
}

/// A wait for the source.
#[derive(Clone, Copy)]
struct Wait {
    since: Instant,
    until: Instant,
}

impl Pace {
    pub(super) fn new(stall_timeout: Duration) -> Self {
        let (alarm, waited) = (Alarm::default(), Duration::ZERO);
        Self { stall_timeout, waiting: None, alarm, waited, bytes: 0 }
    }

    /// The source has nothing: ready when it has had nothing for too long.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<HealReason> {
        let wait = self.waiting.unwrap_or_else(|| self.begin_wait());
        self.waiting = Some(wait);
        std::task::ready!(self.alarm.poll(wait.until, cx));
        self.end_wait();
        Poll::Ready(match self.waited >= SLOW_AFTER && self.bytes > 0 {
            true => HealReason::Slow,
            false => HealReason::Stall,
        })
    }

    fn begin_wait(&self) -> Wait {
        // Whichever comes first: the stall, or the end of the time in which too little came.
        let patience = match self.is_slow_so_far() {
            true => self.stall_timeout.min(SLOW_AFTER.saturating_sub(self.waited)),
            false => self.stall_timeout,
        };
        let since = Instant::now();
        Wait { since, until: after(since, patience) }
    }

    /// The source gave bytes.
    pub(super) fn received(&mut self, bytes: usize) {
        self.end_wait();
        self.bytes += bytes as u64;
        if self.waited >= SLOW_AFTER && !self.is_slow_so_far() {
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
    }

    /// Another source begins.
    pub(super) fn restart(&mut self) {
        *self = Self { alarm: std::mem::take(&mut self.alarm), ..Self::new(self.stall_timeout) };
    }

    fn is_slow_so_far(&self) -> bool {
        self.bytes < SLOW_RATE * SLOW_AFTER.as_secs()
    }

    fn end_wait(&mut self) {
        if let Some(wait) = self.waiting.take() {
            self.waited += wait.since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const STALL: Duration = Duration::from_secs(5);

    async fn waits(pace: &mut Pace) -> HealReason {
        poll_fn(|cx| pace.poll_waiting(cx)).await
    }

    /// Waits for a chunk that comes after `delay`; what the pace says before it, if anything.
    async fn chunk_after(pace: &mut Pace, delay: Duration, bytes: usize) -> Option<HealReason> {
        match tokio::time::timeout(delay, waits(pace)).await {
            Ok(reason) => Some(reason),
            Err(_) => {
                pace.received(bytes);
                None
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_stall() {
        let begun = Instant::now();
        assert_eq!(waits(&mut Pace::new(STALL)).await, HealReason::Stall);
        assert_eq!(begun.elapsed(), STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_slow_after_ten_seconds_of_waiting() {
        let mut pace = Pace::new(STALL);
        let begun = Instant::now();
        let reason = loop {
            if let Some(reason) = chunk_after(&mut pace, Duration::from_secs(1), 100).await {
                break reason;
            }
        };
        assert_eq!(reason, HealReason::Slow);
        assert_eq!(begun.elapsed(), SLOW_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_source_is_never_slow() {
        let mut pace = Pace::new(STALL);
        for _ in 0..100 {
            let verdict = chunk_after(&mut pace, Duration::from_secs(1), 9 * 1024).await;
            assert_eq!(verdict, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_not_held_against_the_source() {
        let mut pace = Pace::new(STALL);
        for _ in 0..100 {
            pace.received(10);
            // The client takes a minute for it; nobody waits for the source meanwhile.
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert_eq!(chunk_after(&mut pace, Duration::from_secs(1), 10).await, None);
    }
}
