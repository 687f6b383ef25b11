//! Idle connections, by origin, the most recently used first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Origin;
use super::connection::Connection;
use crate::zero_copy::Pipes;

/// How long a connection may be idle. Shorter than the keep-alive of the servers that are common
/// upstream (S3 closes after about 20 s, nginx after 75 s), so that few are found dead.
const MAX_IDLE: Duration = Duration::from_secs(15);

/// How many idle connections are kept per origin.
const MAX_IDLE_PER_ORIGIN: usize = 256;

/// How often idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Pool {
    idle: Mutex<HashMap<String, Vec<Idle>>>,
    pipes: Arc<Pipes>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    /// Makes a pool and starts its sweeper, which ends with it.
    pub(super) fn start() -> Arc<Self> {
        let pool = Arc::new(Self { idle: Mutex::default(), pipes: Pipes::new() });
        tokio::spawn(sweep_until_dropped(Arc::downgrade(&pool)));
        pool
    }

    /// What bodies are passed on through.
    pub(super) const fn pipes(&self) -> &Arc<Pipes> {
        &self.pipes
    }

    /// Takes a live idle connection.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Connection>> {
        loop {
            let mut idle = self.lock().get_mut(origin.pool_key())?.pop()?;
            if idle.is_usable() {
                return Some(idle.connection);
            }
        }
    }

    /// Gives a connection back, if it can be used again.
    pub(super) fn give_back(&self, origin: &Origin, mut connection: Box<Connection>) {
        if !connection.is_reusable() {
            return;
        }
        connection.rest();
        let idle = Idle { connection, since: Instant::now() };
        let mut map = self.lock();
        // The key is cloned only for an origin's first connection.
        match map.get_mut(origin.pool_key()) {
            Some(list) if list.len() < MAX_IDLE_PER_ORIGIN => list.push(idle),
            Some(_) => {}
            None => {
                map.insert(origin.pool_key().to_owned(), vec![idle]);
            }
        }
    }

    fn sweep(&self) {
        self.lock().retain(|_, list| {
            list.retain_mut(Idle::is_usable);
            !list.is_empty()
        });
        self.pipes.close_unused();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_usable(&mut self) -> bool {
        self.since.elapsed() < MAX_IDLE && self.connection.is_idle()
    }
}

async fn sweep_until_dropped(pool: Weak<Pool>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        match pool.upgrade() {
            Some(pool) => pool.sweep(),
            None => return,
        }
    }
}
