//! Single flight: whoever asks for what is being fetched waits for that fetch.
//!
//! A fetch runs in a task of its own, so that it depends on none of those who wait for it. When the
//! last of them is gone it is cancelled, as any read is that nobody waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::task::JoinHandle;

use super::entry::{Key, Sought};
use super::{Filled, MemoryCache};

/// A fetch, for one of those who wait for it.
pub type Waiting = Shared<BoxFuture<'static, Filled>>;

/// The fetches that are on their way.
#[derive(Default)]
pub(super) struct Flights(Mutex<OnTheirWay>);

#[derive(Default)]
pub(super) struct OnTheirWay {
    /// The number of the next fetch.
    next: u64,
    by_key: HashMap<Key, Flight>,
}

struct Flight {
    number: u64,
    fetch: WeakShared<BoxFuture<'static, Filled>>,
}

impl Flights {
    /// Whoever changes what is kept holds this, so that a fetch is either on its way or has landed.
    pub(super) fn lock(&self) -> MutexGuard<'_, OnTheirWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnTheirWay {
    /// The fetch of an object, if somebody waits for one.
    pub(super) fn find(&self, sought: &Sought<'_>) -> Option<Waiting> {
        self.by_key.get(&sought.to_key())?.fetch.upgrade()
    }

    /// Begins one.
    pub(super) fn begin(
        &mut self,
        cache: &Arc<MemoryCache>,
        sought: &Sought<'_>,
        fetch: impl Future<Output = Filled> + Send + 'static,
    ) -> Waiting {
        let number = self.next;
        self.next += 1;
        let landing = Landing { cache: Arc::clone(cache), key: sought.to_key(), number };
        let flight = async move {
            let filled = fetch.await;
            landing.cache.land(&landing.key, landing.number, &filled);
            filled
        };
        // The task begins with the first wait, and so outside of the lock: a runtime that is going
        // down drops what is spawned on the spot, and that takes it off the list.
        let waiting = async move { Task(tokio::spawn(flight)).result().await }.boxed().shared();
        let fetch = waiting.downgrade().expect("it was not polled yet");
        self.by_key.insert(sought.to_key(), Flight { number, fetch });
        waiting
    }

    /// Takes a fetch off the list; whether it was still on it.
    pub(super) fn end(&mut self, key: &Key, number: u64) -> bool {
        let is_it = self.by_key.get(key).is_some_and(|flight| flight.number == number);
        is_it && self.by_key.remove(key).is_some()
    }

    /// Forgets the fetch of an object: those who wait get it, nobody else does.
    pub(super) fn forget(&mut self, sought: &Sought<'_>) {
        self.by_key.remove(&sought.to_key());
    }
}

/// Takes a fetch off the list, however it ends.
struct Landing {
    cache: Arc<MemoryCache>,
    key: Key,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.cache.flights.lock().end(&self.key, self.number);
    }
}

/// A task that ends with this value.
struct Task(JoinHandle<Filled>);

impl Task {
    async fn result(mut self) -> Filled {
        (&mut self.0).await.unwrap_or(Filled::Nothing)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
