//! What stands in front of the S3 service: connections, CORS for browsers that upload directly, and
//! what `s3s` leaves undone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode, s3_error};
use tokio::net::TcpStream;

use super::super::listen::Ending;
use super::invalid;

/// The methods that a page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT");

/// The fields that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, x-amz-version-id, x-amz-checksum-sha256, Content-Range, Accept-Ranges",
);

/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// For how long, and how much of, a refused body is still taken, so that the client gets to read
/// the refusal: one that is still writing sees a reset connection instead.
const DRAIN_TIME: Duration = Duration::from_secs(10);
const DRAIN_BYTES: u64 = 64 << 20;

/// The origins from which pages may use the store.
pub(super) struct Cors {
    origins: Vec<String>,
}

impl Cors {
    /// Checks that each is `*` or an origin: scheme, host and port, nothing behind.
    pub(super) fn new(origins: Vec<String>) -> std::io::Result<Self> {
        for origin in origins.iter().filter(|origin| *origin != "*") {
            let parsed = url::Url::parse(origin).ok();
            if parsed.is_none_or(|url| url.origin().ascii_serialization() != *origin) {
                return Err(invalid(format!(
                    "`{origin}` is no origin: write it like `https://app.example`, or `*`"
                )));
            }
        }
        Ok(Self { origins })
    }

    /// The origin of a request, if it may use the store. Pages on this machine always may.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let value = headers.get(ORIGIN)?;
        let origin = value.to_str().ok()?;
        let known = self.origins.iter().any(|known| known == "*" || known == origin);
        (known || is_loopback(origin)).then(|| value.clone())
    }
}

/// Whether an origin is a loopback host, on whatever port.
fn is_loopback(origin: &str) -> bool {
    let Ok(url) = url::Url::parse(origin) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The whole HTTP side of the store.
pub(super) struct Front {
    service: S3Service,
    cors: Cors,
}

impl Front {
    pub(super) fn new(service: S3Service, cors: Cors) -> Self {
        Self { service, cors }
    }

    /// Serves one connection until it ends, or until the server does and no request is open.
    pub(super) async fn serve_connection(self: Arc<Self>, stream: TcpStream, mut ending: Ending) {
        let service = service_fn(|request| {
            let front = Arc::clone(&self);
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = ending.asked() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection to the store broke");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let origin = self.cors.allowed(request.headers());
        let mut response = if request.method() == Method::OPTIONS {
            preflight(request.headers(), origin.is_some())
        } else {
            self.call(request).await
        };
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_name(ORIGIN));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        response
    }

    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let is_head = request.method() == Method::HEAD;
        let request = request.map(|body| Body::http_body_unsync(Drained { body: Some(body) }));
        let mut response = match self.service.call(request).await {
            Ok(response) => response,
            Err(_) => refusal(S3Error::new(S3ErrorCode::InternalError)),
        };
        if response.status() == StatusCode::NOT_MODIFIED {
            // It comes with the XML of an error, which a 304 must not have.
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_TYPE);
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        if is_head
            && response.status() == StatusCode::OK
            && response.headers().contains_key(CONTENT_RANGE)
        {
            // As S3 answers a HEAD with a range.
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

/// Answers the question of a browser whether a page may send a request.
fn preflight(headers: &HeaderMap, allowed: bool) -> Response<Body> {
    let Some(method) = headers.get(ACCESS_CONTROL_REQUEST_METHOD) else {
        return refusal(s3_error!(
            InvalidRequest,
            "Insufficient information. Origin request header needed."
        ));
    };
    if !allowed || ![Method::GET, Method::HEAD, Method::PUT].iter().any(|m| m.as_str() == method) {
        let mut error = s3_error!(AccessDenied, "CORSResponse: This CORS request is not allowed.");
        error.set_status_code(StatusCode::FORBIDDEN);
        return refusal(error);
    }
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(requested) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_METHOD));
    answer.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_HEADERS));
    response
}

fn refusal(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// A request body that is read to its end in the background when nobody wants it any more.
struct Drained {
    body: Option<Incoming>,
}

impl http_body::Body for Drained {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(DRAIN_TIME, async move {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        }));
    }
}
