//! One HTTP/1.1 connection: a question is written to it, a head is read from it, and then a body.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::SendError;
use super::head::{Head, Scan, parse};
use super::stream::Stream;
use crate::alarm::{Alarm, after};
use crate::zero_copy::{Piped, Pipes, poll_io};

/// How much of a body is read from the socket at once. 64 KiB costs two thirds of the CPU of 16 KiB on
/// large bodies, and is about what one stalled reader holds.
const READ_BYTES: usize = 64 * 1024;

/// How much is read at once while a head is awaited: more than most heads, and little of the body, which
/// had better stay where it is if it can be passed on from there.
const HEAD_READ_BYTES: usize = 1024;

pub(super) struct Connection {
    stream: Stream,
    /// What has come and was not taken.
    received: BytesMut,
    /// The most that was made room for at once, in bytes.
    room: usize,
    /// What was not written of the question; its answer may begin before.
    unsent: Bytes,
    /// Whether all of the question has left, also what TLS holds.
    is_sent: bool,
    /// Whether the connection ends with this answer.
    is_last: bool,
    /// For heads that are awaited.
    alarm: Alarm,
}

impl Connection {
    /// Takes over a connected stream.
    pub(super) fn new(stream: Stream) -> Box<Self> {
        Box::new(Self {
            stream,
            received: BytesMut::new(),
            room: 0,
            unsent: Bytes::new(),
            is_sent: true,
            is_last: false,
            alarm: Alarm::default(),
        })
    }

    /// Writes a question and waits so long for the head of its answer, which is to a HEAD if `is_head`
    /// says so.
    pub(super) async fn ask(
        &mut self,
        question: Bytes,
        is_head: bool,
        limit: Duration,
    ) -> Result<Head, SendError> {
        (self.unsent, self.is_sent) = (question, false);
        let (mut scan, until) = (Scan::default(), after(Instant::now(), limit));
        poll_fn(|cx| {
            // A server may answer before it has heard everything, and stop listening.
            let sent = self.poll_send(cx);
            let head = match (self.poll_head(cx, &mut scan, is_head), sent) {
                (Poll::Ready(head), _) => head?,
                (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Err(error.into())),
                (Poll::Pending, _) => {
                    ready!(self.alarm.poll(until, cx));
                    return Poll::Ready(Err(SendError::FirstByteTimeout));
                }
            };
            self.is_last = head.is_last;
            Poll::Ready(Ok(head))
        })
        .await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.unsent.advance(written),
            }
        }
        if !self.is_sent {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            (self.unsent, self.is_sent) = (Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }

    /// Goes on with the question while its answer is read. A server that does not listen any more is
    /// known by what it answers.
    fn keep_sending(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_send(cx);
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scan: &mut Scan,
        is_head: bool,
    ) -> Poll<Result<Head, SendError>> {
        loop {
            if let Some(end) = scan.find_end(&self.received)? {
                let head = self.received.split_to(end).freeze();
                match parse(&head, is_head)? {
                    Some(head) => return Poll::Ready(Ok(head)),
                    // One that only announces the next.
                    None => scan.go_on()?,
                }
            } else if ready!(self.poll_receive(cx, HEAD_READ_BYTES))? == 0 {
                return Poll::Ready(Err(SendError::Closed));
            }
        }
    }

    /// Receives more, at most `room` bytes; 0 at the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        // What is left of the room from before is used up first: a trickle must not have a new one for
        // each of its drops.
        if self.received.capacity() - self.received.len() < room.min(HEAD_READ_BYTES) {
            self.received.reserve(room);
            self.room = self.room.max(room);
        }
        let mut room = (&mut self.received).limit(room);
        pin!(self.stream.read_buf(&mut room)).poll(cx)
    }

    /// Receives more of a body of which so much is left, if nothing is here that was not taken; 0 at the
    /// end.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, left: u64) -> Poll<io::Result<usize>> {
        self.keep_sending(cx);
        match self.received.len() {
            0 => self.poll_receive(cx, READ_BYTES.min(usize::try_from(left).unwrap_or(READ_BYTES))),
            held => Poll::Ready(Ok(held)),
        }
    }

    /// Takes what comes next of a body of which so much is left into a pipe; `None` if it must be
    /// copied.
    pub(super) fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Arc<Pipes>,
        left: u64,
    ) -> Poll<io::Result<Option<Piped>>> {
        self.keep_sending(cx);
        let Stream::Plain(socket) = &self.stream else { return Poll::Ready(Ok(None)) };
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        poll_io(socket, Interest::READABLE, cx, || pipes.fill(socket, most).transpose())
    }

    /// What has come and was not taken.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Takes so much of it. The room is used again once nobody has anything of it any more.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        self.received.split_to(length).freeze()
    }

    /// Whether another question may be asked, now that the answer has come to its end.
    pub(super) fn is_reusable(&self) -> bool {
        // What nobody has asked for is never the next answer.
        self.is_sent && !self.is_last && self.received.is_empty()
    }

    /// Lets go of room that only a body has a use for.
    pub(super) fn rest(&mut self) {
        if self.room > HEAD_READ_BYTES {
            (self.received, self.room) = (BytesMut::new(), 0);
        }
    }

    /// Whether the connection is open and has received nothing that nobody asked for.
    ///
    /// Reading is what notices that the server has closed it: nobody watches an idle connection.
    pub(super) fn is_idle(&mut self) -> bool {
        self.is_reusable() && self.has_nothing_to_read()
    }

    fn has_nothing_to_read(&mut self) -> bool {
        let mut byte = [0];
        match &mut self.stream {
            // Of the socket itself: the runtime may not have heard yet of what has come. Through the
            // runtime nevertheless, if it takes it for readable: it learns here that it is not.
            Stream::Plain(socket) => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                let mut look = || recv(&*socket, &mut byte, flags).map(drop);
                let mut looked = None;
                let _ = socket.try_io(Interest::READABLE, || Ok((*looked.insert(look()))?));
                looked.unwrap_or_else(look) == Err(Errno::AGAIN)
            }
            Stream::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                let mut room = ReadBuf::new(&mut byte);
                let reading = poll_fn(|cx| Pin::new(&mut **stream).poll_read(cx, &mut room));
                // A task that has used up its budget would be told that nothing has come.
                pin!(unconstrained(reading)).poll(&mut cx).is_pending()
            }
        }
    }
}
