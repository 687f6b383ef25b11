//! One call of the XML API: its token, its attempts, its answer.

use bytes::Bytes;
use google_cloud_auth::credentials::AccessTokenCredentials;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::config::GcsTimeouts;
use super::errors::{answered, unanswered};
use super::retries::{Retries, chance, may_connect, may_pass};
use crate::storage::call::nonsense;
use crate::storage::{StorageError, StorageErrorKind};
use crate::upstream::{Body, Client, Origin, Timeouts};

/// The largest answer that is read into memory: far above a full page of a listing (1,000 names of
/// up to 1,024 bytes, escaped, with their metadata). Objects are streamed and have no such limit.
const MAX_DOCUMENT_BYTES: usize = 8 << 20;

/// The XML API of one server.
pub(super) struct XmlApi {
    client: Client,
    origin: Origin,
    /// `None`: anonymous, at an emulator.
    tokens: Option<AccessTokenCredentials>,
    timeouts: Timeouts,
    retries: Retries,
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
}

impl XmlApi {
    pub(super) fn new(
        client: Client,
        origin: Origin,
        tokens: Option<AccessTokenCredentials>,
        timeouts: GcsTimeouts,
    ) -> Self {
        let timeouts = Timeouts { connect: timeouts.connect, first_byte: timeouts.first_byte };
        Self { client, origin, tokens, timeouts, retries: Retries::new() }
    }

    /// Sends a request, again where that may help, until an answer is a success. The caller sets
    /// the limit in time.
    pub(super) async fn send(&self, call: &Call) -> Result<Response<Body>, Failed> {
        let mut failed = 0;
        loop {
            let request = self.request(call).await;
            let request = request.map_err(|error| Failed { status: None, error })?;
            let (status, error, again) =
                match self.client.send(&self.origin, request, &self.timeouts).await {
                    Ok(response) if response.status().is_success() => {
                        if failed == 0 {
                            self.retries.succeeded();
                        }
                        return Ok(response);
                    }
                    Ok(response) => {
                        let status = response.status();
                        let error = refusal(response, &call.method).await;
                        (Some(status.as_u16()), error, may_pass(status))
                    }
                    Err(error) => (None, unanswered(&error), may_connect(&error)),
                };
            failed += 1;
            let pause = if again { self.retries.pause(failed, chance()) } else { None };
            let Some(pause) = pause else { return Err(Failed { status, error }) };
            tracing::debug!(%error, attempt = failed, "Google Cloud Storage is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, StorageError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.target)
            .body(Full::new(call.body.clone()))
            .map_err(|error| nonsense_of_ours(&error))?;
        request.headers_mut().extend(call.headers.clone());
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(tokens) = &self.tokens {
            let failed = |detail: String| StorageError::new(StorageErrorKind::Credentials, detail);
            let token = tokens.access_token().await;
            let token = token.map_err(|error| failed(format!("there is no token: {error}")))?;
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.token))
                .map_err(|_| failed("the token is not one".to_owned()))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

/// What an answer means that is no success.
async fn refusal(response: Response<Body>, method: &Method) -> StorageError {
    let (head, body) = response.into_parts();
    let has_body = method != Method::HEAD && head.status != StatusCode::NOT_MODIFIED;
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
