//! The bytes of an object.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::pipes::{Chunk, Chunks, poll_data};
use crate::traces::{Span, Spanned};
use crate::upstream;

/// The bytes of an object, as they come from the provider. An error ends the body; a body never
/// ends cleanly before the promised length.
pub struct ObjectBody(Spanned<Kind>);

enum Kind {
    Upstream(upstream::Body),
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
        Self::of(Kind::Other(Box::pin(body)))
    }

    /// The same bytes, with whose last one this span ends.
    #[must_use]
    pub fn within(self, span: Span) -> Self {
        Self(Spanned::new(self.0.into_inner(), span))
    }

    fn of(kind: Kind) -> Self {
        Self(Spanned::new(kind, Span::default()))
    }
}

impl From<upstream::Body> for ObjectBody {
    fn from(body: upstream::Body) -> Self {
        Self::of(Kind::Upstream(body))
    }
}

impl Chunks for ObjectBody {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, BodyError>>> {
        Pin::new(&mut self.0).poll_chunk(cx)
    }
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Chunks for Kind {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, BodyError>>> {
        match &mut *self {
            Self::Upstream(body) => Pin::new(body).poll_chunk(cx).map_err(Into::into),
            Self::Other(body) => poll_data(body.as_mut(), cx).map_ok(Chunk::Here),
        }
    }
}

impl Body for Kind {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Other(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Other(body) => body.size_hint(),
        }
    }
}
