//! A response body that moves its own connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::Origin;
use super::connection::Connection;
use super::error::io_kind;
use super::pool::Pool;

/// The body of an upstream's response. It reads only when it is read. When it ends, its connection
/// goes back to the pool; when it is dropped before that, the connection is closed.
pub struct Body {
    incoming: Incoming,
    lease: Option<Lease>,
}

/// The largest body that is read only to have its connection back, in bytes: reading more costs more
/// than connecting again.
const DISCARDED_BYTES: usize = 16 * 1024;

/// A connection that is busy with one body.
struct Lease {
    connection: Box<Connection>,
    pool: Arc<Pool>,
    origin: Origin,
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

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        connection: Box<Connection>,
        pool: Arc<Pool>,
        origin: Origin,
    ) -> Self {
        let mut body = Self { incoming, lease: Some(Lease { connection, pool, origin }) };
        body.release_if_ended();
        body
    }

    /// Gives the body up. What has come of it already is read, if it is little, so that its
    /// connection can be used again: the page of an error comes with its head.
    pub fn discard(mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = DISCARDED_BYTES;
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self).poll_frame(&mut cx) {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    }

    fn release_if_ended(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.pool.give_back(&lease.origin, lease.connection);
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
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some(lease) = &mut this.lease
        {
            lease.connection.drive(cx);
            polled = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                this.release_if_ended();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                if let Some(lease) = this.lease.take() {
                    lease.pool.give_back(&lease.origin, lease.connection);
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        match io_kind(&error) {
            Some(io::ErrorKind::UnexpectedEof) => Self::Short,
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Self::Protocol,
            Some(_) => Self::Reset,
            None if error.is_incomplete_message() => Self::Short,
            None if error.is_parse() => Self::Protocol,
            None => Self::Reset,
        }
    }
}
