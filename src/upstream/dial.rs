//! From an origin to a connection: resolve, refuse forbidden addresses, connect, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::connection::Connection;
use super::stream::Stream;
use super::{AddressPolicy, Origin, SendError};

/// What gives the addresses of a name.
type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

pub(super) struct Dialer {
    /// `None`: any address.
    policy: Option<AddressPolicy>,
    tls: TlsConnector,
    lookup: Arc<Lookup>,
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
        let lookup = |name: &str, port| (name, port).to_socket_addrs().map(Iterator::collect);
        Ok(Self { policy, tls: TlsConnector::from(Arc::new(config)), lookup: Arc::new(lookup) })
    }

    /// The same, with names that mean what a test wants.
    #[cfg(test)]
    pub(super) fn with_lookup(
        self,
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Arc::new(lookup), ..self }
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
        Ok(Connection::new(stream))
    }

    async fn connect_tcp(&self, origin: &Origin, limit: Duration) -> Result<TcpStream, SendError> {
        let deadline = Instant::now() + limit;
        let addresses = self.allowed(origin, self.resolve(origin).await?)?;
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

    /// What the name means now: it is asked for every connection, and judged before each.
    async fn resolve(&self, origin: &Origin) -> Result<Vec<SocketAddr>, SendError> {
        let port = origin.port();
        let literal = match origin.host() {
            Host::Ipv4(address) => Some(IpAddr::from(*address)),
            Host::Ipv6(address) => Some(IpAddr::from(*address)),
            Host::Domain(_) => None,
        };
        if let Some(address) = literal {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let permit = Arc::clone(origin.lookups()).acquire_owned().await;
        let (lookup, name) = (Arc::clone(&self.lookup), origin.host().to_string());
        let lookup = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            lookup(&name, port)
        });
        let looked_up = lookup.await.map_err(io::Error::other).flatten();
        let found = looked_up.map_err(SendError::Resolve)?;
        if found.is_empty() {
            return Err(SendError::Resolve(io::Error::from(io::ErrorKind::NotFound)));
        }
        Ok(found)
    }
}
