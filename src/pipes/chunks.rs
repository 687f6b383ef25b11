//! Bodies whose bytes may be in pipes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;

use super::Chunk;

/// A body that also gives its bytes as they are: where some are in a pipe, they stay there.
///
/// Whoever polls it may do so in either way, and change: what was given in one is gone from both.
pub trait Chunks: Body<Data = Bytes> {
    /// What comes next, as [`Body::poll_frame`] gives it, but for trailers, which are left out.
    ///
    /// As long as this is not written for a body, its bytes are in memory.
    fn poll_chunk(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, Self::Error>>> {
        poll_data(self, cx).map_ok(Chunk::Here)
    }
}

/// The next bytes of any body, in memory.
pub fn poll_data<B: Body<Data = Bytes> + ?Sized>(
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, B::Error>>> {
    loop {
        let Some(frame) = ready!(body.as_mut().poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        if let Ok(data) = frame.into_data() {
            return Poll::Ready(Some(Ok(data)));
        }
    }
}
