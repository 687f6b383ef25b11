//! The SDK's way to the network: an adapter over the gateway's own pooled client.
//!
//! The SDK brings no HTTP stack of its own here, so storage obeys the same rules as every upstream:
//! one pool and one policy of allowed addresses. Objects are not read this way.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Limited;

use crate::storage::server::MAX_DOCUMENT_BYTES;
use crate::traces::pass_on;
use crate::upstream::{Client, Origin, Repeatable, SendError, Timeouts};

/// Sends an SDK's requests to one server, or to any.
#[derive(Clone)]
pub struct Transport {
    client: Client,
    server: Option<Server>,
    timeouts: Timeouts,
    /// Whether every request may be sent twice, whatever its method.
    repeatable: bool,
}

/// The one server that requests go to.
#[derive(Clone)]
struct Server {
    origin: Origin,
    /// Its `Host`, with its port if there is one.
    authority: String,
}

impl Transport {
    /// Sends requests to this server only. `authority` is its `Host`, with its port if it is not the
    /// scheme's own.
    #[must_use]
    pub const fn new(
        client: Client,
        origin: Origin,
        authority: String,
        timeouts: Timeouts,
    ) -> Self {
        Self { client, server: Some(Server { origin, authority }), timeouts, repeatable: false }
    }

    /// The same for a service of which every request may be sent twice: then also a `POST` goes over
    /// a connection that is there already.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// Sends each request to the server that it names: for the endpoints of credentials, which the
    /// SDK finds by itself.
    pub(super) fn anywhere(client: Client, timeouts: Timeouts) -> Self {
        Self { client, server: None, timeouts, repeatable: false }
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let (origin, request) = self.to_upstream(request)?;
        let sent = self.client.send(&origin, request, &self.timeouts).await;
        let response = sent.map_err(connector_error)?;
        to_sdk(response)
    }

    fn to_upstream(
        &self,
        request: HttpRequest,
    ) -> Result<(Origin, Request<Bytes>), ConnectorError> {
        let request =
            request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (mut head, body) = request.into_parts();
        let named = head.uri.authority().map(http::uri::Authority::as_str);
        // Of those who hand out credentials nobody needs to know whose request needs them. The signature
        // is made by now, and leaves out what is added here.
        if self.server.is_some() {
            pass_on(&mut head.headers);
        }
        let origin = match &self.server {
            // The endpoint rules of the SDK must come to the address that the settings were checked
            // for.
            Some(Server { authority, .. }) if named != Some(authority) => {
                let text = format!("the SDK asks for another host than {authority}");
                return Err(ConnectorError::user(text.into()));
            }
            Some(Server { origin, .. }) => origin.clone(),
            None => {
                Origin::from_uri(&head.uri).map_err(|text| ConnectorError::user(text.into()))?
            }
        };
        let path = head.uri.path_and_query().cloned();
        head.uri = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.repeatable {
            head.extensions.insert(Repeatable);
        }
        let body = body
            .bytes()
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| ConnectorError::user("the request body is not in memory".into()))?;
        Ok((origin, Request::from_parts(head, body)))
    }
}

fn to_sdk<B, E>(response: Response<B>) -> Result<HttpResponse, ConnectorError>
where
    B: Body<Data = Bytes, Error = E> + Send + Unpin + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let (mut head, body) = response.into_parts();
    // The SDK refuses a whole answer for one header value that is not UTF-8, for example metadata
    // of another program's.
    let readable = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok();
    if !head.headers.values().all(readable) {
        let kept = head.headers.iter().filter(|(_, value)| readable(value));
        head.headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
    let body = SdkBody::from_body_1_x(Unshared(Mutex::new(Limited::new(body, MAX_DOCUMENT_BYTES))));
    HttpResponse::try_from(Response::from_parts(head, body))
        .map_err(|error| ConnectorError::other(error.into(), None))
}

fn connector_error(error: SendError) -> ConnectorError {
    match error {
        SendError::ConnectTimeout | SendError::TlsTimeout | SendError::FirstByteTimeout => {
            ConnectorError::timeout(error.into())
        }
        SendError::Resolve(_) | SendError::Connect(_) | SendError::Reset(_) | SendError::Closed => {
            ConnectorError::io(error.into())
        }
        // Trying again cannot help.
        SendError::Forbidden(_) | SendError::Tls(_) | SendError::Protocol(_) => {
            ConnectorError::other(error.into(), None)
        }
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for Transport {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let timeouts = Timeouts {
            connect: settings.connect_timeout().unwrap_or(self.timeouts.connect),
            first_byte: settings.read_timeout().unwrap_or(self.timeouts.first_byte),
        };
        SharedHttpConnector::new(Self { timeouts, ..self.clone() })
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let origin = self.server.as_ref().map(|server| &server.origin);
        f.debug_struct("Transport").field("origin", &origin).finish_non_exhaustive()
    }
}

/// A body that the SDK may share between threads by its type, though it never does: it is only ever
/// polled through `&mut`, which takes no lock.
struct Unshared<B>(Mutex<B>);

impl<B: Body + Unpin> Body for Unshared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let body = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
