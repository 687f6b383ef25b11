//! An app's CDN: how it is asked, and what counts as an answer.

pub mod health;
mod signing;
mod verdict;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
    DATE, ETAG, EXPIRES, HeaderName, IF_NONE_MATCH, LAST_MODIFIED, RANGE, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::domain::{
    Caching, ETag, FallbackReason, RangeRequest, Representation, Shape, StoragePath, Stored,
};
use crate::traces::{Kind, Name, Span, Spanned, Value, pass_on};
use crate::upstream::{Answer, Body, Client, Fields, Origin, Question, Timeouts};

use health::Fault;

pub use signing::{KeyPair, KeyPairId, RequestSigner, SigningKey};

/// The header by which a request that comes around again is recognised (RFC 8586).
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The longest `If-None-Match` that is sent, in bytes: far more than the few tags of any cache.
const MAX_CONDITION_BYTES: usize = 1024;

/// An app's CDN.
#[derive(Clone)]
pub struct Cdn {
    client: Client,
    origin: Origin,
    /// The path of the CDN's URL, with a slash at both ends.
    base_path: String,
    timeouts: Timeouts,
    loop_token: HeaderValue,
    signer: Option<Arc<RequestSigner>>,
}

/// What the CDN is asked. Nothing of the client's request gets here but what is listed.
#[derive(Debug, Clone)]
pub struct CdnQuestion<'a> {
    /// The object's path behind the CDN's base.
    pub path: &'a StoragePath,
    /// Whether only the head is wanted.
    pub head_only: bool,
    /// The range; the whole object without one.
    pub range: Option<RangeRequest>,
    /// Versions that are not wanted again.
    pub if_none_match: &'a [ETag],
    /// What the object is known to be; every answer that shows another one is a failure.
    pub recorded: Option<&'a Stored>,
}

/// A usable answer of the CDN.
pub struct CdnAnswer {
    /// Its shape.
    pub shape: Shape,
    /// What it says of the object.
    pub object: Representation,
    /// The bytes.
    pub body: Spanned<Body>,
}

/// The CDN gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdnFailure {
    /// The reason, as it is counted.
    pub reason: FallbackReason,
    /// What happened, for the log.
    pub detail: String,
    /// The status, where there was an answer.
    pub status: Option<StatusCode>,
    /// For how long the CDN wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl CdnFailure {
    /// A failure without an answer to it.
    #[must_use]
    pub fn new(reason: FallbackReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), status: None, retry_after: None }
    }

    /// What it says of the CDN's health.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let status = self.status.map(|status| status.as_u16());
        Fault { reason: self.reason, status, retry_after: self.retry_after }
    }

    /// A failure that an answer shows.
    fn shown_by(mut self, status: StatusCode, fields: &Fields) -> Self {
        self.status = Some(status);
        // The form with a date is rare, and the breaker has a pause of its own.
        let seconds = fields.text(&RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        self.retry_after = seconds.map(Duration::from_secs);
        self
    }
}

impl Cdn {
    /// An app's CDN at `url`.
    ///
    /// # Errors
    /// A text for the tenant.
    pub fn new(
        client: Client,
        url: &url::Url,
        timeouts: Timeouts,
        loop_token: HeaderValue,
    ) -> Result<Self, String> {
        let base_path = format!("{}/", url.path().trim_end_matches('/'));
        let origin = Origin::from_url(url)?;
        Ok(Self { client, origin, base_path, timeouts, loop_token, signer: None })
    }

    /// The same, where it answers signed requests only.
    #[must_use]
    pub fn signed_by(self, signer: RequestSigner) -> Self {
        Self { signer: Some(Arc::new(signer)), ..self }
    }

