//! The front door: one pipeline that reads from top to bottom. Admission, route, app, method, then
//! the action; and every answer leaves by the same way, with its id, its log line and its count.

pub mod admin;
mod admission;
mod body;
mod client;
pub mod conditions;
mod cors;
mod error;
mod events;
mod exchange;
mod idempotency;
mod identity;
mod images;
mod limits;
mod owner;
mod private;
mod read;
mod refusal;
mod route;
mod traced;
mod uploads;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tokio::sync::Semaphore;

use crate::actions::Services;
use crate::apps::{App, LiveApps};
use crate::background::events::Push;
use crate::domain::{Error, Source, TrustedProxies};
use crate::log::RequestId;
use crate::metrics::{Metrics, UNKNOWN_APP};

pub use admission::{MAX_HEAD_BYTES, MAX_TARGET_BYTES};
pub use body::ReplyBody;
#[doc(hidden)]
pub use client::believed_address;
pub use error::Problem;
pub use exchange::LoggedBody;
pub use refusal::{Refused, overloaded};
pub use traced::Tracing;

use exchange::{Exchange, Line};
use route::{NoRoute, Route};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The methods that some path takes.
const ALL_METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";

/// What the public listener serves.
pub struct FrontDoor {
    apps: Arc<LiveApps>,
    services: Services,
    metrics: Arc<Metrics>,
    /// The mark by which a request that comes around is recognised.
    loop_token: HeaderValue,
    /// Who may push events of storage, if anybody may.
    push: Option<Push>,
    /// Whose word on the client's address is believed; `None` where the operator has not said who
    /// stands in front.
    trusted_proxies: Option<TrustedProxies>,
    /// How requests are traced.
    tracing: Tracing,
    /// One permit a request, until its answer has been sent.
    capacity: Arc<Semaphore>,
}

impl FrontDoor {
    /// Opens the front door, for at most `max_concurrent` requests at a time.
    #[must_use]
    pub fn new(
        apps: Arc<LiveApps>,
        services: Services,
        metrics: Arc<Metrics>,
        loop_token: HeaderValue,
        max_concurrent: usize,
    ) -> Self {
        let capacity = Arc::new(Semaphore::new(max_concurrent));
        Self {
            apps,
            services,
            metrics,
            loop_token,
            push: None,
            trusted_proxies: None,
            tracing: Tracing::default(),
            capacity,
        }
    }

    /// Traces requests in this way.
    #[must_use]
    pub fn with_tracing(self, tracing: Tracing) -> Self {
        Self { tracing, ..self }
    }

    /// Lets these senders push events of storage.
    #[must_use]
    pub fn with_push(self, push: Option<Push>) -> Self {
        Self { push, ..self }
    }

    /// Believes these peers what they say about their clients.
    #[must_use]
    pub fn with_trusted_proxies(self, trusted_proxies: Option<TrustedProxies>) -> Self {
        Self { trusted_proxies, ..self }
    }

