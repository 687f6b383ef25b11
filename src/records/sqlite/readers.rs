//! A few connections for reading, lent to one read at a time.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{RecordsError, closed, open, unavailable};

/// How many reads run at once. One takes some 10 µs when its page is in memory, so a few are plenty.
const CONNECTIONS: u32 = 4;

/// The pool: one permit for each connection.
pub(super) struct Readers {
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// A connection on loan; it goes back when this is dropped, and then the permit.
struct Loan {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    /// Opens the connections to a database that exists.
    pub(super) fn open(path: &Path) -> Result<Self, RecordsError> {
        let connections: rusqlite::Result<Vec<_>> =
            (0..CONNECTIONS).map(|_| open::reading_connection(path)).collect();
        let connections = connections.map_err(|error| {
            RecordsError::Unavailable(format!("cannot read {}: {error}", path.display()))
        })?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(connections.len())),
            idle: Arc::new(Mutex::new(connections)),
        })
    }

    /// Runs a query on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let loan = Loan::new(permit, self.idle.clone());
        // The loan goes along: a caller that leaves does not take the connection with it.
        let answer = tokio::task::spawn_blocking(move || query(loan.connection())).await;
        match answer {
            Ok(answer) => answer.map_err(|error| unavailable(&error)),
            Err(ended) => Err(RecordsError::Unavailable(format!("a read ended early: {ended}"))),
        }
    }

    /// Waits for the reads that run, then closes the connections.
    pub(super) async fn close(&self) {
        // Whoever asks from now on waits behind this, and is then told that the store is closed.
        let all = self.permits.acquire_many(CONNECTIONS).await;
        self.permits.close();
        if all.is_ok() {
            locked(&self.idle).clear();
        }
    }
}

impl Loan {
    fn new(permit: OwnedSemaphorePermit, idle: Arc<Mutex<Vec<Connection>>>) -> Self {
        let connection = locked(&idle).pop();
        Self { connection, idle, _permit: permit }
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("there are as many connections as permits")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        locked(&self.idle).extend(self.connection.take());
    }
}

fn locked(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().expect("nothing panics while it holds the connections")
}
