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
/// A key must be spread evenly over all 64 bits, in a way that callers cannot foresee.
pub(super) struct BoundedStore {
    own: DashMapStateStore<u64>,
    /// The number of buckets in `own`. The map's own `len` locks each of its shards.
    count: AtomicUsize,
    max_keys: Arc<AtomicUsize>,
    shared: OnceLock<Box<[InMemoryState]>>,
}

impl BoundedStore {
    pub(super) fn new(max_keys: Arc<AtomicUsize>) -> Self {
        Self {
            own: DashMapStateStore::default(),
            count: AtomicUsize::new(0),
            max_keys,
            shared: OnceLock::new(),
        }
    }

    fn shared_bucket(&self, key: u64) -> &InMemoryState {
        let buckets = self
            .shared
            .get_or_init(|| (0..SHARED_BUCKETS).map(|_| InMemoryState::default()).collect());
        let slot = key % SHARED_BUCKETS as u64;
        &buckets[usize::try_from(slot).expect("it is below 2¹⁶")]
    }
}

impl StateStore for BoundedStore {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(bucket) = self.own.get(key) {
            return bucket.measure_and_replace(&NotKeyed::NonKey, decide);
        }
        if self.count.load(Ordering::Relaxed) >= self.max_keys.load(Ordering::Relaxed) {
            return self.shared_bucket(*key).measure_and_replace(&NotKeyed::NonKey, decide);
        }
        let bucket = self.own.entry(*key).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            InMemoryState::default()
        });
        bucket.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

impl ShrinkableKeyedStateStore<u64> for BoundedStore {
    fn retain_recent(&self, drop_below: Nanos) {
        self.own.retain_recent(drop_below);
        // A newcomer in between may be counted twice or not at all, until the next sweep.
        self.count.store(self.own.len(), Ordering::Relaxed);
    }

    fn shrink_to_fit(&self) {
        self.own.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
