//! A request's one line in the log: written when the answer has ended, whichever way it ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::actions::read::BrokenOff;
use crate::domain::AppName;
use crate::log::{self, AccessLine, RequestId};
use crate::metrics::Metrics;
use crate::traces::Span;
use crate::zero_copy::{Chunk, Chunks};

use super::body::ReplyBody;
use super::traced;

/// What becomes known of a request for its line.
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
    /// The status of the answer; 499 while there is none.
    pub status: u16,
    /// Who answered a read.
    pub source: Option<&'static str>,
    /// Why the CDN did not.
    pub fallback: Option<&'static str>,
    /// Its span, which ends with its answer.
    pub span: Span,
}

/// A request from its arrival until its answer has been sent: it is counted as being in flight, and
/// its end, whichever it is, writes its line.
pub struct Exchange {
    /// What its line says.
    pub line: Line,
    sent: u64,
    outcome: &'static str,
    metrics: Arc<Metrics>,
    /// Its place among the requests that may be answered at a time; none for one that was refused.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// What comes of polling a body.
type Polled<T> = Poll<Option<Result<T, BrokenOff>>>;

/// An answer's body that ends its exchange.
pub struct LoggedBody {
    body: ReplyBody,
    exchange: Exchange,
}

impl Exchange {
    /// Begins with a request.
    #[must_use]
    pub fn begin(line: Line, metrics: Arc<Metrics>, place: Option<OwnedSemaphorePermit>) -> Self {
        metrics.requests_in_flight.inc();
        Self { line, sent: 0, outcome: "client_left", metrics, place }
    }

    /// Goes on with the answer's body.
    #[must_use]
    pub fn answer(mut self, response: Response<ReplyBody>) -> Response<LoggedBody> {
        self.line.status = response.status().as_u16();
        response.map(|body| {
            if body.is_end_stream() {
                self.outcome = "complete";
            }
            LoggedBody { body, exchange: self }
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.dec();
        if self.line.span.is_recorded() {
            traced::end(&mut self.line, self.outcome, self.sent);
        }
        let Line { id, begun, method, route, ref app, status, source, fallback, .. } = self.line;
        log::access(&AccessLine {
            id,
            trace: self.line.span.place().trace(),
            method,
            route,
            app: app.as_ref().map(AppName::as_str),
            status,
            source,
            fallback,
            bytes: self.sent,
            outcome: self.outcome,
            took: begun.elapsed(),
        });
    }
}

impl LoggedBody {
    /// Polls the body within its exchange, and notes what comes of it.
    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut ReplyBody>) -> Polled<T>,
        length: impl FnOnce(&T) -> usize,
    ) -> Polled<T> {
        let Line { id, span, .. } = &self.exchange.line;
        let polled = id.scope(|| span.place().scope(|| poll(Pin::new(&mut self.body))));
        let part = std::task::ready!(polled);
        match &part {
            Some(Ok(part)) => {
                self.exchange.sent += length(part) as u64;
                if self.body.is_end_stream() {
                    self.exchange.outcome = "complete";
                }
            }
            Some(Err(_)) => self.exchange.outcome = "broken_off",
            None => self.exchange.outcome = "complete",
        }
        Poll::Ready(part)
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<Frame<Bytes>> {
        let length = |frame: &Frame<Bytes>| frame.data_ref().map_or(0, Bytes::len);
        self.poll(|body| body.poll_frame(cx), length)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Chunks for LoggedBody {
    fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<Chunk> {
        self.poll(|body| body.poll_chunk(cx), Chunk::len)
    }
}
