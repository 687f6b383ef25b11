//! A body that ends its span.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

use super::Span;
use crate::zero_copy::{Chunk, Chunks};

/// A body, and the span of the exchange that it belongs to: it ends with the last byte.
#[derive(Debug)]
pub struct Spanned<B> {
    body: B,
    span: Span,
}

impl<B: Body + Unpin> Spanned<B> {
    /// Goes on with a span until the end of a body. One that is given up before was cancelled.
    pub fn new(body: B, mut span: Span) -> Self {
        span.goes_on();
        let mut this = Self { body, span };
        this.end_if_ended();
        this
    }

    /// The body, without its span, which ends.
    pub fn into_inner(self) -> B {
        self.body
    }

    /// Says why the body is given up: its span has failed.
    pub fn fail(&mut self, why: &'static str) {
        self.end(why);
    }

    fn end_if_ended(&mut self) {
        if self.span.is_recorded() && self.body.is_end_stream() {
            self.end("ok");
        }
    }

    /// Sees what the body gave.
    fn note<T, E>(&mut self, given: Option<&Result<T, E>>) {
        match given {
            Some(Ok(_)) => self.end_if_ended(),
            Some(Err(_)) => self.end("broke"),
            None => self.end("ok"),
        }
    }

    fn end(&mut self, outcome: &'static str) {
        let mut span = std::mem::take(&mut self.span);
        match outcome {
            "ok" => span.came_to("ok"),
            failure => span.failed(failure),
        }
    }
}

impl<B: Chunks + Unpin> Chunks for Spanned<B> {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, B::Error>>> {
        let chunk = ready!(Pin::new(&mut self.body).poll_chunk(cx));
        self.note(chunk.as_ref());
        Poll::Ready(chunk)
    }
}

impl<B: Body + Unpin> Body for Spanned<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.note(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
    use tokio::sync::mpsc;

    use super::super::span::{Ended, Value};
    use super::super::tracer::{SampleRatio, Tracer, begin};
    use super::*;
    use crate::metrics::{Metrics, SpanMetrics};

    type Chunk = Result<Frame<Bytes>, std::io::Error>;

    /// What the only span that has ended came to; `None` while it goes on.
    fn outcome(ended: &mut mpsc::Receiver<Ended>) -> Option<(Value, bool)> {
        let span = ended.try_recv().ok()?;
        assert!(ended.try_recv().is_err());
        Some((span.attributes.last()?.1.clone(), span.failed))
    }

    #[tokio::test]
    async fn a_span_ends_with_the_last_byte_of_its_body() {
        let (tracer, mut ended) = Tracer::new(SampleRatio::ALL, SpanMetrics::new(&Metrics::new()));
        let span = || {
            let mut span = begin(Some(&tracer), None);
            span.came_to("ok");
            span
        };
        let ok = Some((Value::Word("ok"), false));
        let empty = Spanned::new(Empty::<Bytes>::new(), span());
        assert_eq!(outcome(&mut ended), ok, "it had no byte to wait for");
        drop(empty);
        assert_eq!(outcome(&mut ended), None, "it ended once");

        let mut full = Spanned::new(Full::new(Bytes::from_static(b"all")), span());
        assert_eq!(outcome(&mut ended), None);
        full.frame().await.unwrap().unwrap();
        assert_eq!(outcome(&mut ended), ok, "nobody has to ask beyond the last byte");

        drop(Spanned::new(Full::new(Bytes::from_static(b"all")), span()));
        assert_eq!(outcome(&mut ended), Some((Value::Word("cancelled"), false)));

        let mut slow = Spanned::new(Full::new(Bytes::from_static(b"all")), span());
        slow.fail("stall");
        assert_eq!(outcome(&mut ended), Some((Value::Word("stall"), true)));
        drop(slow);
        assert_eq!(outcome(&mut ended), None, "it ended once");

        let error = || Err(std::io::ErrorKind::ConnectionReset.into());
        let chunks: [Chunk; 2] = [Ok(Frame::data(Bytes::from_static(b"a"))), error()];
        let mut broken = Spanned::new(StreamBody::new(futures_util::stream::iter(chunks)), span());
        broken.frame().await.unwrap().unwrap();
        assert_eq!(outcome(&mut ended), None);
        broken.frame().await.unwrap().unwrap_err();
        assert_eq!(outcome(&mut ended), Some((Value::Word("broke"), true)));
    }
}
