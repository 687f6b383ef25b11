//! A client's connection as hyper reads it: whole heads that were judged, the bodies that belong to
//! them, and nothing else.
//!
//! A head that is refused is replaced by one that means nothing, and the service is told the reason
//! ([`Conversation::refuse`]): so every answer takes the same way out, in its turn, with an id, a
//! line in the log, and its form. Not a byte is passed on after it.
//!
//! When nothing has been asked for a moment, the connection falls asleep: hyper is told that the
//! client has ended, and lets go of the stream with nothing left to read or to write. Whoever takes
//! it back waits for its next bytes ([`Intake::wake`]), and then there is a hyper again.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::alarm::Alarm;
use crate::http::Problem;

use super::conversation::Conversation;
use super::framing::{Framing, Step};

/// How long a head may take to come, from its first byte; of the first one, from the connection's
/// beginning.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody has asked, or is being answered, when a connection falls asleep. Those who ask
/// more often keep their hyper, with its buffers.
const LULL: Duration = Duration::from_secs(1);

/// How much is read at once where there is no hyper with a buffer of its own, in bytes: a usual head.
const ROOM_BYTES: usize = 4096;

/// How long, and for how many bytes, a client is heard out that still sends when its connection
/// ends. Closing while it sends would reset the connection, and the answer could be lost on the way.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_BYTES: usize = 256 * 1024;

/// What stands for a head that is refused. No client's own: the method is none that is known.
const REFUSED_HEAD: &[u8] = b"REFUSED / HTTP/1.1\r\nHost: refused\r\n\r\n";

/// A stream that gives hyper what it may read.
pub(super) struct Intake<S> {
    stream: S,
    conversation: Arc<Conversation>,
    framing: Framing,
    /// What has come and was not passed on: empty with a client that sends one request at a time,
    /// each in one piece.
    held: BytesMut,
    /// How much of it may be passed on.
    ready: usize,
    /// When the head that is not whole began, or the connection before its first head. `None` until
    /// it is waited for: who asks for the time at every step pays more for that than for the step.
    head_begun: Option<Instant>,
    /// When the last bytes came, or the last of them went, or a request was still without its whole
    /// answer; `None` until more is waited for.
    active: Option<Instant>,
    /// How long a connection may be idle between two requests.
    idle: Duration,
    /// Whether everything that was written has left.
    is_flushed: bool,
    /// Whether hyper was told of an end that is none.
    is_asleep: bool,
    alarm: Alarm,
    /// The end of the farewell, and how many bytes are still heard.
    farewell: Option<(Pin<Box<Sleep>>, usize)>,
}

/// How much of what was looked through may be passed on, and what comes after it.
struct Clear {
    length: usize,
    then: Then,
}

/// What follows what may be passed on.
enum Then {
    /// Whatever else comes.
    More,
    /// What stands for the head that is refused.
    Refused,
    /// Nothing.
    Nothing,
}

/// What to do when time is up.
enum TimeIsUp {
    /// The head does not come to an end.
    SlowHead,
    /// There is nobody to answer for the time being.
    Lull,
    /// There is nobody to answer.
    Idle,
}

impl<S> Intake<S> {
    pub(super) fn new(stream: S, idle: Duration, conversation: Arc<Conversation>) -> Self {
        Self {
            stream,
            conversation,
            framing: Framing::new(),
            held: BytesMut::new(),
            ready: 0,
            head_begun: Some(Instant::now()),
            active: None,
            idle,
            is_flushed: true,
            is_asleep: false,
            alarm: Alarm::default(),
            farewell: None,
        }
    }

