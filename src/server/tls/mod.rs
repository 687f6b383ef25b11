//! TLS on a listener: 1.2 and 1.3, by rustls on ring, as the client of the upstreams has it.
//!
//! HTTP/2 and HTTP/1.1 are chosen between by ALPN. Sessions are resumed by tickets, whose keys live
//! in this process and change every six hours. There is no early data: a request could be repeated.

mod certificates;
mod pair;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics::Metrics;

pub use certificates::Certificates;
pub use pair::{Pair, PairFiles};

/// How long a handshake may take. It needs two round trips.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How much is encrypted ahead of a client that takes nothing, in bytes: two records.
const SEND_BUFFER_BYTES: usize = 32 << 10;

/// The names of the protocols (RFC 7301), the better one first.
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Proves itself with these certificates.
    ///
    /// # Errors
    /// A text: the system gives no random bytes for the keys of tickets.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Shakes hands, and says whether HTTP/2 was agreed on. `None` where it came to nothing, which
    /// is counted.
    pub(super) async fn accept<S>(
        &self,
        stream: S,
        metrics: &Metrics,
    ) -> Option<(TlsStream<S>, bool)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limited = self
            .acceptor
            .accept_with(stream, |session| session.set_buffer_limit(Some(SEND_BUFFER_BYTES)));
        let (outcome, accepted) = match timeout(HANDSHAKE_TIMEOUT, limited).await {
            Ok(Ok(stream)) => ("ok", Some(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                ("failed", None)
            }
            Err(_) => ("timeout", None),
        };
        metrics.tls_handshakes.with_label_values(&[outcome]).inc();
        accepted.map(|stream| {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
            (stream, is_http2)
        })
    }
}
