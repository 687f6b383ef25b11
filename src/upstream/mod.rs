//! The gateway's own HTTP/1.1 client, for the CDN and for storage: hyper's connection, pooled and
//! polled from the response body, without a task in between.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

/// A server to talk to: scheme, host and port, parsed and checked once, from the configuration.
#[derive(Clone, Debug)]
pub struct Origin { /* scheme, host, port */ }

impl Origin {
    /// Parses scheme and authority of an `http` or `https` URL (path and query are ignored).
    ///
    /// # Errors
    /// A text for the author of the configuration.
    pub fn from_url(url: &url::Url) -> Result<Self, String> { todo!() }
}

/// The time limits of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For resolving, connecting, and (again) for the TLS handshake.
    pub connect: Duration,
    /// From the connection to the response head.
    pub first_byte: Duration,
}

/// Why no response head came. See FAULTS.
#[derive(Debug, thiserror::Error)]
pub enum SendError { /* Forbidden, Resolve, Connect, ConnectTimeout, Tls, TlsTimeout, FirstByteTimeout, Reset, Protocol */ }

/// A response body that reads its own connection. `Body<Data = Bytes, Error = BodyError>`, `Send`, `Unpin`.
pub struct Body {}

/// The pooled client. Cheap to clone.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// Sends a request (absolute-path URI plus `Host` are set from `origin` and `path_and_query`),
    /// retrying once on a fresh connection if a pooled one turned out dead.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, origin: &Origin, request: Request<Full<Bytes>>, timeouts: &Timeouts)
    -> Result<Response<Body>, SendError> { todo!() }
}
