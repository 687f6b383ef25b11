//! One HTTP/1.1 connection: hyper's request handle and the future that moves its bytes, kept
//! together and polled from one place.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::SendError;
use super::stream::Stream;

/// The largest response head that is accepted, in bytes. CloudFront and S3 stay under 8 KiB; the
/// fault table calls anything over 32 KiB a protocol failure.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How much is read from the socket at once. 64 KiB costs two thirds of the CPU of 16 KiB on large
/// bodies, and is about what one stalled reader holds.
const READ_BUFFER_BYTES: usize = 64 * 1024;

pub(super) struct Connection {
    requests: http1::SendRequest<Full<Bytes>>,
    io: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    /// Whether `io` has ended; it must not be polled again.
    ended: bool,
}

impl Connection {
    /// Takes over a connected stream.
    pub(super) async fn new(stream: Stream) -> Result<Box<Self>, SendError> {
        let (requests, io) = http1::Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .read_buf_exact_size(Some(READ_BUFFER_BYTES))
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Box::new(Self { requests, io, ended: false }))
    }

    /// Moves bytes in both directions as far as they go.
    ///
    /// How the connection ended is of no interest here: whoever waits for a head or a body gets
    /// that from hyper on their own channel.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.io).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn request(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut response = pin!(self.requests.try_send_request(request));
        let (io, ended) = (&mut self.io, &mut self.ended);
        poll_fn(|cx| {
            if !*ended && Pin::new(&mut *io).poll(cx).is_ready() {
                *ended = true;
            }
            response.as_mut().poll(cx)
        })
        .await
        .map_err(|error| SendError::from(error.into_error()))
    }

    /// Whether the connection is open, idle, and has received nothing that nobody asked for.
    ///
    /// Polling is what notices that the server has closed it: nobody watches an idle connection.
    pub(super) fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && matches!(self.poll_ready(), Poll::Ready(true))
    }

    fn poll_ready(&mut self) -> Poll<bool> {
        self.requests.poll_ready(&mut Context::from_waker(Waker::noop())).map(|ready| ready.is_ok())
    }
}
