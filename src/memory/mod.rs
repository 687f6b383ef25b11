//! Small objects in the memory of this process: what is kept, for how long, and how it is fetched by
//! many readers at once.
//!
//! | file | what it knows |
//! |---|---|
//! | `life.rs` | how long something may be served |
//! | `entry.rs` | what is kept of an object, and what it weighs |
//! | `flights.rs` | one fetch for all who wait |
//!
//! Nothing here knows where objects come from: whoever reads brings the fetch along.

mod entry;
mod flights;
mod life;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{Error, FallbackReason, Source};
use crate::metrics::Metrics;
use crate::zero_copy::{MemoryFiles, Shared};

pub use entry::{Entry, Kept, Sought};
pub use flights::Waiting;
pub use life::{Life, STALE_IF_ERROR, STALE_WHILE_REVALIDATE, Use};

use entry::Key;
use flights::Flights;

/// The largest object that an app may have kept, in bytes: a fetch holds all of it before the first
/// byte goes out.
pub const LARGEST_OBJECT: u64 = 64 << 20;

/// How long a refusal is remembered.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// How long it is remembered that an object is not for memory.
const UNFIT_FOR: Duration = Duration::from_secs(600);

/// The smallest object that is worth a file, in bytes.
const WORTH_A_FILE: usize = 16 * 1024;

/// How many refusals, and how many unfit objects, are remembered: some 5 MiB each.
const MAX_NOTES: u64 = 10_000;

/// The least that fetches may hold at once, if half of the cache is as much, in bytes.
const LEAST_ROOM: u64 = 4 << 20;

/// The unit in which that room is counted, in bytes.
const ROOM_UNIT: u64 = 1024;

/// The cache.
pub struct MemoryCache {
    kept: Cache<Key, Entry>,
    refused: Cache<Key, Error>,
    unfit: Cache<Key, ()>,
    flights: Flights,
    /// How often something was forgotten.
    forgotten: AtomicU64,
    room: Arc<Semaphore>,
    largest: u64,
    files: Option<Arc<MemoryFiles>>,
    metrics: Arc<Metrics>,
}

/// What is known of an object.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is here.
    Kept(Entry, Use),
    /// It is here and stale, and nobody had a newer one within the last second.
    Stale(Entry),
    /// It was refused within the last second.
    Refused(Error),
    /// It is not for memory.
    Unfit,
    /// Nothing.
    Nothing,
}

/// What a fetch brought.
#[derive(Debug, Clone)]
pub enum Filled {
    /// The object.
    Kept(Entry, Origin),
    /// A refusal.
    Refused {
        /// Why.
        error: Error,
        /// Who refused.
        origin: Origin,
        /// Whether others are told so for a second.
        remember: bool,
    },
    /// An object that is not for memory: too large, of unknown length, or not to be kept.
    Unfit,
    /// Nothing that says anything of the object.
    Nothing,
}

/// Who answered a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The source.
    pub source: Source,
    /// Why it was not the CDN, where it should have been.
    pub fallback: Option<FallbackReason>,
}

/// A point in the order of what is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

/// How an object that is not here comes.
pub enum Joined {
    /// It has come in the meantime.
    Found(Found),
    /// Somebody fetches it already.
    Others(Waiting),
    /// It is fetched for the one who asked, and for all who come in the meantime.
    Own(Waiting),
}

impl Found {
    /// Whether there is nothing to ask anybody.
    fn is_settled(&self) -> bool {
        match self {
            Self::Kept(_, Use::Fresh) | Self::Stale(_) | Self::Refused(_) | Self::Unfit => true,
            Self::Kept(..) | Self::Nothing => false,
        }
    }
}

