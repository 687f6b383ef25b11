//! The body that heals itself.
//!
//! Whatever source it began with, when the bytes stop coming it goes on from storage at the very
//! byte where they stopped, under `If-Match`, and only if storage shows the same strong tag, the
//! same range and the same length. Otherwise it breaks off visibly: an error here makes the server
//! close the connection short of its `Content-Length`, or without the last chunk. What it never
//! does is splice two versions, or end cleanly before the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body as _, Frame, SizeHint};

use crate::apps::App;
use crate::domain::{
    AbortCause, ByteRange, ContentRange, ETag, HealReason, KeyPrefix, ObjectKey, RangeRequest,
    Representation, Source,
};
use crate::metrics::AppMetrics;
use crate::pipes::Chunks;
use crate::storage::{GetOptions, ObjectBody, ObjectStore, StorageErrorKind};
use crate::traces::Spanned;
use crate::upstream;

use super::sources;
use drawn::Drawn;
use pace::Pace;

mod drawn;
mod pace;

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
    Here(Bytes),
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

/// Which bytes of the object are still to be delivered, and where the source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The offset in the object of the next byte that the source gives.
    source_at: u64,
    /// The offset of the next byte to deliver; not before `source_at`.
    next: u64,
    /// The offset after the last byte to deliver; unknown where the source did not tell a length.
    end: Option<u64>,
    /// Whether the source was asked for more than is delivered, so that more is no overrun.
    cut: bool,
}

impl Window {
    /// All of an object.
    pub(super) fn whole(size: Option<u64>) -> Self {
        Self { source_at: 0, next: 0, end: size, cut: false }
    }

    /// A part, from a source that gives just that part.
    pub(super) fn part(part: ContentRange) -> Self {
        let ByteRange { start, end } = part.range;
        Self { source_at: start, next: start, end: Some(end + 1), cut: false }
    }

    /// A part, from a source that gives the whole object.
    pub(super) fn cut(part: ContentRange) -> Self {
        Self { source_at: 0, cut: true, ..Self::part(part) }
    }

    fn remaining(&self) -> Option<u64> {
        self.end.map(|end| end - self.next)
    }

    /// Takes a chunk of the source; what of it is to be delivered, or an error if the source gives
    /// more than it promised.
    fn take(&mut self, mut chunk: Bytes) -> Result<Bytes, AbortCause> {
        let length = chunk.len() as u64;
        let skipped = (self.next - self.source_at).min(length);
        self.source_at += length;
        chunk = chunk.split_off(usize::try_from(skipped).expect("at most the chunk's length"));
        if let Some(remaining) = self.remaining()
            && chunk.len() as u64 > remaining
        {
            if !self.cut {
                return Err(AbortCause::Overrun);
            }
            chunk.truncate(usize::try_from(remaining).expect("less than the chunk's length"));
        }
        self.next += chunk.len() as u64;
        Ok(chunk)
    }

    /// The bytes that a new source has to give; `None` if that is not known.
    fn rest(&self) -> Option<ByteRange> {
        let end = self.end?.checked_sub(1)?;
        (self.next <= end).then_some(ByteRange { start: self.next, end })
    }

    /// The new source gives just the rest.
    fn restart(&mut self) {
        self.source_at = self.next;
        self.cut = false;
    }
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
    Chunk(Bytes),
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

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        loop {
            let frame = match &mut self.state {
                State::FromCdn(body) => match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(frame) => frame.map(|f| f.map_err(|error| broken_cdn(&error))),
                    Poll::Pending => return self.pace.poll_waiting(cx).map(Polled::Broke),
                },
                State::FromStorage(body) => match body.as_mut().poll_frame(cx) {
                    Poll::Ready(frame) => frame.map(|f| f.map_err(|error| broken_storage(&*error))),
                    Poll::Pending => return self.pace.poll_waiting(cx).map(Polled::Broke),
                },
                State::Healing(..) | State::Ended => return Poll::Ready(Polled::Ended),
            };
            return Poll::Ready(match frame {
                None => Polled::Ended,
                Some(Err(reason)) => Polled::Broke(reason),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        self.pace.received(chunk.len());
                        self.drawn.add(chunk.len());
                        Polled::Chunk(chunk)
                    }
                    // Trailers are not passed on.
                    Err(_) => continue,
                },
            });
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
                tracing::warn!(reason = reason.label(), at = self.window.next, "a body broke off");
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

impl http_body::Body for ReadBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        loop {
            if let State::Healing(reason, opening) = &mut this.state {
                let (reason, opened) = (*reason, ready!(opening.as_mut().poll(cx)));
                match opened {
                    Ok(body) => this.healed(reason, body),
                    Err(cause) => return Poll::Ready(this.break_off(cause).err().map(Err)),
                }
            }
            if this.window.remaining() == Some(0) || matches!(this.state, State::Ended) {
                this.end();
                return Poll::Ready(None);
            }
            let healing = match ready!(this.poll_source(cx)) {
                Polled::Chunk(chunk) => match this.window.take(chunk) {
                    Ok(chunk) if chunk.is_empty() => continue,
                    Ok(chunk) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
                    Err(cause) => this.break_off(cause),
                },
                // Without a promised length the framing alone tells the end, and it did.
                Polled::Ended if this.window.end.is_none() => {
                    this.end();
                    Ok(())
                }
                Polled::Ended => this.heal(HealReason::Short),
                Polled::Broke(reason) => this.heal(reason),
            };
            if let Err(broken) = healing {
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Not while something is still owed, even if the source has ended.
        self.window.remaining() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.window.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Chunks for ReadBody {}

#[cfg(test)]
mod tests;
