//! From an origin to a connection: resolve, refuse forbidden addresses, connect, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::connection::Connection;
use super::{AddressPolicy, Origin, SendError};

pub(super) struct Dialer {
    /// `None`: any address.
    policy: Option<AddressPolicy>,
    tls: TlsConnector,
}

impl Dialer {
    pub(super) fn new(policy: Option<AddressPolicy>) -> Result<Self, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            return Err("the system has no certificate authorities: install the package \
                        ca-certificates, or point SSL_CERT_FILE at a bundle"
                .into());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { policy, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Opens a connection, `limit` for resolving and connecting, and `limit` for the handshake.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        limit: Duration,
    ) -> Result<Box<Connection>, SendError> {
        let tcp = timeout(limit, self.connect_tcp(origin, limit))
            .await
            .map_err(|_| SendError::ConnectTimeout)??;
        // A proxy writes heads and bodies in separate calls: Nagle would hold them back.
        tcp.set_nodelay(true).map_err(SendError::Connect)?;
        let stream = match origin.tls_name() {
            None => Stream::Plain(tcp),
            Some(name) => Stream::Tls(self.handshake(name.clone(), tcp, limit).await?),
        };
        Connection::new(stream).await
    }

    async fn connect_tcp(&self, origin: &Origin, limit: Duration) -> Result<TcpStream, SendError> {
        let deadline = Instant::now() + limit;
        let addresses = self.allowed(origin, resolve(origin).await?)?;
        let mut failure = io::Error::from(io::ErrorKind::TimedOut);
        // Each address gets an equal share of what is left, so that one black hole does not eat
        // the time of the others.
        for (tried, address) in addresses.iter().enumerate() {
            let untried = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / untried;
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_) => {}
            }
        }
        match failure.kind() {
            io::ErrorKind::TimedOut => Err(SendError::ConnectTimeout),
            _ => Err(SendError::Connect(failure)),
        }
    }

    /// The addresses that the policy allows, without TLS fewer; an error if it allows none.
    fn allowed(
        &self,
        origin: &Origin,
        resolved: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, SendError> {
        let Some(policy) = &self.policy else { return Ok(resolved) };
        let verdict = |ip| match origin.tls_name() {
            Some(_) => policy.check(ip),
            None => policy.check_plaintext(ip),
        };
        let mut refusal = None;
        let allowed: Vec<_> = resolved
            .into_iter()
            .filter(|address| verdict(address.ip()).map_err(|error| refusal = Some(error)).is_ok())
            .collect();
        match refusal {
            Some(error) if allowed.is_empty() => Err(error.into()),
            _ => Ok(allowed),
        }
    }

    async fn handshake(
        &self,
        name: ServerName<'static>,
        tcp: TcpStream,
        limit: Duration,
    ) -> Result<Box<TlsStream<TcpStream>>, SendError> {
        let handshake = timeout(limit, self.tls.connect(name, tcp)).await;
        let stream = handshake.map_err(|_| SendError::TlsTimeout)?.map_err(SendError::Tls)?;
        Ok(Box::new(stream))
    }
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, SendError> {
    let port = origin.port();
    let literal = match origin.host() {
        Host::Ipv4(address) => Some(IpAddr::from(*address)),
        Host::Ipv6(address) => Some(IpAddr::from(*address)),
        Host::Domain(_) => None,
    };
    if let Some(address) = literal {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = origin.host().to_string();
    let found: Vec<_> =
        lookup_host((name.as_str(), port)).await.map_err(SendError::Resolve)?.collect();
    if found.is_empty() {
        return Err(SendError::Resolve(io::Error::from(io::ErrorKind::NotFound)));
    }
    Ok(found)
}

/// A connected stream, plain or encrypted.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls the same method on whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
