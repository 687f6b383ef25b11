//! One call: its token, its attempts, its answer.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::config::GcsTimeouts;
use super::errors::{answered, unanswered};
use super::identity::Caller;
use super::retries::{Retries, chance, may_connect, may_pass};
use crate::storage::call::nonsense;
use crate::storage::{StorageError, StorageErrorKind};
use crate::upstream::{Body, Client, Origin, Timeouts};

/// The largest answer that is read into memory: far above a full page of a listing (1,000 names of
/// up to 1,024 bytes, escaped, with their metadata). Objects are streamed and have no such limit.
const MAX_DOCUMENT_BYTES: usize = 8 << 20;

/// A server of Google's, and what it may cost to ask it again.
pub(super) struct Server {
    client: Client,
    origin: Origin,
    timeouts: Timeouts,
    retries: Retries,
}

/// The XML API of one server.
pub(super) struct XmlApi {
    server: Server,
    caller: Caller,
}

/// A request to be sent.
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A call that failed, with the status of the last answer, if there was one.
pub(super) struct Failed {
    pub(super) status: Option<u16>,
    pub(super) error: StorageError,
}

impl From<Failed> for StorageError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl Call {
    /// A request without headers of its own and without a body.
    pub(super) fn new(method: Method, target: String) -> Self {
        Self { method, target, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Sets a header.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self, StorageError> {
        let value = HeaderValue::from_str(value).map_err(|_| {
            let detail = format!("{name} cannot carry such a value");
            StorageError::new(StorageErrorKind::Unsupported, detail)
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The request, with the token of whoever sends it.
    pub(super) fn into_request(
        self,
        bearer: Option<HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, StorageError> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.target)
            .body(Full::new(self.body))
            .map_err(|error| nonsense_of_ours(&error))?;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(bearer) = bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

impl Server {
    pub(super) fn new(client: Client, origin: Origin, timeouts: GcsTimeouts) -> Self {
        let timeouts = Timeouts { connect: timeouts.connect, first_byte: timeouts.first_byte };
        Self { client, origin, timeouts, retries: Retries::new() }
    }

    /// Sends a request that may be repeated, again where that may help. The answer is the last
    /// one, a success or not. The caller sets the limit in time.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, StorageError> {
        let mut failed = 0;
        loop {
            let sent = self.client.send(&self.origin, request.clone(), &self.timeouts).await;
            let again = match &sent {
                Ok(response) if response.status().is_success() => {
                    if failed == 0 {
                        self.retries.succeeded();
                    }
                    return sent.map_err(|error| unanswered(&error));
                }
                Ok(response) => may_pass(response.status()),
                Err(error) => may_connect(error),
            };
            failed += 1;
            let pause = if again { self.retries.pause(failed, chance()) } else { None };
            let Some(pause) = pause else { return sent.map_err(|error| unanswered(&error)) };
            let why =
                sent.map_or_else(|error| error.to_string(), |answer| answer.status().to_string());
            tracing::debug!(%why, attempt = failed, "Google is asked again");
            tokio::time::sleep(pause).await;
        }
    }
}

impl XmlApi {
    pub(super) fn new(server: Server, caller: Caller) -> Self {
        Self { server, caller }
    }

    /// Sends a request until an answer is a success, or none is to be had. The caller sets the
    /// limit in time.
    pub(super) async fn send(&self, call: Call) -> Result<Response<Body>, Failed> {
        let method = call.method.clone();
        let unsent = |error| Failed { status: None, error };
        let bearer = self.caller.bearer().await.map_err(unsent)?;
        let request = call.into_request(bearer).map_err(unsent)?;
        let response = self.server.send(request).await.map_err(unsent)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(Failed { status: Some(status.as_u16()), error: refusal(response, &method).await })
    }
}

/// What an answer means that is no success.
async fn refusal(response: Response<Body>, method: &Method) -> StorageError {
    let (head, body) = response.into_parts();
    let has_body = *method != Method::HEAD && head.status != StatusCode::NOT_MODIFIED;
    // Without its document an answer still has its status.
    let document = if has_body { document(body).await.unwrap_or_default() } else { Bytes::new() };
    answered(head.status, &head.headers, &document)
}

/// Reads an answer that is not an object.
pub(super) async fn document(body: Body) -> Result<Bytes, StorageError> {
    let read = Limited::new(body, MAX_DOCUMENT_BYTES).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| nonsense(&format!("a document that cannot be read: {error}")))
}

fn nonsense_of_ours(error: &http::Error) -> StorageError {
    let detail = format!("the request could not be made: {error}");
    StorageError::new(StorageErrorKind::Unavailable, detail)
}
