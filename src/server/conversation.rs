//! What the two ends of a connection know of each other: the stream, which sees bytes, and the
//! service, which sees requests.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http::Problem;
use crate::zero_copy::{Chunk, Chunks};

use super::outlet::{Outlet, Parcel};

/// The requests of one connection, in their order.
#[derive(Default)]
pub(super) struct Conversation {
    /// Heads that were passed on.
    begun: AtomicUsize,
    /// Requests that have reached the service.
    served: AtomicUsize,
    /// Answers that are finished, or given up.
    answered: AtomicUsize,
    /// The one that is refused, which is the last: its number from 1, and why.
    refused: OnceLock<(usize, Problem)>,
}

impl Conversation {
    /// Notes that a head is passed on.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that the next head that is passed on stands for one that is refused. Only the first
    /// refusal of a connection counts: nothing is passed on after it.
    pub(super) fn refuse(&self, problem: Problem) {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let _ = self.refused.set((number, problem));
    }

    /// Whether any head was passed on.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire) > 0
    }

    /// Whether every request that was passed on has its whole answer.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.load(Ordering::Acquire) == self.answered.load(Ordering::Acquire)
    }

    /// Takes up the next request: what counts it as answered in the end, and why it is refused, if
    /// it is.
    pub(super) fn serve(self: &Arc<Self>) -> (Unanswered, Option<Problem>) {
        let number = self.served.fetch_add(1, Ordering::AcqRel) + 1;
        let refused = self.refused.get().filter(|(refused, _)| *refused == number);
        (Unanswered(Arc::clone(self)), refused.map(|(_, problem)| problem.clone()))
    }
}

/// A request without its whole answer.
pub(super) struct Unanswered(Arc<Conversation>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::AcqRel);
    }
}

/// An answer's body, whose end is the answer's.
pub(super) struct Answer<B> {
    pub(super) body: B,
    /// Where its bytes in the kernel leave; `None` if they must be taken into memory.
    pub(super) outlet: Option<Arc<Outlet>>,
    pub(super) _unanswered: Unanswered,
}

impl<B: Chunks + Unpin> Body for Answer<B> {
    type Data = Parcel;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Parcel>, B::Error>>> {
        let Self { body, outlet, .. } = &mut *self;
        let Some(outlet) = outlet else {
            let frame = ready!(Pin::new(body).poll_frame(cx)?);
            return Poll::Ready(frame.map(|frame| Ok(frame.map_data(Parcel::Here))));
        };
        let chunk = ready!(Pin::new(body).poll_chunk(cx)?);
        Poll::Ready(chunk.map(|chunk| {
            Ok(Frame::data(match chunk {
                Chunk::Here(bytes) => Parcel::Here(bytes),
                // There is nothing to wait for, and nobody would.
                Chunk::InKernel(held) if held.is_empty() => Parcel::Here(Bytes::new()),
                Chunk::InKernel(held) => outlet.hold(held),
            }))
        }))
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
    use super::*;

    #[test]
    fn the_refused_request_is_the_one_that_was_meant() {
        let conversation = Arc::new(Conversation::default());
        assert!(!conversation.has_begun() && conversation.is_idle());
        conversation.begin();
        conversation.refuse(Problem::RequestTimeout);
        let (first, refused) = conversation.serve();
        assert_eq!(refused, None, "it was whole before the other one went wrong");
        let (second, refused) = conversation.serve();
        assert_eq!(refused, Some(Problem::RequestTimeout));
        drop(first);
        assert!(!conversation.is_idle());
        drop(second);
        assert!(conversation.is_idle() && conversation.has_begun());
    }
}
