//! A body that follows a script: whole, cut off, stalled, or slow.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior};

use super::wire::{Cut, Switch};
use crate::storage::{BodyError, ObjectBody};

/// How often a slow body sends something.
const TICK: Duration = Duration::from_millis(100);

/// What happens to a body on its way.
pub(super) enum Script {
    /// Nothing.
    Whole,
    /// The connection ends after so many bytes.
    Cut { after: u64, how: Cut, switch: Switch },
    /// Nothing comes after so many bytes.
    Stall { after: u64 },
    /// So many bytes come at a time.
    Trickle { bytes: usize, every: Interval },
}

impl Script {
    /// A body at so many bytes a second.
    pub(super) fn trickle(bytes_per_second: NonZeroU64) -> Self {
        // Below 10 bytes a second, fewer ticks of 1 byte.
        let (bytes, every) = match bytes_per_second.get() {
            slow @ 1..10 => (1, Duration::from_secs(1) / u32::try_from(slow).unwrap_or(1)),
            fast => (usize::try_from(fast / 10).unwrap_or(usize::MAX), TICK),
        };
        let mut every = tokio::time::interval(every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Trickle { bytes, every }
    }
}

/// A body with its script.
pub(super) struct FaultyBody {
    inner: ObjectBody,
    script: Script,
    /// How much was sent.
    sent: u64,
    /// What was received and is not sent yet.
    held: Bytes,
}

impl FaultyBody {
    pub(super) fn new(inner: ObjectBody, script: Script) -> Self {
        Self { inner, script, sent: 0, held: Bytes::new() }
    }

    /// A body to which nothing happens.
    pub(super) fn whole(inner: ObjectBody) -> Self {
        Self::new(inner, Script::Whole)
    }

    /// How many bytes may be sent now.
    fn poll_allowance(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.script {
            Script::Whole => Poll::Ready(usize::MAX),
            Script::Cut { after, how, switch } => {
                let left = after.saturating_sub(self.sent);
                if left == 0 {
                    switch.order(*how);
                    return Poll::Pending;
                }
                Poll::Ready(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Script::Stall { after } => match after.saturating_sub(self.sent) {
                // Until the client leaves, which ends the connection and drops this body.
                0 => Poll::Pending,
                left => Poll::Ready(usize::try_from(left).unwrap_or(usize::MAX)),
            },
            Script::Trickle { bytes, every } => every.poll_tick(cx).map(|_| *bytes),
        }
    }
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while self.held.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            // Objects have no trailers.
            self.held = frame?.into_data().unwrap_or_default();
        }
        let allowance = ready!(self.poll_allowance(cx));
        let length = self.held.len().min(allowance);
        let sent = self.held.split_to(length);
        self.sent += sent.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(sent))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
