//! A timer that is set again and again, and nearly never rings.
//!
//! Most limits end with what they limit long before their time: a head that comes, a client that
//! goes on. To set a timer of the runtime for each, and to take it back, costs more than all else
//! that such a wait does. An [`Alarm`] is kept instead, and leaves a timer that is set too early as
//! it is: when that rings it is set to the time that counts by then.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest that anything is waited for: beyond it a clock may end.
const FAR: Duration = Duration::from_secs(86_400);

/// When a limit is over that began then.
pub(crate) fn after(began: Instant, limit: Duration) -> Instant {
    began + limit.min(FAR)
}

/// A timer for one wait after the other. It costs nothing before the first.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once it is `until`. The task may be woken before that too, and finds nothing then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() == until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

/// Alarms of many short waits, which are lent to one after the other.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<Vec<Alarm>>);

/// How many alarms are kept that nobody waits for: a few hundred bytes each.
const MAX_SPARE: usize = 256;

/// An alarm that goes back to the others.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    alarms: &'a Alarms,
    alarm: Alarm,
}

impl Alarms {
    /// Lends an alarm.
    pub(crate) fn lend(&self) -> Lent<'_> {
        Lent { alarms: self, alarm: self.lock().pop().unwrap_or_default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// Waits until then.
    pub(crate) async fn wait(&mut self, until: Instant) {
        poll_fn(|cx| self.alarm.poll(until, cx)).await;
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut spare = self.alarms.lock();
        if spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.alarm));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_in_time_wherever_it_was_set_before() {
        let second = Duration::from_secs(1);
        let mut alarm = Alarm::default();
        for ahead in [5, 60, 1, 1, 30, 0, 2] {
            // Set, and not waited for to its end.
            let until = Instant::now() + ahead * second;
            let is_over = poll_fn(|cx| Poll::Ready(alarm.poll(until, cx).is_ready())).await;
            assert_eq!(is_over, ahead == 0, "{ahead} s");
            for later in [3, 90, 7] {
                let until = Instant::now() + later * second;
                poll_fn(|cx| alarm.poll(until, cx)).await;
                assert_eq!(Instant::now(), until, "{ahead} s, then {later} s");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_over_at_once() {
        let mut alarm = Alarm::default();
        let now = Instant::now();
        poll_fn(|cx| alarm.poll(now, cx)).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        poll_fn(|cx| alarm.poll(now, cx)).await;
        poll_fn(|cx| alarm.poll(now + Duration::from_millis(1), cx)).await;
        assert_eq!(Instant::now(), now + Duration::from_secs(1));
        assert!(after(now, Duration::MAX) > now + Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_lent_one_is_woken_in_time_whoever_had_it_before() {
        let (alarms, second) = (Alarms::default(), Duration::from_secs(1));
        for ahead in [1, 9, 2] {
            let (mut short, mut long) = (alarms.lend(), alarms.lend());
            let begun = Instant::now();
            tokio::join!(short.wait(begun + ahead * second), long.wait(begun + 2 * ahead * second));
            assert_eq!(begun.elapsed(), 2 * ahead * second);
            // Set, and given back before its time.
            let far = begun + Duration::from_secs(60);
            tokio::time::timeout(second, alarms.lend().wait(far)).await.unwrap_err();
        }
        assert_eq!(alarms.lock().len(), 3);
    }
}
