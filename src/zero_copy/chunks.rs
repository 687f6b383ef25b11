//! Bodies whose bytes may be in the kernel.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;

use super::Chunk;

/// A body that also gives its bytes as they are: where some are in the kernel, they stay there.
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

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body::Frame;

    use super::*;

    /// Gives its frames from the last to the first.
    struct InMemory(Vec<Result<Frame<Bytes>, &'static str>>);

    impl Body for InMemory {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop())
        }
    }

    impl Chunks for InMemory {}

    #[tokio::test]
    async fn a_body_in_memory_gives_its_data() {
        let data = |bytes| Ok(Frame::data(Bytes::from_static(bytes)));
        let trailers = Ok(Frame::trailers(HeaderMap::new()));
        let mut body = InMemory(vec![Err("broke"), trailers, data(b"b"), data(b"a")]);
        let mut given = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_chunk(cx)).await
        {
            given.push(chunk.map(|chunk| chunk.into_bytes().unwrap()));
        }
        assert_eq!(given, [Ok("a".into()), Ok("b".into()), Err("broke")]);
    }
}
