//! The one writer: a thread that commits whatever waits as one group.

use std::fs::File;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params_from_iter};
use tokio::sync::{mpsc, oneshot};

use super::open::Database;
use super::{RecordsError, closed};

/// How many writes may wait. Where a commit takes 5 ms, a full queue is 80 ms behind.
pub(super) const MAX_WAITING: usize = 8192;

/// How many writes one group may hold, so that the first does not wait long for the last.
pub(super) const MAX_GROUP: usize = 512;

/// Told the size of each committed group, and how long it took.
pub(super) type OnCommit = Box<dyn FnMut(usize, Duration) + Send>;

/// A statement and its parameters, in order.
pub(super) type Statement = (&'static str, Vec<Value>);

/// A change that is carried out wholly or not at all.
pub(super) struct Write {
    /// What decides whether there is anything to change.
    pub(super) first: Statement,
    /// What goes with it, carried out only if the first changed a row.
    pub(super) then: Option<Statement>,
    /// The answer if the first changes no row; `None` if that is fine.
    pub(super) if_unchanged: Option<RecordsError>,
}

/// A write, and who waits for it.
struct Waiting {
    write: Write,
    answer: oneshot::Sender<Result<usize, RecordsError>>,
}

/// The way to the writer's thread.
pub(super) struct Writer {
    /// `None` once closed. The thread ends when it has emptied the queue.
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    /// `None` once joined.
    thread: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        database: Database,
        max_group: usize,
        on_commit: OnCommit,
    ) -> Result<Self, RecordsError> {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let Database { connection, lock, .. } = database;
        let thread = std::thread::Builder::new()
            .name("records-writer".to_owned())
            .spawn(move || run(connection, lock, waiting, max_group, on_commit))
            .map_err(|error| {
                RecordsError::Unavailable(format!("cannot start the writer's thread: {error}"))
            })?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: tokio::sync::Mutex::new(Some(thread)) })
    }

    /// Queues a write and waits until it is on disk. Once queued it is carried out, whether anybody
    /// still waits or not. Answers how many rows the first statement changed.
    pub(super) async fn write(&self, write: Write) -> Result<usize, RecordsError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Waiting { write, answer })?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    fn enqueue(&self, waiting: Waiting) -> Result<(), RecordsError> {
        use mpsc::error::TrySendError;
        let queue = self.queue.lock().expect("nothing panics while it holds the queue");
        let queue = queue.as_ref().ok_or_else(closed)?;
        queue.try_send(waiting).map_err(|error| match error {
            TrySendError::Full(_) => {
                RecordsError::Unavailable(format!("{MAX_WAITING} writes are waiting already"))
            }
            TrySendError::Closed(_) => stopped(),
        })
    }

    /// How many writes have not been taken up.
    pub(super) fn waiting(&self) -> usize {
        let queue = self.queue.lock().expect("nothing panics while it holds the queue");
        queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Takes no more writes, and returns when all that were queued are committed.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().expect("nothing panics while it holds the queue").take());
        // Whoever closes at the same time waits here until the first is through.
        let mut thread = self.thread.lock().await;
        if let Some(thread) = thread.take() {
            // A writer that panicked has said so on stderr, and its callers have been told.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// What callers are told when the thread is gone.
fn stopped() -> RecordsError {
    RecordsError::Unavailable("the writer stopped: restart the gateway".to_owned())
}

/// The writer's thread: ends when the queue is closed and empty. The lock is released after the
/// connection is closed, in the order of the bindings' drop.
fn run(
    connection: Connection,
    lock: File,
    mut waiting: mpsc::Receiver<Waiting>,
    max_group: usize,
    mut on_commit: OnCommit,
) {
    let _lock = lock;
    let mut connection = connection;
    let mut group = Vec::with_capacity(max_group);
    let mut last = 0;
    while waiting.blocking_recv_many(&mut group, max_group) > 0 {
        // One who asks alone waits for nobody.
        if group.len().max(last) > 1 {
            gather(&mut waiting, &mut group, max_group);
        }
        let begun = Instant::now();
        let committed = commit(&mut connection, &group);
        let (size, took) = (group.len(), begun.elapsed());
        last = size;
        match committed {
            Ok(changed) => {
                for (waiting, changed) in group.drain(..).zip(changed) {
                    let Waiting { write, answer } = waiting;
                    // Whoever does not wait any more does not need the answer.
                    let _ = answer.send(match write.if_unchanged {
                        Some(error) if changed == 0 => Err(error),
                        _ => Ok(changed),
                    });
                }
                on_commit(size, took);
            }
            Err(error) => {
                for waiting in group.drain(..) {
                    let _ = waiting.answer.send(Err(super::unavailable(&error)));
                }
            }
        }
    }
}

/// Lets those go first who are about to ask, where they wait for this thread's core: what they bring is
/// committed in the same group. With a core to spare for this thread, it loses no time.
fn gather(waiting: &mut mpsc::Receiver<Waiting>, group: &mut Vec<Waiting>, max_group: usize) {
    loop {
        let before = group.len();
        std::thread::yield_now();
        while group.len() < max_group
            && let Ok(more) = waiting.try_recv()
        {
            group.push(more);
        }
        if group.len() == before || group.len() == max_group {
            return;
        }
    }
}

/// Carries out a group in one transaction: all of it is on disk when this returns, or nothing is.
/// For each write, how many rows its first statement changed.
fn commit(connection: &mut Connection, group: &[Waiting]) -> rusqlite::Result<Vec<usize>> {
    // A rollback that failed itself must not leave the store unusable for good.
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let changed = carry_out(&transaction, group)?;
    transaction.commit()?;
    Ok(changed)
}

fn carry_out(connection: &Connection, group: &[Waiting]) -> rusqlite::Result<Vec<usize>> {
    let mut changed = Vec::with_capacity(group.len());
    // Most of a group is more of the same: the statement is looked for where it is another one.
    let mut prepared: Option<(&str, CachedStatement<'_>)> = None;
    for Waiting { write, .. } in group {
        let (sql, values) = &write.first;
        let statement = match &mut prepared {
            Some((known, statement)) if std::ptr::eq(*known, *sql) => statement,
            other => &mut other.insert((sql, connection.prepare_cached(sql)?)).1,
        };
        let rows = statement.execute(params_from_iter(values))?;
        if rows > 0
            && let Some((sql, values)) = &write.then
        {
            connection.prepare_cached(sql)?.execute(params_from_iter(values))?;
        }
        changed.push(rows);
    }
    Ok(changed)
}
