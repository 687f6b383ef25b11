//! A bucket for each key: the limits of owners, client addresses and uploads.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference as _};
use governor::middleware::StateInformationMiddleware;

use super::bounded_store::BoundedStore;
use super::clock::SharedClock;
use super::{Policy, quota};
use crate::domain::{Rate, RateLimitVerdict};

/// How many keys a limiter remembers unless told otherwise. At about 20 to 40 bytes each (16 of
/// key and bucket, the rest is the free space of a hash map) this is up to 40 MB.
pub const DEFAULT_MAX_KEYS: usize = 1_000_000;

/// How often a full limiter looks for buckets that it can forget. A sweep of 10⁶ keys takes some
/// 14 ms, on the thread of whoever asked.
const FULL_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// One bucket of a [`KeyedLimiter`], without the key that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket(u64);

/// A limit with a bucket for each key, in bounded memory.
///
/// Only a 64-bit hash of a key is kept, keyed by a secret of this process (`SipHash`), so that nobody
/// can choose keys that collide; among 10⁶ keys two share a bucket by chance once in 10⁷ cases.
///
/// A key whose bucket is full again is forgotten by [`KeyedLimiter::sweep`]. When more than the
/// bound are in use, known keys keep their buckets and new ones share 65,536 spare ones.
pub struct KeyedLimiter<C: Clock = SharedClock> {
    policy: Policy,
    store: BoundedStore,
    limiter: governor::RateLimiter<u64, BoundedStore, C, StateInformationMiddleware>,
    created: C::Instant,
    /// When the last sweep began that was made because the limiter was full, in nanoseconds since
    /// `created`.
    last_full_sweep: AtomicU64,
}

impl KeyedLimiter {
    /// Makes the limit, with a full bucket for everyone. `limit` is its name in answers and
    /// metrics; `max_keys` bounds its memory ([`DEFAULT_MAX_KEYS`]).
    #[must_use]
    pub fn new(limit: &'static str, rate: Rate, max_keys: usize) -> Self {
        Self::with_clock(limit, rate, max_keys, SharedClock)
    }
}

impl<C: Clock> KeyedLimiter<C> {
    /// The same, by another clock.
    #[must_use]
    pub fn with_clock(limit: &'static str, rate: Rate, max_keys: usize, clock: C) -> Self {
        let created = clock.now();
        let store = BoundedStore::new(max_keys);
        Self {
            policy: Policy { limit, rate },
            limiter: governor::RateLimiter::new(quota(rate), store.clone(), clock),
            store,
            created,
            last_full_sweep: AtomicU64::new(0),
        }
    }

    /// Takes a token from the key's bucket.
    ///
    /// # Errors
    /// The verdict again, if there is none.
    pub fn check<K: Hash + ?Sized>(&self, key: &K) -> Result<RateLimitVerdict, RateLimitVerdict> {
        self.take(self.bucket(key))
    }

    /// Which bucket is the key's.
    #[must_use]
    pub fn bucket<K: Hash + ?Sized>(&self, key: &K) -> Bucket {
        // One for the process: an app has two such limits, there may be thousands of apps, and each
        // request would have to fetch those of its own.
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Bucket(HASHER.hash_one(key))
    }

    /// Puts a token back that was taken from this bucket: what it was taken for was not done.
    pub fn give_back(&self, bucket: Bucket) {
        self.store.give_back(bucket.0, self.policy.rate.interval().into());
    }

    /// Takes a token from a bucket.
    ///
    /// # Errors
    /// The verdict again, if there is none.
    pub fn take(&self, bucket: Bucket) -> Result<RateLimitVerdict, RateLimitVerdict> {
        self.sweep_if_full();
        match self.limiter.check_key(&bucket.0) {
            Ok(state) => Ok(self.policy.admitted(&state)),
            Err(until) => {
                Err(self.policy.refused(until.wait_time_from(self.limiter.clock().now())))
            }
        }
    }

    /// Forgets every key whose bucket is full again, and gives the memory back. To be called from
    /// time to time, on a thread that may take milliseconds for it.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// Sets another bound. Keys beyond it are kept until their buckets are full again.
    pub fn set_max_keys(&self, max_keys: usize) {
        self.store.set_max_keys(max_keys);
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.limiter.len()
    }

