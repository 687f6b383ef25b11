//! Where the buckets of a keyed limit are kept: a map that does not grow beyond its bound.
//!
//! A flood of made-up owners must neither push memory up, nor cost known owners their quota, nor
//! lock new owners out. So: who has a bucket keeps it. While the map is full, a newcomer is given
//! one of a fixed number of *shared* buckets, picked by the (secretly keyed) hash. It shares its
//! quota with whoever else hashes there; as a flood spreads evenly over all of them, honest
//! newcomers notice it only once it exceeds the rate times [`SHARED_BUCKETS`] (60/m: 65,536 new
//! owners a second). One shared bucket would lock newcomers out at once, and admitting them
//! unlimited would hand a flood the way around the limit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};

/// How many shared buckets there are, 8 bytes each: 512 KiB, allocated when a map is first full.
const SHARED_BUCKETS: usize = 1 << 16;

/// Buckets by key, at most `max_keys` of them (concurrent newcomers may exceed that by a few), and
/// the shared buckets.
///
/// A key must be spread evenly over all 64 bits, in a way that callers cannot foresee. A clone is
/// another handle of the same buckets.
#[derive(Clone)]
pub(super) struct BoundedStore(Arc<Buckets>);

struct Buckets {
    own: DashMapStateStore<u64>,
    /// The number of buckets in `own`. The map's own `len` locks each of its shards.
    count: AtomicUsize,
    max_keys: AtomicUsize,
    shared: OnceLock<Box<[InMemoryState]>>,
}

impl BoundedStore {
    pub(super) fn new(max_keys: usize) -> Self {
        Self(Arc::new(Buckets {
            own: DashMapStateStore::default(),
            count: AtomicUsize::new(0),
            max_keys: AtomicUsize::new(max_keys),
            shared: OnceLock::new(),
        }))
    }

    /// Sets another bound. Buckets beyond it stay until they are full again.
    pub(super) fn set_max_keys(&self, max_keys: usize) {
        self.0.max_keys.store(max_keys, Ordering::Relaxed);
    }

    /// Whether there is no room for another key.
    pub(super) fn is_full(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) >= self.0.max_keys.load(Ordering::Relaxed)
    }

    /// Puts one token back that was taken from the key's bucket; `token` is the time in which one is
    /// refilled. A bucket holds no more than it ever did: what is full stays full.
    pub(super) fn give_back(&self, key: u64, token: Nanos) {
        if let Some(bucket) = self.0.own.get(&key) {
            put_back(&bucket, token);
        } else if let Some(shared) = self.0.shared.get() {
            put_back(&shared[slot(key)], token);
        }
    }
}

impl Buckets {
    fn shared_bucket(&self, key: u64) -> &InMemoryState {
        let buckets = self
            .shared
            .get_or_init(|| (0..SHARED_BUCKETS).map(|_| InMemoryState::default()).collect());
        &buckets[slot(key)]
    }
}

fn slot(key: u64) -> usize {
    usize::try_from(key % SHARED_BUCKETS as u64).expect("it is below 2¹⁶")
}

/// Puts one token back into a bucket. Its state is the time at which it will be full, which the token
/// brings nearer; a time that has passed already means no more than "full".
pub(super) fn put_back(bucket: &InMemoryState, token: Nanos) {
    let sooner = |full_at: Option<Nanos>| match full_at {
        Some(full_at) => Ok(((), full_at.saturating_sub(token))),
        None => Err(()),
    };
    // A bucket that nobody has used is full.
    let _ = bucket.measure_and_replace(&NotKeyed::NonKey, sooner);
}

impl StateStore for BoundedStore {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(bucket) = self.0.own.get(key) {
            return bucket.measure_and_replace(&NotKeyed::NonKey, decide);
        }
        if self.is_full() {
            return self.0.shared_bucket(*key).measure_and_replace(&NotKeyed::NonKey, decide);
        }
        let bucket = self.0.own.entry(*key).or_insert_with(|| {
            self.0.count.fetch_add(1, Ordering::Relaxed);
            InMemoryState::default()
        });
        bucket.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

impl ShrinkableKeyedStateStore<u64> for BoundedStore {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.own.retain_recent(drop_below);
        // A newcomer in between may be counted twice or not at all, until the next sweep.
        self.0.count.store(self.0.own.len(), Ordering::Relaxed);
    }

    fn shrink_to_fit(&self) {
        self.0.own.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
