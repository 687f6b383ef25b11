//! A body that ends its span.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

use super::Span;

/// A body, and the span of the exchange that it belongs to: it ends with the last byte.
#[derive(Debug)]
pub struct Spanned<B> {
    body: B,
    span: Span,
}

impl<B: Body + Unpin> Spanned<B> {
    /// Goes on with a span until the end of a body.
    pub fn new(body: B, span: Span) -> Self {
        let mut this = Self { body, span };
        this.end_if_ended();
        this
    }

    /// The body alone; the span ends here.
    pub fn into_body(self) -> B {
        self.body
    }

    fn end_if_ended(&mut self) {
        if self.span.is_recorded() && self.body.is_end_stream() {
            self.end("ok");
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

impl<B: Body + Unpin> Body for Spanned<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => self.end_if_ended(),
            Some(Err(_)) => self.end("broke"),
            None => self.end("ok"),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
