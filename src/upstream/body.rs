//! A response body that reads its own connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Origin;
use super::connection::Connection;
use super::head::Extent;
use super::pool::Pool;
use crate::chunked::{Chunked, Piece};
use crate::zero_copy::{Chunk, Chunks, InKernel};

/// The body of an upstream's response. It reads only when it is read. When it ends, its connection
/// goes back to the pool; when it is dropped before that, the connection is closed.
pub struct Body(Option<Reading>);

/// A body that has not ended, and the connection that is busy with it.
struct Reading {
    left: Left,
    connection: Box<Connection>,
    pool: Arc<Pool>,
    origin: Origin,
}

/// The largest body that is read only to have its connection back, in bytes: reading more costs more
/// than connecting again.
const DISCARDED_BYTES: usize = 16 * 1024;

/// How much must be left for a pipe to be worth it, in bytes: it costs two more system calls, which is
/// what copying so much costs.
const WORTH_A_PIPE: u64 = 16 * 1024;

/// How much framing one byte of data may have, in bytes: a size of 16 digits and two line ends.
const FRAMING_BYTES: u64 = 20;

/// How much framing there may be beyond that, for extensions and trailers, which nobody reads. Without a
/// limit a body could come forever without a byte of data, and who waits for one would not even notice
/// how long.
const SPARE_FRAMING_BYTES: u64 = 16 * 1024;

/// What is still to come.
enum Left {
    /// So many bytes; never 0.
    Counted(u64),
    Chunked(InChunks),
    UntilClose,
}

/// A body in chunks.
struct InChunks {
    coding: Chunked,
    /// How many bytes more of framing may come than the data explains.
    spare: u64,
}

/// What was taken of a body.
enum Taken {
    Data(Bytes),
    /// The last data: the next byte is of another answer.
    Last(Bytes),
    Framing,
    /// The end of the body.
    End,
    /// The end of the body, and of the connection.
    Closed,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("the connection broke in the middle of the body")]
    Reset,
    /// The connection ended cleanly, short of the promised length.
    #[error("the body ended short of its promised length")]
    Short,
    /// The framing of the body makes no sense.
    #[error("the body is not framed as HTTP")]
    Protocol,
}

type Polled<T> = Poll<Option<Result<T, BodyError>>>;

impl Body {
    pub(super) fn new(
        extent: Extent,
        connection: Box<Connection>,
        pool: Arc<Pool>,
        origin: Origin,
    ) -> Self {
        let left = match extent {
            Extent::Counted(length) => Left::Counted(length),
            Extent::Chunked => Left::Chunked(InChunks::new()),
            Extent::UntilClose => Left::UntilClose,
        };
        let mut body = Self(Some(Reading { left, connection, pool, origin }));
        if let Extent::Counted(0) = extent {
            body.release();
        }
        body
    }

    /// Gives the body up. What has come of it already is read, if it is little, so that its
    /// connection can be used again: the page of an error comes with its head.
    pub fn discard(mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = DISCARDED_BYTES;
        while let Poll::Ready(Some(Ok(bytes))) = self.poll_bytes(&mut cx) {
            let Some(rest) = left.checked_sub(bytes.len()) else { return };
            left = rest;
        }
    }

    /// The next bytes, in memory.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Polled<Bytes> {
        loop {
            let Some(Reading { left, connection, .. }) = &mut self.0 else {
                return Poll::Ready(None);
            };
            let most = if let Left::Counted(left) = left { *left } else { u64::MAX };
            let held = match ready!(connection.poll_more(cx, most)) {
                Ok(held) => held,
                Err(error) => return self.fail(error.into()),
            };
            match left.take(connection, held) {
                Ok(Taken::Data(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Taken::Last(bytes)) => {
                    self.release();
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Ok(Taken::Framing) => {}
                Ok(Taken::End) => self.release(),
                Ok(Taken::Closed) => self.0 = None,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Ends before the end, and the connection with it.
    fn fail<T>(&mut self, error: BodyError) -> Polled<T> {
        self.0 = None;
        Poll::Ready(Some(Err(error)))
    }

    /// Ends, and gives the connection back.
    fn release(&mut self) {
        if let Some(Reading { connection, pool, origin, .. }) = self.0.take() {
            pool.give_back(&origin, connection);
        }
    }
}

impl Left {
    /// Takes what comes next of so many bytes that were received; of none at the connection's end.
    fn take(&mut self, connection: &mut Connection, held: usize) -> Result<Taken, BodyError> {
        match self {
            Self::UntilClose if held == 0 => Ok(Taken::Closed),
            _ if held == 0 => Err(BodyError::Short),
            Self::UntilClose => Ok(Taken::Data(connection.take(held))),
            Self::Counted(left) => {
                let length = usize::try_from(*left).map_or(held, |left| left.min(held));
                *left -= length as u64;
                let bytes = connection.take(length);
                Ok(if *left == 0 { Taken::Last(bytes) } else { Taken::Data(bytes) })
            }
            Self::Chunked(chunks) => chunks.take(connection),
        }
    }
}

impl InChunks {
    const fn new() -> Self {
        Self { coding: Chunked::new(), spare: SPARE_FRAMING_BYTES }
    }

    /// Takes what comes next of what was received, which is something.
    fn take(&mut self, connection: &mut Connection) -> Result<Taken, BodyError> {
        let piece = self.coding.step(connection.received());
        let bytes = connection.take(piece.len());
        let length = bytes.len() as u64;
        match piece {
            Piece::Data(_) => {
                self.spare = self.spare.saturating_add(FRAMING_BYTES * length);
                return Ok(Taken::Data(bytes));
            }
            Piece::Framing(_) | Piece::End(_) => {
                self.spare = self.spare.checked_sub(length).ok_or(BodyError::Protocol)?;
            }
            Piece::Astray(_) => return Err(BodyError::Protocol),
        }
        Ok(if let Piece::End(_) = piece { Taken::End } else { Taken::Framing })
    }
}

impl Chunks for Body {
    /// In a pipe if they are many, and have not been read already.
    fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<Chunk> {
        let this = &mut *self;
        let piped = match &mut this.0 {
            Some(Reading {
                left: Left::Counted(left @ WORTH_A_PIPE..), connection, pool, ..
            }) if connection.received().is_empty() => {
                let piped = ready!(connection.poll_pipe(cx, pool.pipes(), *left));
                piped.map(|piped| piped.inspect(|piped| *left -= piped.len() as u64))
            }
            _ => Ok(None),
        };
        match piped {
            Ok(None) => this.poll_bytes(cx).map_ok(Chunk::Here),
            Ok(Some(piped)) => {
                if let Some(Reading { left: Left::Counted(0), .. }) = this.0 {
                    this.release();
                }
                Poll::Ready(Some(Ok(Chunk::InKernel(InKernel::Piped(piped)))))
            }
            Err(error) => this.fail(error.into()),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_bytes(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_ref().map(|reading| &reading.left) {
            Some(Left::Counted(left)) => SizeHint::with_exact(*left),
            None => SizeHint::with_exact(0),
            Some(Left::Chunked(_) | Left::UntilClose) => SizeHint::default(),
        }
    }
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Short,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Protocol,
            _ => Self::Reset,
        }
    }
}
