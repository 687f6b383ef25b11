//! How the client of a connection behaves: whether it takes what it asked for, whether it uses the
//! connection, and whether it takes back what it asks.
//!
//! hyper runs each stream in a task of its own, which waits for the client's window without an end.
//! So the task is wrapped (`Streams`): what its body gives, and whether it was asked for more, is
//! known to both sides of that task (`Progress`), and a task that waits too long is dropped, which
//! resets its stream. TCP itself is watched by the connection's `Patient`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::alarm::Alarm;

/// How long a client may take nothing of a stream.
const PATIENCE: Duration = Duration::from_secs(30);

/// From how many requests that were taken back before they had an answer on a connection is judged
/// by them; it is cut when they are more than half of all. A browser that is scrolled takes back
/// some. Envoy's numbers (`overload.premature_reset_total_stream_count`).
const MANY_TAKEN_BACK: u64 = 500;

/// What is known of a connection's client.
pub(super) struct Conduct {
    streams: Mutex<LiveStreams>,
    /// Pieces of answers that the client has taken, of all streams.
    pieces_taken: AtomicU64,
    /// Requests that came.
    asked: AtomicU64,
    /// Those of them that were reset before they had an answer.
    taken_back: AtomicU64,
    abusive: Notify,
}

/// The streams that have a task.
struct LiveStreams {
    count: u64,
    /// When there were none any more.
    none_since: Instant,
}

impl Conduct {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            streams: Mutex::new(LiveStreams { count: 0, none_since: now }),
            pieces_taken: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            taken_back: AtomicU64::new(0),
            abusive: Notify::new(),
        }
    }

    /// Since when no stream has been worked on; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let streams = self.streams();
        (streams.count == 0).then_some(streams.none_since)
    }

    /// Whether there ever was a request.
    pub(super) fn was_used(&self) -> bool {
        self.asked.load(Relaxed) > 0
    }

    /// Waits until the client has taken back more than anybody should have to bear.
    pub(super) async fn is_abusive(&self) {
        self.abusive.notified().await;
    }

    fn streams(&self) -> MutexGuard<'_, LiveStreams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that has a task.
pub(super) struct Live(Arc<Conduct>);

impl Live {
    pub(super) fn begin(conduct: &Arc<Conduct>) -> Self {
        conduct.streams().count += 1;
        conduct.asked.fetch_add(1, Relaxed);
        Self(Arc::clone(conduct))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut streams = self.0.streams();
        streams.count -= 1;
        if streams.count == 0 {
            streams.none_since = Instant::now();
        }
    }
}

/// A request that is being answered. Dropped before it is done, it was taken back.
pub(super) struct Answering(Option<Arc<Conduct>>);

impl Answering {
    pub(super) fn begin(conduct: &Arc<Conduct>) -> Self {
        Self(Some(Arc::clone(conduct)))
    }

    /// There is an answer.
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Some(conduct) = self.0.take() else { return };
        let taken_back = conduct.taken_back.fetch_add(1, Relaxed) + 1;
        if is_too_much(taken_back, conduct.asked.load(Relaxed)) {
            conduct.abusive.notify_one();
        }
    }
}

const fn is_too_much(taken_back: u64, asked: u64) -> bool {
    taken_back >= MANY_TAKEN_BACK && taken_back * 2 > asked
}

/// What a stream's task and the body in it know of each other.
pub(super) struct Progress {
    conduct: Arc<Conduct>,
    /// Pieces given to the client.
    given: AtomicU64,
    /// Those of them that it took: all, or all but the last.
    taken: AtomicU64,
}

impl Progress {
    pub(super) fn new(conduct: &Arc<Conduct>) -> Arc<Self> {
        let (given, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { conduct: Arc::clone(conduct), given, taken })
    }

    /// A piece waits for the client.
    pub(super) fn given(&self) {
        self.given.fetch_add(1, Relaxed);
    }

    /// None waits any more.
    pub(super) fn taken(&self) {
        let given = self.given.load(Relaxed);
        if self.taken.swap(given, Relaxed) < given {
            self.conduct.pieces_taken.fetch_add(1, Relaxed);
        }
    }

    /// Which piece waits for the client, if one does.
    fn waiting(&self) -> Option<u64> {
        let given = self.given.load(Relaxed);
        (self.taken.load(Relaxed) < given).then_some(given)
    }
}

tokio::task_local! {
    /// That of the stream whose task this is. hyper makes the task, and calls the handler in it: it
    /// passes nothing from the one to the other.
    static PROGRESS: Arc<Progress>;
}

/// That of the stream whose task asks.
///
/// # Panics
/// Outside of a stream's task.
pub(super) fn progress_of_this_stream() -> Arc<Progress> {
    PROGRESS.with(Arc::clone)
}