impl MemoryCache {
    /// A cache of this many bytes: an eighth is for fetches, or half of a small one.
    #[must_use]
    pub fn new(size: u64, metrics: &Arc<Metrics>) -> Self {
        let for_fetches = (size / 8).max(LEAST_ROOM.min(size / 2));
        let units = usize::try_from(for_fetches / ROOM_UNIT).unwrap_or(usize::MAX);
        let evictions = metrics.memory_evictions.clone();
        let kept = Cache::builder()
            .max_capacity(size - for_fetches)
            .weigher(|key: &Key, entry: &Entry| entry.weight(key))
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.inc();
                }
            })
            .build();
        Self {
            kept,
            refused: Cache::builder().max_capacity(MAX_NOTES).time_to_live(REFUSED_FOR).build(),
            unfit: Cache::builder().max_capacity(MAX_NOTES).time_to_live(UNFIT_FOR).build(),
            flights: Flights::default(),
            forgotten: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            largest: for_fetches / ROOM_UNIT * ROOM_UNIT,
            files: None,
            metrics: Arc::clone(metrics),
        }
    }

    /// The same, where what is worth it is kept in files, which sockets in the clear are sent
    /// without a copy.
    #[must_use]
    pub fn with_files(self, files: Arc<MemoryFiles>) -> Self {
        Self { files: Some(files), ..self }
    }

    /// The largest object that can be fetched into it, in bytes.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.largest
    }

    /// Looks for an object. No lock is taken, and nothing allocated.
    #[must_use]
    pub fn look(&self, sought: &Sought<'_>, now: Instant) -> Found {
        if let Some(entry) = self.kept.get(sought) {
            let allowed = entry.use_at(now);
            return match (allowed, || self.refused.get(sought)) {
                (Use::Fresh, _) => Found::Kept(entry, allowed),
                (Use::ServeAndRevalidate | Use::RevalidateOrServe, refused) => match refused() {
                    Some(_) => Found::Stale(entry),
                    None => Found::Kept(entry, allowed),
                },
                (Use::Revalidate, refused) => match refused() {
                    Some(error) => Found::Refused(error),
                    None => Found::Kept(entry, allowed),
                },
            };
        }
        if let Some(error) = self.refused.get(sought) {
            return Found::Refused(error);
        }
        if self.unfit.contains_key(sought) { Found::Unfit } else { Found::Nothing }
    }

    /// Waits for the fetch of an object, or begins one.
    pub fn join<F>(self: &Arc<Self>, sought: &Sought<'_>, fetch: impl FnOnce() -> F) -> Joined
    where
        F: Future<Output = Filled> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        // Again: it may have landed since the caller looked.
        let found = self.look(sought, Instant::now());
        if found.is_settled() {
            return Joined::Found(found);
        }
        match flights.find(sought) {
            Some(waiting) => Joined::Others(waiting),
            None => Joined::Own(flights.begin(self, sought, fetch())),
        }
    }

    /// Room for the bytes of an object while they are fetched; `None` if others have it all.
    #[must_use]
    pub fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(units).ok()
    }

    /// Takes the bytes of an object as they are kept.
    #[must_use]
    pub fn keep(&self, bytes: Bytes) -> Shared {
        let files = self.files.as_ref().filter(|_| bytes.len() >= WORTH_A_FILE);
        match files.and_then(|files| files.put(&bytes)) {
            Some(filed) => Shared::Filed(filed),
            None => Shared::Here(bytes),
        }
    }

    /// A moment, for [`Self::refuse`].
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.forgotten.load(Ordering::Acquire))
    }

    /// Remembers for a second that an object was refused to whoever asked for it since a moment; not
    /// if anything was forgotten in the meantime, because it may have been this object, whose
    /// refusal is over.
    pub fn refuse(&self, sought: &Sought<'_>, error: Error, since: Moment) {
        let _flights = self.flights.lock();
        if self.moment() == since {
            self.refused.insert(sought.to_key(), error);
        }
    }

    /// Forgets all that is known of an object, and what is being fetched of it.
    pub fn forget(&self, sought: &Sought<'_>) {
        let mut flights = self.flights.lock();
        self.forgotten.fetch_add(1, Ordering::Release);
        flights.forget(sought);
        self.kept.invalidate(sought);
        self.refused.invalidate(sought);
        self.unfit.invalidate(sought);
        self.tidy();
    }

    /// Forgets this version of an object, unless a newer one is here already.
    pub fn drop_version(&self, sought: &Sought<'_>, entry: &Entry) {
        let _flights = self.flights.lock();
        if self.kept.get(sought).is_some_and(|kept| Arc::ptr_eq(&kept.kept, &entry.kept)) {
            self.kept.invalidate(sought);
        }
    }

    /// Takes what a fetch brought, unless it was forgotten on its way.
    fn land(&self, key: &Key, number: u64, filled: &Filled) {
        let mut flights = self.flights.lock();
        if !flights.end(key, number) {
            return;
        }
        match filled {
            Filled::Kept(entry, _) => {
                self.refused.invalidate(key);
                self.kept.insert(key.clone(), entry.clone());
            }
            Filled::Refused { error, remember, .. } => {
                if *error == Error::NotFound {
                    self.kept.invalidate(key);
                }
                if *remember {
                    self.refused.insert(key.clone(), error.clone());
                }
            }
            Filled::Unfit => {
                self.kept.invalidate(key);
                self.unfit.insert(key.clone(), ());
            }
            Filled::Nothing => {}
        }
        self.tidy();
    }

    /// Evicts what is too much at once, and not when it suits.
    fn tidy(&self) {
        self.kept.run_pending_tasks();
        let shown = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.memory_bytes.set(shown(self.kept.weighted_size()));
        self.metrics.memory_entries.set(shown(self.kept.entry_count()));
        let files = self.files.as_ref().map_or(0, |files| files.count());
        self.metrics.memory_files.set(shown(files as u64));
    }
}

#[cfg(test)]
mod tests;
