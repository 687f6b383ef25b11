//! One call: its token, its attempts, its answer.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::errors::answered;
use super::identity::Caller;
use crate::storage::server::{Server, document};
use crate::storage::{StorageError, StorageErrorKind};
use crate::traces::pass_on;
use crate::upstream::Body;

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
    ) -> Result<Request<Bytes>, StorageError> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.target)
            .body(self.body)
            .map_err(|error| nonsense_of_ours(&error))?;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(bearer) = bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
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
        let mut request = call.into_request(bearer).map_err(unsent)?;
        pass_on(request.headers_mut());
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

fn nonsense_of_ours(error: &http::Error) -> StorageError {
    let detail = format!("the request could not be made: {error}");
    StorageError::new(StorageErrorKind::Unavailable, detail)
}