    /// Makes room when the bound is reached, at most once an interval; one caller does it, while
    /// the others go on.
    fn sweep_if_full(&self) {
        if !self.store.is_full() {
            return;
        }
        let now = self.limiter.clock().now().duration_since(self.created).as_u64();
        let last = self.last_full_sweep.load(Ordering::Relaxed);
        let due =
            last == 0 || Duration::from_nanos(now.saturating_sub(last)) >= FULL_SWEEP_INTERVAL;
        // Zero stands for never.
        let taken = due
            && self
                .last_full_sweep
                .compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if taken {
            // The memory is not given back: it is about to be used again.
            self.limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(
        rate: &str,
        burst: u32,
        max_keys: usize,
    ) -> (KeyedLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate::parse(rate, burst).unwrap();
        (KeyedLimiter::with_clock("owner", rate, max_keys, clock.clone()), clock)
    }

    #[test]
    fn each_key_has_its_own_bucket() {
        let (limiter, clock) = limiter("60/m", 2, 1000);
        assert_eq!(limiter.check("ann").unwrap().remaining, 1);
        assert_eq!(limiter.check("ann").unwrap().remaining, 0);
        let expected = RateLimitVerdict {
            limit: "owner",
            quota: 2,
            window: Duration::from_secs(2),
            remaining: 0,
            retry_after: Duration::from_secs(1),
        };
        assert_eq!(limiter.check("ann"), Err(expected));
        assert_eq!(limiter.check("bob").unwrap().remaining, 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.check("ann").unwrap().remaining, 0);
        assert!(limiter.check("ann").is_err());
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let (limiter, clock) = limiter("60/m", 2, 1000);
        let ann = limiter.bucket("ann");
        limiter.give_back(ann);
        assert_eq!(limiter.keys(), 0, "whoever is unknown has nothing to get back");
        for _ in 0..10 {
            assert_eq!(limiter.take(ann).unwrap().remaining, 1);
            limiter.give_back(ann);
        }
        limiter.give_back(ann);
        limiter.take(ann).unwrap();
        limiter.take(ann).unwrap();
        assert!(limiter.take(ann).is_err(), "a bucket of two never holds three");
        clock.advance(Duration::from_mins(1));
        limiter.give_back(ann);
        assert_eq!(limiter.take(ann).unwrap().remaining, 1, "nor later");
        assert_eq!(limiter.check("ann").unwrap().remaining, 0, "it is the same bucket");
    }

    #[test]
    fn whoever_shares_a_bucket_gives_back_to_it() {
        let (limiter, _clock) = limiter("1/h", 1, 1);
        limiter.check("known").unwrap();
        let newcomer = limiter.bucket("newcomer");
        for _ in 0..3 {
            limiter.take(newcomer).unwrap();
            assert!(limiter.take(newcomer).is_err());
            limiter.give_back(newcomer);
        }
    }

    #[test]
    fn the_wait_of_a_slow_rate_is_told_in_full() {
        let (limiter, clock) = limiter("2/h", 1, 1000);
        limiter.check("ann").unwrap();
        clock.advance(Duration::from_millis(500));
        let wait = limiter.check("ann").unwrap_err().retry_after;
        assert_eq!(wait, Duration::from_secs(1800), "1799.5 s, rounded up");
    }

    #[test]
    fn a_sweep_forgets_exactly_the_full_buckets() {
        let (limiter, clock) = limiter("60/m", 10, 1000);
        for owner in 0..100 {
            limiter.check(&owner).unwrap();
        }
        for _ in 0..9 {
            limiter.check(&0).unwrap();
        }
        assert_eq!(limiter.keys(), 100);
        limiter.sweep();
        assert_eq!(limiter.keys(), 100, "none is full yet");
        clock.advance(Duration::from_millis(5500));
        limiter.sweep();
        assert_eq!(limiter.keys(), 1, "all but the one that lacks ten tokens");
        assert_eq!(limiter.check(&0).unwrap().remaining, 4, "its bucket survived");
    }

    #[test]
    fn a_flood_of_new_keys_costs_neither_memory_nor_the_known_ones() {
        let (limiter, _clock) = limiter("1/h", 3, 500);
        assert_eq!(limiter.check("known").unwrap().remaining, 2);
        for invented in 0..20_000 {
            let _ = limiter.check(&invented);
        }
        assert_eq!(limiter.keys(), 500);
        assert_eq!(limiter.check("known").unwrap().remaining, 1);
        assert_eq!(limiter.check("known").unwrap().remaining, 0);
        assert!(limiter.check("known").is_err());
        // Newcomers are still limited: 20 requests do not fit a bucket of three.
        let admitted = (0..20).filter(|_| limiter.check("late").is_ok()).count();
        assert!(admitted <= 3, "{admitted}");
    }

    #[test]
    fn newcomers_of_a_full_limiter_are_not_locked_out() {
        let (limiter, _clock) = limiter("1/h", 3, 1);
        limiter.check("known").unwrap();
        // 1,000 newcomers over 65,536 buckets of three: that four share one and one is refused has
        // odds of 1,000⁴ / 24 / 65,536³, about 1 in 7,000; that ten are refused, none to speak of.
        let refused = (0..1000).filter(|newcomer| limiter.check(newcomer).is_err()).count();
        assert!(refused < 10, "{refused}");
        assert_eq!(limiter.keys(), 1);
    }

    #[test]
    fn a_full_limiter_makes_room_by_itself_once_an_interval() {
        let (limiter, clock) = limiter("60/m", 1, 10);
        clock.advance(Duration::from_secs(1));
        for owner in 0..11 {
            let _ = limiter.check(&owner);
        }
        assert_eq!(limiter.keys(), 10, "the sweep found nothing to forget");
        clock.advance(Duration::from_millis(500));
        limiter.check("early").unwrap();
        assert_eq!(limiter.keys(), 10, "no sweep twice in an interval");
        clock.advance(Duration::from_secs(2));
        limiter.check("late").unwrap();
        assert_eq!(limiter.keys(), 1, "all the others were forgotten");
    }

    #[test]
    fn the_bound_may_change_and_takes_nobodys_bucket() {
        let (limiter, _clock) = limiter("1/h", 3, 1000);
        for owner in 0..100 {
            limiter.check(&owner).unwrap();
        }
        limiter.set_max_keys(50);
        let _ = limiter.check("late");
        assert_eq!(limiter.keys(), 100, "who is known stays, and nobody joins");
        assert_eq!(limiter.check(&7).unwrap().remaining, 1);
        limiter.set_max_keys(200);
        limiter.check("later").unwrap();
        assert_eq!(limiter.keys(), 101);
    }

    #[test]
    fn concurrent_checks_take_no_token_twice() {
        let (limiter, _clock) = limiter("1/h", 100, 1000);
        let admitted: usize = std::thread::scope(|scope| {
            let ask = || (0..100).filter(|_| limiter.check("ann").is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 100);
    }
}