    /// Whether requests to it are signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signer.is_some()
    }

    /// How long one question can take at most: it may be asked on a connection that is dead, then on a
    /// fresh one.
    #[must_use]
    pub fn longest_exchange(&self) -> Duration {
        self.timeouts.longest_exchange()
    }

    /// Where a client finds an object.
    #[must_use]
    pub fn url_of(&self, path: &StoragePath) -> String {
        format!("{}{}{}", self.origin.base_url(), self.base_path, path.to_url_path())
    }

    /// Asks for an object.
    ///
    /// # Errors
    /// [`CdnFailure`] for everything that is not an answer to the question: see `verdict`.
    pub async fn ask(&self, question: &CdnQuestion<'_>) -> Result<CdnAnswer, CdnFailure> {
        let mut span = Span::begin(Kind::Client, Name("cdn", None));
        let answered = self.ask_for(question, &mut span).await;
        let (shape, object, body) = answered.inspect_err(|failure| describe(&mut span, failure))?;
        Ok(CdnAnswer { shape, object, body: Spanned::new(body, span) })
    }

    async fn ask_for(
        &self,
        question: &CdnQuestion<'_>,
        span: &mut Span,
    ) -> Result<(Shape, Representation, Body), CdnFailure> {
        let method = if question.head_only { "HEAD" } else { "GET" };
        span.set("http.request.method", Value::Word(method));
        span.set("peer.service", Value::Word("cdn"));
        let sent = span.follow(pin!(self.send(question))).await;
        let Answer { status, fields, body } = sent?;
        span.set("http.response.status_code", Value::Number(status.as_u16().into()));
        let shape = match Self::judge(question, status, &fields) {
            Ok(shape) => shape,
            Err(failure) => {
                // A CDN that says no to many reads is not connected to anew for each. One that makes
                // no sense is.
                if failure.reason != FallbackReason::Protocol {
                    body.discard();
                }
                return Err(failure);
            }
        };
        let object = representation(shape, status, &fields);
        if let Some(recorded) = question.recorded {
            let compared = verdict::compare(question, recorded, shape, &object);
            compared.map_err(|failure| failure.shown_by(status, &fields))?;
        }
        Ok((shape, object, body))
    }

    /// Asks for an object and gives the answer as it came, whatever it says.
    ///
    /// # Errors
    /// [`CdnFailure`] where there is no answer at all.
    pub async fn send(&self, question: &CdnQuestion<'_>) -> Result<Answer, CdnFailure> {
        let sent = self.client.ask(&self.origin, self.question(question), &self.timeouts).await;
        sent.map_err(|error| CdnFailure::new(verdict::reason_of(&error), error.to_string()))
    }

    /// Judges the head of an answer to a question.
    ///
    /// # Errors
    /// [`CdnFailure`] for everything that is not an answer to the question: see `verdict`.
    pub fn judge(
        question: &CdnQuestion<'_>,
        status: StatusCode,
        fields: &Fields,
    ) -> Result<Shape, CdnFailure> {
        let judged = verdict::judge(question, status, fields);
        judged.map_err(|failure| failure.shown_by(status, fields))
    }

    fn question(&self, asked: &CdnQuestion<'_>) -> Question {
        let path = [&*self.base_path, &asked.path.to_url_path()];
        let mut question = Question::read(&self.origin, asked.head_only, path);
        question.add(&ACCEPT_ENCODING, &HeaderValue::from_static("identity"));
        question.add(&CDN_LOOP, &self.loop_token);
        if let Some(range) = asked.range {
            question.add(&RANGE, &ascii(range.to_string()));
        }
        if !asked.if_none_match.is_empty() {
            let tags: Vec<&str> = asked.if_none_match.iter().map(ETag::as_str).collect();
            let tags = tags.join(", ");
            // A tag with bytes beyond ASCII cannot be rebuilt from text: then there is no
            // condition, and the gateway evaluates it on the full answer. Nor is there one where the
            // list is so long that a CDN may refuse it, which would be no failure of the CDN's.
            if let Ok(value) = HeaderValue::try_from(tags.as_str())
                && tags.len() <= MAX_CONDITION_BYTES
            {
                question.add(&IF_NONE_MATCH, &value);
            }
        }
        let signer = self.signer.as_deref();
        if let Some(cookie) = signer.and_then(|signer| signer.cookie(SystemTime::now())) {
            question.add(&COOKIE, &cookie);
        }
        let mut of_trace = HeaderMap::new();
        pass_on(&mut of_trace);
        question.add_all(&of_trace);
        question
    }
}

/// Says in a span how the CDN failed.
fn describe(span: &mut Span, failure: &CdnFailure) {
    span.set("error.type", Value::Word(failure.reason.label()));
    span.failed(failure.reason.label());
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and punctuation are valid in a header")
}

/// Reads what an answer says of the object.
fn representation(shape: Shape, status: StatusCode, fields: &Fields) -> Representation {
    let size = match shape {
        Shape::Part(part) => Some(part.total),
        Shape::Whole if status == StatusCode::OK => {
            fields.text(&CONTENT_LENGTH).and_then(|length| length.parse().ok())
        }
        Shape::Unsatisfiable(size) => size,
        Shape::Whole | Shape::NotModified => None,
    };
    Representation {
        size,
        content_type: fields.text(&CONTENT_TYPE).map(str::to_owned),
        content_encoding: fields.text(&CONTENT_ENCODING).map(str::to_owned),
        etag: fields.text(&ETAG).and_then(ETag::parse),
        last_modified: fields.text(&LAST_MODIFIED).and_then(parse_date),
        age: fields.text(&AGE).and_then(|age| age.parse().ok()),
        caching: caching(fields),
    }
}

/// What an answer says of how long it may be kept.
fn caching(fields: &Fields) -> Caching {
    let said = Caching::parse_lines(fields.texts(&CACHE_CONTROL));
    // What cannot be read, or compared with the date of the answer, is over (RFC 9111 §5.3).
    let date = |name| fields.text(name).and_then(parse_date);
    let expires_in = fields.contains(&EXPIRES).then(|| match (date(&EXPIRES), date(&DATE)) {
        (Some(expires), Some(date)) => {
            expires.duration_since(date).map_or(0, |left| left.as_secs())
        }
        _ => 0,
    });
    // Such an answer is for one request alone (RFC 9111 §4.1).
    let for_one = fields.texts(&VARY).any(|line| line.split(',').any(|name| name.trim() == "*"));
    let said = said.or_expires_in(expires_in);
    Caching { no_store: said.no_store || for_one, ..said }
}

fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests;