    /// Answers one request of this peer.
    pub fn handle<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<LoggedBody>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Outside of the future, which would have room for the request beside its parts.
        let (head, body) = request.into_parts();
        let mut exchange = self.begin(&head, peer);
        async move {
            let line = &mut exchange.line;
            // A preflight costs no more than its refusal, after which no page could read the refusal
            // of what it asks for.
            let mut response = if exchange.place.is_some() || head.method == Method::OPTIONS {
                let (id, trace) = (line.id, line.span.place());
                // Pinned here, where it lies: a future that is handed on takes its room twice.
                let answering = pin!(self.answer(&head, body, peer, line));
                id.follow(pin!(trace.follow(answering))).await
            } else {
                self.metrics.overloaded.with_label_values(&["requests"]).inc();
                of_no_app(Problem::Overloaded, line)
            };
            response.headers_mut().insert(REQUEST_ID, header_of(line.id));
            exchange.answer(response)
        }
    }

    /// Begins the exchange of a request, which has a place if one is free.
    fn begin(&self, head: &Parts, peer: SocketAddr) -> Exchange {
        let trusted = self.trusted_proxies.as_ref();
        let mut line = Line {
            id: RequestId::new(),
            begun: Instant::now(),
            method: known_method(&head.method).unwrap_or("other"),
            route: "none",
            app: None,
            status: 499,
            source: None,
            fallback: None,
            span: self.tracing.begin(peer.ip(), &head.headers, trusted),
        };
        self.tracing.describe(&mut line);
        let place = Arc::clone(&self.capacity).try_acquire_owned().ok();
        Exchange::begin(line, Arc::clone(&self.metrics), place)
    }

    async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
        peer: SocketAddr,
        line: &mut Line,
    ) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Err(problem) = admission::check(head, &self.loop_token) {
            return of_no_app(problem, line);
        }
        if known_method(&head.method).is_none() {
            return of_no_app(Problem::MethodNotAllowed { allow: ALL_METHODS }, line);
        }
        if head.method == Method::OPTIONS && head.uri.path() == "*" {
            return cors::of_the_server();
        }
        if let Some((push, source)) = self.push.as_ref().zip(events::source_of(head.uri.path())) {
            line.route = events::route_of(source);
            traced::routed(line, events::path_of(source));
            let answered = Box::pin(events::handle(push, source, head, body)).await;
            return answered.unwrap_or_else(|problem| problem.into_response(&line.id));
        }
        let route = match Route::parse(head.uri.path()) {
            Ok(route) => route,
            Err(_) if head.method == Method::OPTIONS => return cors::preflight_of_no_app(),
            Err(NoRoute::Unknown) => return of_no_app(Problem::UnknownRoute, line),
            Err(NoRoute::Hostile) => return of_no_app(Error::InvalidKey.into(), line),
        };
        line.route = route.name();
        traced::routed(line, route.path());
        // From here to its last byte, a request has the app that it began with.
        let Some(app) = &self.apps.get(route.app()) else {
            return match head.method {
                Method::OPTIONS => cors::preflight_of_no_app(),
                _ => self.unknown_app(&route, line),
            };
        };
        line.app = Some(app.name.clone());
        if head.method == Method::OPTIONS {
            return cors::preflight(&route, app, &head.headers);
        }
        if !route.takes(&head.method) {
            let problem = Problem::MethodNotAllowed { allow: route.allow() };
            return for_browsers(&route, app, &head.headers, problem.into_response(&line.id));
        }
        let (services, trusted_proxies) = (&self.services, self.trusted_proxies.as_ref());
        let client = || client::network(peer, &head.headers, trusted_proxies, &self.metrics);
        let client = route.begins_an_upload().then(client).flatten();
        let peer = peer.ip();
        let call = uploads::Call { app, services, head, peer, trusted_proxies, client };
        // Boxed, as all that reads from memory have no use for: every connection has room for the
        // largest of its requests, and fills it anew for each.
        let answered = match route {
            Route::Image { key, .. } => return read::handle(call, key, line).await,
            Route::OwnImage { .. } | Route::SignedUrls { .. } => {
                Box::pin(images::handle(call, &route, body)).await
            }
            _ => Box::pin(uploads::handle(call, &route, body)).await,
        };
        let response = answered.unwrap_or_else(|problem| problem.into_response(&line.id));
        for_browsers(&route, app, &head.headers, response)
    }

    fn unknown_app(&self, route: &Route<'_>, line: &Line) -> Response<ReplyBody> {
        match route {
            Route::Image { .. } => {
                let labels = [UNKNOWN_APP, Source::None.label(), "404"];
                self.metrics.reads.with_label_values(&labels).inc();
            }
            Route::Presign { .. } => {
                let labels = [UNKNOWN_APP, Error::UnknownApp.code()];
                self.metrics.presigns.with_label_values(&labels).inc();
            }
            Route::Multipart { .. } => {
                let labels = [UNKNOWN_APP, "begin", Error::UnknownApp.code()];
                self.metrics.multipart_requests.with_label_values(&labels).inc();
            }
            Route::Upload { .. }
            | Route::Finalize { .. }
            | Route::UploadUrl { .. }
            | Route::PartUrls { .. }
            | Route::Parts { .. }
            | Route::Complete { .. } => {}
            Route::OwnImage { .. } => {
                let labels = [UNKNOWN_APP, Error::UnknownApp.code()];
                self.metrics.deletes.with_label_values(&labels).inc();
            }
            Route::SignedUrls { .. } => {
                let labels = [UNKNOWN_APP, Error::UnknownApp.code()];
                self.metrics.signed_urls.with_label_values(&labels).inc();
            }
        }
        of_no_app(Error::UnknownApp.into(), line)
    }
}

/// A refusal before there is an app that could say which pages may read it. It tells nothing of
/// anybody, so all may: an answer that a page cannot read is no answer to whoever looks for what is
/// wrong with it.
fn of_no_app(problem: Problem, line: &Line) -> Response<ReplyBody> {
    let mut response = problem.into_response(&line.id);
    cors::open(response.headers_mut());
    response
}

/// Adds what browsers need to read an answer that no read made.
fn for_browsers(
    route: &Route<'_>,
    app: &App,
    request: &http::HeaderMap,
    mut response: Response<ReplyBody>,
) -> Response<ReplyBody> {
    if route.is_of_uploads() {
        cors::for_uploads(app, request, response.headers_mut());
    } else {
        cors::for_reads(app, None, request, response.headers_mut());
    }
    response
}

/// The id as a header.
fn header_of(id: RequestId) -> HeaderValue {
    HeaderValue::from_bytes(id.as_bytes()).expect("hexadecimal digits are valid in a header")
}

/// The methods that some path could take, as a closed set of names; never CONNECT or TRACE.
fn known_method(method: &Method) -> Option<&'static str> {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method.as_str())
}

/// An answer in plain text, for the admin listener.
fn text_response(status: StatusCode, text: impl Into<Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::full(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

/// RFC 3339 in UTC, to the second.
fn timestamp(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(since_1970).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