    /// Passes on what is ready; whether there was anything.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let given = self.ready.min(buffer.remaining());
        buffer.put_slice(&self.held[..given]);
        self.held.advance(given);
        self.ready -= given;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        given > 0
    }

    /// Takes what was just received into `buffer` after its first `before` bytes, and leaves there
    /// what may be passed on at once: nothing, while there is nobody to pass it on to.
    fn take(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let was_within_head = self.framing.is_within_head();
        self.active = None;
        let received = &buffer.filled()[before..];
        if self.held.is_empty() && !self.is_asleep {
            let clear = self.clear(received);
            self.held.extend_from_slice(&received[clear.length..]);
            buffer.set_filled(before + clear.length);
            self.hold(0, clear.then);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(received);
            buffer.set_filled(before);
            let clear = self.clear(&held);
            self.held = held;
            self.hold(clear.length, clear.then);
        }
        if self.framing.is_within_head() && !was_within_head && self.conversation.has_begun() {
            self.head_begun = None;
        }
    }

    /// Looks through bytes that were not passed on.
    fn clear(&mut self, bytes: &[u8]) -> Clear {
        let mut length = 0;
        let then = loop {
            match self.framing.step(&bytes[length..]) {
                Step::Wait if self.framing == Framing::Lost => break Then::Nothing,
                Step::Wait => break Then::More,
                Step::Head(of_head) => {
                    self.conversation.begin();
                    self.head_begun = None;
                    length += of_head;
                }
                Step::Body(of_body) => length += of_body,
                Step::Refused(problem) => {
                    self.conversation.refuse(problem);
                    break Then::Refused;
                }
            }
        };
        Clear { length, then }
    }

    /// Makes what is held ready up to here, and what follows.
    fn hold(&mut self, ready: usize, then: Then) {
        self.ready = ready;
        match then {
            Then::More => {}
            Then::Nothing => self.held.truncate(ready),
            Then::Refused => {
                self.held.truncate(ready);
                self.held.extend_from_slice(REFUSED_HEAD);
                self.ready = self.held.len();
            }
        }
    }

    /// Refuses the head that does not come to an end.
    fn give_head_up(&mut self) {
        self.framing = Framing::Lost;
        self.conversation.refuse(Problem::RequestTimeout);
        self.hold(0, Then::Refused);
    }

    /// When time will be up, and for what.
    fn deadline(&mut self) -> Option<(Instant, TimeIsUp)> {
        let since = |begun: &mut Option<Instant>| *begun.get_or_insert_with(Instant::now);
        if self.framing.is_within_head() {
            Some((since(&mut self.head_begun) + HEAD_TIMEOUT, TimeIsUp::SlowHead))
        } else if !self.framing.is_between() {
            // Whoever reads a body knows how long it may take.
            None
        } else if !self.conversation.has_begun() {
            Some((since(&mut self.head_begun) + HEAD_TIMEOUT, TimeIsUp::Idle))
        } else if self.is_asleep || self.idle <= LULL {
            Some((since(&mut self.active) + self.idle, TimeIsUp::Idle))
        } else {
            Some((since(&mut self.active) + LULL, TimeIsUp::Lull))
        }
    }

    /// Whether every request that was passed on has its whole answer, to the last byte.
    fn is_idle(&self) -> bool {
        self.conversation.is_idle() && self.is_flushed
    }

    /// Waits until time is up.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<TimeIsUp> {
        loop {
            let Some((until, what)) = self.deadline() else { return Poll::Pending };
            ready!(self.alarm.poll(until, cx));
            if matches!(what, TimeIsUp::SlowHead) || self.is_idle() {
                return Poll::Ready(what);
            }
            // It is being answered: from here on, once more.
            self.active = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Intake<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            if buffer.filled().len() > before || this.give(buffer) {
                return Poll::Ready(Ok(()));
            }
            if this.framing == Framing::Lost {
                // Not an end: that would break off the answer, after which hyper closes.
                return Poll::Pending;
            }
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => this.take(buffer, before),
                Poll::Ready(result) => return Poll::Ready(result),
                Poll::Pending => match ready!(this.poll_time(cx)) {
                    TimeIsUp::SlowHead => this.give_head_up(),
                    TimeIsUp::Idle => return Poll::Ready(Ok(())),
                    TimeIsUp::Lull => {
                        this.is_asleep = true;
                        return Poll::Ready(Ok(()));
                    }
                },
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Intake<S> {
    /// Whether the connection goes on, though hyper was told that it ends.
    pub(super) const fn is_asleep(&self) -> bool {
        self.is_asleep
    }

    /// Sleeps until there is something to read again; `false` if there will not be: the client has
    /// ended, or was idle for too long.
    pub(super) async fn wake(&mut self) -> bool {
        poll_fn(|cx| self.poll_wake(cx)).await
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut room = [0; ROOM_BYTES];
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.take(&mut buffer, 0);
                self.is_asleep = false;
                Poll::Ready(true)
            }
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => self.poll_time(cx).map(|_| false),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Intake<S> {
    /// Ends the connection out of its sleep, as hyper would have ended it.
    ///
    /// # Errors
    /// Of the stream.
    pub(super) async fn end(mut self) -> io::Result<()> {
        self.is_asleep = false;
        self.shutdown().await
    }

    /// Hears a client out that may still be sending.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_sending = !self.framing.is_between() || !self.held.is_empty();
        let (end, left) =
            self.farewell.get_or_insert_with(|| (Box::pin(sleep(FAREWELL)), FAREWELL_BYTES));
        let mut room = [0; ROOM_BYTES];
        while *left > 0 {
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    *left = left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if is_sending => return end.as_mut().poll(cx),
                Poll::Pending => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the stream when it has written everything itself, and not before.
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        if !self.is_flushed {
            (self.is_flushed, self.active) = (true, Some(Instant::now()));
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_asleep {
            return Poll::Ready(Ok(()));
        }
        if self.farewell.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        ready!(self.poll_farewell(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
