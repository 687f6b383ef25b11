//! How many requests are out at once: a limit with a short queue.
//!
//! When a CDN goes dark, all that it carried comes to storage. A store that is sent more than it can
//! take answers everybody late. So only so many requests are out at once, about as many wait for
//! their turn, briefly, and whoever comes then is told at once to come back later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The bounds of a [`ConcurrencyLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencyBounds {
    /// How many may be out at once.
    pub at_once: usize,
    /// How many may wait.
    pub queue: usize,
    /// How long each of them may wait.
    pub longest_wait: Duration,
}

/// At most so many at once, and a short queue, in the order of arrival.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    bounds: ConcurrencyBounds,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// One of those that are out. Dropped, it makes room for the next.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Permit {
    _slot: OwnedSemaphorePermit,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overloaded {
    /// Too many wait already.
    #[error("too many requests wait for their turn")]
    QueueFull,
    /// The turn did not come in time.
    #[error("no request came to its end in time")]
    WaitedTooLong,
}

impl ConcurrencyBounds {
    /// The requests of one app to its storage, each from its sending to the head of the answer.
    ///
    /// S3 carries 5,500 reads a second for a prefix and takes some 20 to 45 ms to the first byte:
    /// by Little's law at most 250 at once. Beyond, requests would wait there instead of here. A
    /// queue of as many is gone within one such time; whoever has waited for 100 ms would be better
    /// off elsewhere, and his client sees a quick refusal rather than a slow one.
    pub const STORAGE: Self =
        Self { at_once: 256, queue: 256, longest_wait: Duration::from_millis(100) };
}

impl ConcurrencyLimit {
    /// A limit with nobody out.
    #[must_use]
    pub fn new(bounds: ConcurrencyBounds) -> Self {
        let slots = Arc::new(Semaphore::new(bounds.at_once));
        Self { bounds, slots, waiting: AtomicUsize::new(0) }
    }

    /// Waits for a place, if need be. Whoever stops waiting (the future is dropped) leaves the
    /// queue.
    ///
    /// # Errors
    /// [`Overloaded`]: at once if the queue is full, else when the wait gets too long.
    pub async fn enter(&self) -> Result<Permit, Overloaded> {
        // Fails while others wait, also when a place has just come free: that one is theirs.
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Permit { _slot: slot });
        }
        let _place = Place::take(&self.waiting, self.bounds.queue).ok_or(Overloaded::QueueFull)?;
        let turn = Arc::clone(&self.slots).acquire_owned();
        match timeout(self.bounds.longest_wait, turn).await {
            Ok(slot) => Ok(Permit { _slot: slot.expect("the semaphore is never closed") }),
            Err(_) => Err(Overloaded::WaitedTooLong),
        }
    }

    /// How many are out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.bounds.at_once - self.slots.available_permits()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in the queue, given up when it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |now: usize| (now < most).then_some(now + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    const TINY: ConcurrencyBounds =
        ConcurrencyBounds { at_once: 2, queue: 2, longest_wait: Duration::from_millis(100) };

    #[tokio::test(start_paused = true)]
    async fn two_are_out_two_wait_and_the_fifth_is_told_at_once() {
        let limit = Arc::new(ConcurrencyLimit::new(TINY));
        let (first, _second) = (limit.enter().await.unwrap(), limit.enter().await.unwrap());
        let (mut third, mut fourth) = (Box::pin(limit.enter()), Box::pin(limit.enter()));
        assert!((&mut third).now_or_never().is_none());
        assert!((&mut fourth).now_or_never().is_none());
        assert_eq!((limit.out(), limit.waiting()), (2, 2));
        let refused = limit.enter().now_or_never().expect("it does not wait");
        assert_eq!(refused.unwrap_err(), Overloaded::QueueFull);

        drop(first);
        assert!((&mut fourth).now_or_never().is_none(), "the third came before");
        let _third = third.await.unwrap();
        assert_eq!((limit.out(), limit.waiting()), (2, 1));
        let begun = Instant::now();
        assert_eq!(fourth.await.unwrap_err(), Overloaded::WaitedTooLong);
        assert!(begun.elapsed() <= TINY.longest_wait + Duration::from_millis(1));
        assert_eq!((limit.out(), limit.waiting()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_queue_leaves_nothing_behind() {
        let limit = ConcurrencyLimit::new(TINY);
        let (first, second) = (limit.enter().await.unwrap(), limit.enter().await.unwrap());
        for _ in 0..10 {
            let mut waiting = Box::pin(limit.enter());
            assert!((&mut waiting).now_or_never().is_none());
            drop(waiting);
        }
        let mut chosen = Box::pin(limit.enter());
        assert!((&mut chosen).now_or_never().is_none());
        drop(first);
        // Its turn has come, and it leaves without having noticed.
        drop(chosen);
        drop(second);
        assert_eq!((limit.out(), limit.waiting()), (0, 0));
        let _both = (limit.enter().await.unwrap(), limit.enter().await.unwrap());
    }
}
