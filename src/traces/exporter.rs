//! Spans on their way to a collector: gathered, sent in batches, again where that may help, and given
//! up in the end. No request ever waits for it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::otlp;
use super::span::Ended;
use super::tracer::{SampleRatio, Tracer};
use crate::domain::Secret;
use crate::metrics::{Metrics, SpanMetrics};
use crate::upstream::{Client, Origin, Repeatable, Timeouts};

/// How long spans are gathered, from the first on.
const GATHER: Duration = Duration::from_secs(1);

/// How many spans go together, as in OpenTelemetry's own exporters: some 200 KiB.
const MAX_BATCH: usize = 512;

/// How often a batch is sent.
const MAX_ATTEMPTS: u32 = 3;

/// The pause after the first attempt, doubled after each; and the longest that a collector may ask
/// for, while spans come together that will find no room.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The time limits of one request: OTLP's default is 10 s for all of it.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(3), first_byte: Duration::from_secs(10) };

/// How long the end of the process waits for what is left to be delivered: with the defaults of
/// `[Server]`, all of stopping fits into the 30 s that Kubernetes gives it.
const FLUSH: Duration = Duration::from_secs(2);

/// The largest answer that is read: it holds two numbers and a text.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Who collects spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where spans are sent to: the whole URL, with its path.
    pub url: Url,
    /// What it wants to see besides, such as a key.
    pub headers: Vec<(HeaderName, Secret)>,
    /// What this process is called.
    pub service_name: String,
    /// Which requests are recorded.
    pub sample_ratio: SampleRatio,
}

/// Sends spans to a collector.
pub struct Exporter {
    client: Client,
    origin: Origin,
    target: Uri,
    headers: HeaderMap,
    service_name: String,
    metrics: SpanMetrics,
    queue: mpsc::Receiver<Ended>,
    /// What is on its way. It stays here until it is delivered or given up.
    batch: Vec<Ended>,
    /// Whether the collector took the last batch, so that an outage is logged once.
    is_well: bool,
}

/// Why a batch was not delivered.
struct Failure {
    why: String,
    /// After how long it may be tried again; `None`: never.
    again: Option<Duration>,
}

impl Exporter {
    /// Makes an exporter and the tracer whose spans it sends.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn new(
        collector: &Collector,
        client: Client,
        metrics: &Metrics,
    ) -> Result<(Tracer, Self), String> {
        let metrics = SpanMetrics::new(metrics);
        let (tracer, queue) = Tracer::new(collector.sample_ratio, metrics.clone());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        for (name, value) in &collector.headers {
            let mut value = HeaderValue::from_bytes(value.expose())
                .map_err(|_| format!("the value for {name} is none that a header can carry"))?;
            value.set_sensitive(true);
            headers.append(name.clone(), value);
        }
        let target = &collector.url[url::Position::BeforePath..url::Position::AfterQuery];
        let exporter = Self {
            client,
            origin: Origin::from_url(&collector.url)?,
            target: target.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?,
            headers,
            service_name: collector.service_name.clone(),
            metrics,
            queue,
            batch: Vec::with_capacity(MAX_BATCH),
            is_well: true,
        };
        Ok((tracer, exporter))
    }

    /// Sends spans until `stop`, and then what is left, as far as there is time.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let end = loop {
            tokio::select! {
                biased;
                () = &mut stop => break Instant::now() + FLUSH,
                () = self.gather() => {}
            }
            // What is on its way when it is time to stop arrives, rather than be sent twice.
            if let Either::Right(((), delivery)) = select(pin!(self.deliver()), stop.as_mut()).await
            {
                let end = Instant::now() + FLUSH;
                let _ = timeout_at(end, delivery).await;
                break end;
            }
        };
        if timeout_at(end, self.flush()).await.is_err() {
            let left = self.batch.len() + self.queue.len();
            self.metrics.given_up(left);
            tracing::warn!(spans = left, "the collector did not take the last spans in time");
        }
    }

    /// Fills the batch. What is in it stays there when this is dropped.
    async fn gather(&mut self) {
        if self.batch.is_empty() && self.queue.recv_many(&mut self.batch, MAX_BATCH).await == 0 {
            // Nobody is left who could record a span.
            return std::future::pending().await;
        }
        let until = Instant::now() + GATHER;
        while self.batch.len() < MAX_BATCH {
            let room = MAX_BATCH - self.batch.len();
            match timeout_at(until, self.queue.recv_many(&mut self.batch, room)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Sends the batch, again where that may help, and empties it.
    async fn deliver(&mut self) {
        let mut pause = PAUSE;
        for attempt in 1..=MAX_ATTEMPTS {
            match self.send().await {
                Ok(()) => return,
                Err(Failure { why, again: Some(wanted) }) if attempt < MAX_ATTEMPTS => {
                    tracing::debug!(why, attempt, "the collector is asked again");
                    // Longer by up to a half: what was refused together does not come back together.
                    let spread = 1.0 + fastrand::f64() / 2.0;
                    sleep(pause.max(wanted.min(LONGEST_PAUSE)).mul_f64(spread)).await;
                    pause *= 2;
                }
                Err(Failure { why, .. }) => {
                    self.note(&why);
                    break;
                }
            }
        }
        self.give_up();
    }

    /// Sends everything that is there, each batch once.
    async fn flush(&mut self) {
        loop {
            while self.batch.len() < MAX_BATCH
                && let Ok(span) = self.queue.try_recv()
            {
                self.batch.push(span);
            }
            if self.batch.is_empty() {
                return;
            }
            if let Err(Failure { why, .. }) = self.send().await {
                self.note(&why);
                self.give_up();
            }
        }
    }

    fn give_up(&mut self) {
        self.metrics.given_up(self.batch.len());
        self.batch.clear();
    }

    /// Sends the batch once, and empties it if it was taken.
    async fn send(&mut self) -> Result<(), Failure> {
        let sent = self.post().await;
        self.metrics.asked(sent.is_ok());
        let rejected = sent?;
        self.metrics.delivered(self.batch.len(), rejected);
        self.batch.clear();
        if !std::mem::replace(&mut self.is_well, true) {
            tracing::info!("the collector takes spans again");
        }
        Ok(())
    }

    /// Sends the batch once; how many of its spans the collector threw away.
    async fn post(&self) -> Result<u64, Failure> {
        let body = Bytes::from(otlp::request(&self.service_name, &self.batch));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        // A span that comes twice is the same span.
        request.extensions_mut().insert(Repeatable);
        let sent = self.client.send(&self.origin, request, &TIMEOUTS).await;
        let response =
            sent.map_err(|error| Failure { why: error.to_string(), again: Some(Duration::ZERO) })?;
        let status = response.status();
        if !status.is_success() {
            let again = may_pass(status).then(|| asked_pause(response.headers()));
            response.into_body().discard();
            return Err(Failure { why: format!("it answered {status}"), again });
        }
        let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
        // It has taken the spans, whatever becomes of its answer.
        let answer = timeout(TIMEOUTS.first_byte, answer).await;
        Ok(answer.ok().and_then(Result::ok).map_or(0, |it| otlp::rejected(&it.to_bytes())))
    }

    fn note(&mut self, why: &str) {
        if std::mem::replace(&mut self.is_well, false) {
            tracing::warn!(why, "the collector takes no spans");
        } else {
            tracing::debug!(why, "the collector takes no spans");
        }
    }
}

/// Whether a refusal is one that the protocol lets a sender try again (OTLP, "Retryable Response
/// Codes").
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The pause that a collector asks for, in seconds.
fn asked_pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(0))
}
