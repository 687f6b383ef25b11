//! The bytes of an object.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::traces::{Span, Spanned};
use crate::upstream;
use crate::zero_copy::{Chunk, Chunks, poll_data};

/// The bytes of an object, as they come from the provider. An error ends the body; a body never
/// ends cleanly before the promised length.
pub struct ObjectBody(Kind);

enum Kind {
    Upstream(Spanned<upstream::Body>),
    Other(Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>),
}

/// Why the bytes of an object stopped coming.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl ObjectBody {
    /// Bytes that come from anywhere.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self(Kind::Other(Box::pin(body)))
    }

    /// The same bytes, with whose last one this span ends.
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        Self(match self.0 {
            Kind::Upstream(body) => Kind::Upstream(Spanned::new(body.into_inner(), span)),
            Kind::Other(body) => Kind::Other(Box::pin(Spanned::new(body, span))),
        })
    }
}

impl From<upstream::Body> for ObjectBody {
    fn from(body: upstream::Body) -> Self {
        Self(Kind::Upstream(Spanned::new(body, Span::default())))
    }
}

impl Chunks for ObjectBody {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, BodyError>>> {
        match &mut self.0 {
            Kind::Upstream(body) => Pin::new(body).poll_chunk(cx).map_err(Into::into),
            Kind::Other(body) => poll_data(body.as_mut(), cx).map_ok(Chunk::Here),
        }
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Other(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Upstream(body) => body.is_end_stream(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Upstream(body) => body.size_hint(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}