/// Runs the streams of a connection.
#[derive(Clone)]
pub(super) struct Streams(pub(super) Arc<Conduct>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let live = Live::begin(&self.0);
        let progress = Progress::new(&self.0);
        let watched = watch(stream, Arc::clone(&progress), live);
        tokio::spawn(PROGRESS.scope(progress, watched));
    }
}

/// Runs a stream to its end, or until its client is given up: then it is dropped, and so reset.
async fn watch(stream: impl Future<Output = ()>, progress: Arc<Progress>, _live: Live) {
    let mut stream = pin!(stream);
    let mut patience = Patience::default();
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        patience.poll(&progress, cx)
    })
    .await;
}

/// How long a stream's client has been waited for.
#[derive(Default)]
struct Patience {
    waiting: Option<Waiting>,
    alarm: Alarm,
}

/// A piece that is not taken.
struct Waiting {
    piece: u64,
    /// What the connection's client had taken when this piece was given, and at the last look.
    taken_then: u64,
    taken_at_look: u64,
    /// When it is looked at next.
    next_look: Instant,
}

impl Patience {
    /// Ready when the client is given up.
    fn poll(&mut self, progress: &Progress, cx: &mut Context<'_>) -> Poll<()> {
        let Some(piece) = progress.waiting() else {
            self.waiting = None;
            return Poll::Pending;
        };
        let conduct = &progress.conduct;
        let taken = conduct.pieces_taken.load(Relaxed);
        let next_look = || Instant::now() + PATIENCE;
        let waiting = match &mut self.waiting {
            Some(waiting) if waiting.piece == piece => waiting,
            waiting => waiting.insert(Waiting {
                piece,
                taken_then: taken,
                taken_at_look: taken,
                next_look: next_look(),
            }),
        };
        loop {
            ready!(self.alarm.poll(waiting.next_look, cx));
            let live = conduct.streams().count;
            if is_given_up(taken - waiting.taken_at_look, taken - waiting.taken_then, live) {
                tracing::debug!("a client takes nothing of a stream");
                return Poll::Ready(());
            }
            (waiting.taken_at_look, waiting.next_look) = (taken, next_look());
        }
    }
}

/// Whether the client of a stream is given up that has not taken its piece since the last look:
/// `lately` and `in_all` are the pieces that it took of other streams since then, and since it was
/// given this one. Streams share what a slow line can carry, in turns: one that was passed over
/// twice does not wait for its turn, but for its own window.
const fn is_given_up(lately: u64, in_all: u64, live: u64) -> bool {
    lately == 0 || in_all >= live.saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_given_up() {
        for (why, lately, in_all, live, is_it) in [
            ("it takes nothing at all", 0, 0, 1, true),
            ("it takes nothing any more", 0, 50, 100, true),
            ("the line is slow, and others had their turn", 50, 50, 100, false),
            ("it had its turn, and another", 20, 200, 100, true),
            ("the other of two is read", 7, 7, 2, true),
        ] {
            assert_eq!(is_given_up(lately, in_all, live), is_it, "{why}");
        }
    }

    #[test]
    fn what_is_too_much() {
        for (taken_back, asked, is_it) in
            [(499, 499, false), (500, 999, true), (500, 1000, false), (5000, 9000, true)]
        {
            assert_eq!(is_too_much(taken_back, asked), is_it, "{taken_back} of {asked}");
        }
    }

    /// A stream in a task, with its progress.
    fn stream(conduct: &Arc<Conduct>) -> (Arc<Progress>, tokio::task::JoinHandle<()>) {
        let progress = Progress::new(conduct);
        let watched = watch(std::future::pending(), Arc::clone(&progress), Live::begin(conduct));
        (progress, tokio::spawn(watched))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_taken_ends_alone() {
        let begun = Instant::now();
        let conduct = Arc::new(Conduct::new(begun));
        let (slow, slow_task) = stream(&conduct);
        // One that waits for its source is nobody's fault.
        let (source, source_task) = stream(&conduct);
        source.given();
        source.taken();
        slow.given();
        slow_task.await.unwrap();
        assert_eq!(begun.elapsed(), PATIENCE);
        tokio::time::sleep(10 * PATIENCE).await;
        assert!(!source_task.is_finished());
        source_task.abort();
        assert!(source_task.await.is_err());
        assert_eq!(conduct.idle_since(), Some(Instant::now()));
    }

    #[tokio::test]
    async fn who_takes_most_of_it_back_is_told_apart() {
        let conduct = Arc::new(Conduct::new(Instant::now()));
        for _ in 0..MANY_TAKEN_BACK {
            let _live = Live::begin(&conduct);
            drop(Answering::begin(&conduct));
        }
        conduct.is_abusive().await;
    }
}
