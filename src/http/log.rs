//! The id of a request, and its one line in the log: written when the answer has ended, whichever
//! way it ended.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use tracing::Span;

use crate::actions::read::BrokenOff;
use crate::domain::AppName;
use crate::metrics::Metrics;

use super::body::ReplyBody;

/// The id of one request: 16 hexadecimal digits, made here, never taken from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; DIGITS]);

/// The length of an id.
const DIGITS: usize = 16;

impl RequestId {
    /// Makes an id.
    #[must_use]
    pub fn new() -> Self {
        // Random keys, new ones for each state, for which the system is asked once a thread: an id
        // is to be told from others, not to be kept from anybody.
        let number: u64 = RandomState::new().hash_one(());
        let mut digits = [0; DIGITS];
        for (digit, shift) in digits.iter_mut().rev().zip((0..).step_by(4)) {
            *digit = b"0123456789abcdef"[(number >> shift) as usize & 0xf];
        }
        Self(digits)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }

    /// The id as a header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hexadecimal digits are valid in a header")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

/// What the log line of a request says. No path, query, owner or token: a public URL names a
/// photo, and a signed one is a key.
#[derive(Debug)]
pub struct Line {
    /// The id.
    pub id: RequestId,
    /// When the request came.
    pub begun: Instant,
    /// The method, where it is one that the gateway knows.
    pub method: &'static str,
    /// The route.
    pub route: &'static str,
    /// The app, where it is a configured one.
    pub app: Option<AppName>,
    /// The status of the answer.
    pub status: u16,
    /// Who answered a read.
    pub source: Option<&'static str>,
    /// Why the CDN did not.
    pub fallback: Option<&'static str>,
}

/// An answer's body that writes the request's line when it has ended, and holds what the request
/// occupies until then.
pub struct LoggedBody {
    body: ReplyBody,
    line: Line,
    sent: u64,
    outcome: &'static str,
    metrics: Arc<Metrics>,
    /// What puts the request's id on the lines that are logged while the body is read.
    span: Span,
    _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl LoggedBody {
    /// Wraps an answer.
    #[must_use]
    pub fn wrap(
        response: Response<ReplyBody>,
        mut line: Line,
        metrics: Arc<Metrics>,
        span: Span,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Response<Self> {
        line.status = response.status().as_u16();
        response.map(|body| {
            let outcome = if body.is_end_stream() { "complete" } else { "client_left" };
            metrics.requests_in_flight.inc();
            Self { body, line, sent: 0, outcome, metrics, span, _permit: permit }
        })
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        let polled = this.span.in_scope(|| Pin::new(&mut this.body).poll_frame(cx));
        let frame = std::task::ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.body.is_end_stream() {
                    self.outcome = "complete";
                }
            }
            Some(Err(_)) => self.outcome = "broken_off",
            None => self.outcome = "complete",
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

impl Drop for LoggedBody {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.dec();
        let Line { id, begun, method, route, app, status, source, fallback } = &self.line;
        tracing::info!(
            target: "safelight::access",
            request_id = id.as_str(),
            method,
            route,
            app = app.as_ref().map(AppName::as_str),
            status,
            source,
            fallback,
            bytes = self.sent,
            outcome = self.outcome,
            milliseconds = begun.elapsed().as_secs_f64() * 1000.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_16_digits_and_never_the_same() {
        let on_a_thread = || (0..1000).map(|_| RequestId::new()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(on_a_thread)).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let digits =
            |id: &RequestId| id.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(ids.iter().all(|id| id.as_str().len() == 16 && digits(id)));
        let distinct: HashSet<_> = ids.iter().map(RequestId::as_str).collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
