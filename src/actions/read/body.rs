//! The body that heals itself.
//!
//! Whatever source it began with, when the bytes stop coming it goes on from storage at the very
//! byte where they stopped, under `If-Match`, and only if storage shows the same strong tag, the
//! same range and the same length. Otherwise it breaks off visibly: an error here makes the server
//! close the connection short of its `Content-Length`, or without the last chunk. What it never
//! does is splice two versions, or end cleanly before the end.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};

use crate::apps::App;
use crate::domain::{
    AbortCause, ByteRange, ContentRange, ETag, HealReason, KeyPrefix, ObjectKey, RangeRequest,
    Representation, Source,
};
use crate::metrics::AppMetrics;
use crate::storage::{GetOptions, ObjectBody, ObjectStore, StorageErrorKind};
use crate::traces::Spanned;
use crate::upstream;
use crate::zero_copy::{Chunk, Chunks, Shared, poll_data};

use super::sources;
use drawn::Drawn;
use pace::Pace;
pub(super) use window::Window;

mod drawn;
mod pace;
mod window;

/// How often one body is continued before it is given up.
const MAX_HEALS: u8 = 2;

/// The bytes of a read.
pub struct ReadBody {
    state: State,
    window: Window,
    pace: Pace,
    drawn: Drawn,
    rescue: Option<Rescue>,
    heals_left: u8,
}

/// The bytes of an answer: here, or on their way.
pub enum Payload {
    /// All of them.
    Here(Shared),
    /// A body that is still to be read.
    OnItsWay(Box<ReadBody>),
}

impl From<ReadBody> for Payload {
    fn from(body: ReadBody) -> Self {
        Self::OnItsWay(Box::new(body))
    }
}

/// The body was broken off; the connection must not end as if it were whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body was broken off: {}", .0.label())]
pub struct BrokenOff(pub AbortCause);

enum State {
    FromCdn(Spanned<upstream::Body>),
    FromStorage(ObjectBody),
    Healing(HealReason, BoxFuture<'static, Result<ObjectBody, AbortCause>>),
    Ended,
}

/// What it takes to continue a body from storage.
pub(super) struct Rescue {
    store: Arc<dyn ObjectStore>,
    /// Together they are the path, which few bodies ever need.
    prefix: KeyPrefix,
    key: ObjectKey,
    /// The version that the beginning was of; `None` where nothing strong proves it.
    version: Option<Version>,
    stall_timeout: Duration,
    metrics: AppMetrics,
}

#[derive(Clone)]
struct Version {
    etag: ETag,
    size: u64,
}

impl Rescue {
    /// `is_own_word`: whether the source itself has shown the object's tag.
    pub(super) fn new(
        app: &App,
        key: &ObjectKey,
        object: &Representation,
        is_own_word: bool,
    ) -> Self {
        let strong = object.etag.as_ref().filter(|etag| is_own_word && !etag.is_weak());
        // An encoded body's offsets are not those of the stored object.
        let plain = object.content_encoding.is_none();
        let version = match (strong, object.size) {
            (Some(etag), Some(size)) if plain => Some(Version { etag: etag.clone(), size }),
            _ => None,
        };
        Self {
            store: Arc::clone(&app.store),
            prefix: app.key_prefix.clone(),
            key: key.clone(),
            version,
            stall_timeout: app.stall_timeout,
            metrics: app.metrics.clone(),
        }
    }

    /// Opens the rest of the object at storage.
    fn open(&self, rest: Option<ByteRange>) -> Result<Opening, AbortCause> {
        let (Some(version), Some(range)) = (self.version.clone(), rest) else {
            return Err(AbortCause::NoValidator);
        };
        let (store, path) = (Arc::clone(&self.store), self.prefix.path_of(&self.key));
        Ok(Box::pin(async move {
            let options = GetOptions {
                range: Some(RangeRequest::Between(range.start, range.end)),
                if_match: Some(version.etag.clone()),
                if_none_match: Vec::new(),
            };
            let read = store.get(&path, &options).await.map_err(|error| match error.kind {
                StorageErrorKind::PreconditionFailed
                | StorageErrorKind::NotFound
                | StorageErrorKind::RangeNotSatisfiable { .. } => AbortCause::Changed,
                _ => AbortCause::StorageFailed,
            })?;
            // Some stores ignore If-Match or Range: what came is compared, not believed.
            let same = read.meta.etag.as_ref().is_some_and(|e| e.matches_strongly(&version.etag));
            let expected = ContentRange { range, total: version.size };
            match read.part {
                Some(part) if same && part == expected => Ok(read.body),
                Some(part) if same && part.total == version.size => Err(AbortCause::StorageFailed),
                None if same => Err(AbortCause::StorageFailed),
                _ => Err(AbortCause::Changed),
            }
        }))
    }
}

type Opening = BoxFuture<'static, Result<ObjectBody, AbortCause>>;

/// What a source did when it was polled.
enum Polled {
    Chunk(Chunk),
    Ended,
    Broke(HealReason),
}

impl ReadBody {
    pub(super) fn new(bytes: sources::Bytes, window: Window, rescue: Rescue) -> Self {
        let (state, source) = match bytes {
            sources::Bytes::None => (State::Ended, rescue.store.source()),
            sources::Bytes::Cdn(body) => (State::FromCdn(body), Source::Cdn),
            sources::Bytes::Storage(body) => (State::FromStorage(body), rescue.store.source()),
        };
        let pace = Pace::new(rescue.stall_timeout);
        let drawn = Drawn::from(&rescue.metrics, source);
        Self { state, window, pace, drawn, rescue: Some(rescue), heals_left: MAX_HEALS }
    }

    /// How many bytes are still to come; `None` if the source did not tell.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.window.remaining()
    }

