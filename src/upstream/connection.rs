//! One HTTP/1.1 connection: a question is written to it, a head is read from it, and then a body.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use super::SendError;
use super::head::{Head, Scan, parse};
use super::stream::Stream;
use crate::pipes::{Piped, Pipes};

/// How much of a body is read from the socket at once. 64 KiB costs two thirds of the CPU of 16 KiB on
/// large bodies, and is about what one stalled reader holds.
const READ_BYTES: usize = 64 * 1024;

/// How much is read at once while a head is awaited: more than most heads, and little of the body, which
/// had better stay where it is if it can be passed on from there.
const HEAD_READ_BYTES: usize = 2 * 1024;

pub(super) struct Connection {
    stream: Stream,
    /// What has come and was not taken.
    received: BytesMut,
    /// The most that was made room for at once, in bytes.
    room: usize,
    /// Whether another question may follow.
    is_reusable: bool,
}

impl Connection {
    /// Takes over a connected stream.
    pub(super) fn new(stream: Stream) -> Box<Self> {
        Box::new(Self { stream, received: BytesMut::new(), room: 0, is_reusable: true })
    }

    /// Writes a question and waits for the head of its answer, which is to a HEAD if `is_head` says so.
    pub(super) async fn ask(&mut self, question: &[u8], is_head: bool) -> Result<Head, SendError> {
        let mut unsent = question;
        let mut scan = Scan::default();
        poll_fn(|cx| {
            // A server may answer before it has heard everything, and stop listening.
            let sent = self.poll_send(cx, &mut unsent);
            let head = match (self.poll_head(cx, &mut scan, is_head), sent) {
                (Poll::Ready(head), _) => head?,
                (Poll::Pending, Poll::Ready(Err(error))) => return Poll::Ready(Err(error.into())),
                (Poll::Pending, _) => return Poll::Pending,
            };
            self.is_reusable = unsent.is_empty() && !head.is_last;
            Poll::Ready(Ok(head))
        })
        .await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, unsent: &mut &[u8]) -> Poll<io::Result<()>> {
        while !unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *unsent = &unsent[written..],
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
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
                    None => *scan = Scan::default(),
                }
            } else if ready!(self.poll_receive(cx, HEAD_READ_BYTES))? == 0 {
                return Poll::Ready(Err(SendError::Closed));
            }
        }
    }

    /// Receives more, at most `room` bytes; 0 at the end.
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
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
        match self.received.len() {
            0 => self.poll_receive(cx, READ_BYTES.min(usize::try_from(left).unwrap_or(READ_BYTES))),
            held => Poll::Ready(Ok(held)),
        }
    }

    /// Takes what comes next of a body of which so much is left into a pipe; `None` if it must be
    /// copied.
    pub(super) fn poll_pipe(
        &self,
        cx: &mut Context<'_>,
        pipes: &Arc<Pipes>,
        left: u64,
    ) -> Poll<io::Result<Option<Piped>>> {
        let Stream::Plain(socket) = &self.stream else { return Poll::Ready(Ok(None)) };
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        loop {
            ready!(socket.poll_read_ready(cx))?;
            let fill = || pipes.fill(socket, most).transpose();
            match socket.try_io(tokio::io::Interest::READABLE, fill) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                filled => return Poll::Ready(filled),
            }
        }
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
        self.is_reusable && self.received.is_empty()
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
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
        self.is_reusable() && read.is_pending()
    }
}