    /// The next bytes of the source; in memory, unless it may be a pipe.
    fn poll_source(&mut self, cx: &mut Context<'_>, may_pipe: bool) -> Poll<Polled> {
        // What a part is cut out of is in memory.
        let may_pipe = may_pipe && !self.window.is_cut();
        let polled = match &mut self.state {
            State::FromCdn(body) => {
                poll_next(Pin::new(body), cx, may_pipe).map_err(|error| broken_cdn(&error))
            }
            State::FromStorage(body) => {
                poll_next(Pin::new(body), cx, may_pipe).map_err(|error| broken_storage(&*error))
            }
            State::Healing(..) | State::Ended => return Poll::Ready(Polled::Ended),
        };
        match polled {
            Poll::Ready(None) => Poll::Ready(Polled::Ended),
            Poll::Ready(Some(Err(reason))) => Poll::Ready(Polled::Broke(reason)),
            Poll::Ready(Some(Ok(chunk))) => {
                self.pace.received(chunk.len());
                self.drawn.add(chunk.len());
                Poll::Ready(Polled::Chunk(chunk))
            }
            Poll::Pending => self.pace.poll_waiting(cx).map(Polled::Broke),
        }
    }

    /// The next bytes to deliver, if need be from another source.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        may_pipe: bool,
    ) -> Poll<Option<Result<Chunk, BrokenOff>>> {
        loop {
            if let State::Healing(reason, opening) = &mut self.state {
                let (reason, opened) = (*reason, ready!(opening.as_mut().poll(cx)));
                match opened {
                    Ok(body) => self.healed(reason, body),
                    Err(cause) => return Poll::Ready(self.break_off(cause).err().map(Err)),
                }
            }
            if self.window.remaining() == Some(0) || matches!(self.state, State::Ended) {
                self.end();
                return Poll::Ready(None);
            }
            let healing = match ready!(self.poll_source(cx, may_pipe)) {
                Polled::Chunk(chunk) => match self.window.take(chunk.len()) {
                    Ok(range) if range.is_empty() => continue,
                    Ok(range) => return Poll::Ready(Some(Ok(within(chunk, range)))),
                    Err(cause) => self.break_off(cause),
                },
                // Without a promised length the framing alone tells the end, and it did.
                Polled::Ended if self.window.is_open() => {
                    self.end();
                    Ok(())
                }
                Polled::Ended => self.heal(HealReason::Short),
                Polled::Broke(reason) => self.heal(reason),
            };
            if let Err(broken) = healing {
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    /// Goes on from storage, if that is possible.
    fn heal(&mut self, reason: HealReason) -> Result<(), BrokenOff> {
        if let State::FromCdn(body) = &mut self.state {
            body.fail(reason.label());
        }
        let Some(rescue) = &self.rescue else { return self.break_off(AbortCause::NoValidator) };
        if self.heals_left == 0 {
            return self.break_off(AbortCause::Limit);
        }
        self.heals_left -= 1;
        match rescue.open(self.window.rest()) {
            Ok(opening) => {
                tracing::warn!(
                    reason = reason.label(),
                    at = self.window.next(),
                    "a body broke off"
                );
                self.state = State::Healing(reason, opening);
                Ok(())
            }
            Err(cause) => self.break_off(cause),
        }
    }

    fn break_off(&mut self, cause: AbortCause) -> Result<(), BrokenOff> {
        self.state = State::Ended;
        if let Some(rescue) = self.rescue.take() {
            rescue.metrics.aborted(cause);
        }
        Err(BrokenOff(cause))
    }

    fn healed(&mut self, reason: HealReason, body: ObjectBody) {
        self.window.restart();
        self.pace.restart();
        self.state = State::FromStorage(body);
        if let Some(rescue) = &self.rescue {
            rescue.metrics.healed(reason);
            self.drawn = Drawn::from(&rescue.metrics, rescue.store.source());
        }
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.rescue = None;
    }
}

fn broken_cdn(error: &upstream::BodyError) -> HealReason {
    match error {
        upstream::BodyError::Short => HealReason::Short,
        upstream::BodyError::Reset | upstream::BodyError::Protocol => HealReason::Reset,
    }
}

/// Finds the gateway's own client at the root of a provider's error.
fn broken_storage(error: &(dyn std::error::Error + 'static)) -> HealReason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<upstream::BodyError>() {
            return broken_cdn(error);
        }
        next = error.source();
    }
    HealReason::Reset
}

/// The next bytes of a body; in memory, unless it may be a pipe.
fn poll_next<B: Chunks>(
    body: Pin<&mut B>,
    cx: &mut Context<'_>,
    may_pipe: bool,
) -> Poll<Option<Result<Chunk, B::Error>>> {
    if may_pipe { body.poll_chunk(cx) } else { poll_data(body, cx).map_ok(Chunk::Here) }
}

/// A part of a chunk. One that is not in memory is delivered whole: nothing is cut out of it.
fn within(chunk: Chunk, range: Range<usize>) -> Chunk {
    match chunk {
        Chunk::Here(bytes) => Chunk::Here(bytes.slice(range)),
        held @ Chunk::InKernel(_) => held,
    }
}

impl Chunks for ReadBody {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Chunk, BrokenOff>>> {
        self.poll_bytes(cx, true)
    }
}

impl http_body::Body for ReadBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let chunk = ready!(self.poll_bytes(cx, false));
        Poll::Ready(chunk.map(|chunk| {
            let bytes = chunk?.into_bytes().map_err(|_| BrokenOff(AbortCause::StorageFailed))?;
            Ok(Frame::data(bytes))
        }))
    }

    fn is_end_stream(&self) -> bool {
        // Not while something is still owed, even if the source has ended.
        self.window.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.window.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
