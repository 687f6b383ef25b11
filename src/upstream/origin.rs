//! The server that a request goes to.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use tokio::sync::Semaphore;
use url::Host;

/// How many lookups of one name may be under way. A lookup holds a thread until the resolver gives
/// up, long after whoever asked has; a name whose servers are silent must not take all threads.
const MAX_LOOKUPS: usize = 4;

/// A server: scheme, host and port, parsed once. Cheap to clone.
#[derive(Clone)]
pub struct Origin(Arc<Parts>);

struct Parts {
    host: Host<String>,
    port: u16,
    /// The name that the certificate must hold for; `None` for plain HTTP.
    tls_name: Option<ServerName<'static>>,
    host_header: HeaderValue,
    /// How many lookups of the name may be under way.
    lookups: Arc<Semaphore>,
    /// `scheme://host:port`: what connections are pooled by.
    pool_key: String,
}

impl Origin {
    /// Takes scheme, host and port of an `http` or `https` URL. Its path and query are ignored.
    ///
    /// # Errors
    /// A text for the author of the configuration.
    pub fn from_url(url: &url::Url) -> Result<Self, String> {
        let host = url.host().ok_or("the URL has no host")?.to_owned();
        let port = url.port_or_known_default().ok_or("the URL has no port")?;
        let tls_name = match url.scheme() {
            "https" => Some(server_name(&host)?),
            "http" => None,
            other => return Err(format!("the URL begins with {other}:, not https:")),
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host_header = HeaderValue::try_from(authority)
            .map_err(|_| "the host has characters that a header cannot carry".to_owned())?;
        let pool_key = format!("{}://{host}:{port}", url.scheme());
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Ok(Self(Arc::new(Parts { host, port, tls_name, host_header, lookups, pool_key })))
    }

    /// `scheme://host`, with the port if it is not the scheme's own.
    #[must_use]
    pub fn base_url(&self) -> String {
        let scheme = if self.0.tls_name.is_some() { "https" } else { "http" };
        // It was made of text that was ASCII.
        let authority = self.0.host_header.to_str().unwrap_or_default();
        format!("{scheme}://{authority}")
    }

    /// Takes the origin of an absolute URI.
    ///
    /// # Errors
    /// A text, if the URI is not absolute or not HTTP.
    pub fn from_uri(uri: &Uri) -> Result<Self, String> {
        let url = url::Url::parse(&uri.to_string()).map_err(|error| error.to_string())?;
        Self::from_url(&url)
    }

    pub(super) fn host(&self) -> &Host<String> {
        &self.0.host
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port
    }

    pub(super) fn tls_name(&self) -> Option<&ServerName<'static>> {
        self.0.tls_name.as_ref()
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.0.host_header
    }

    pub(super) fn lookups(&self) -> &Arc<Semaphore> {
        &self.0.lookups
    }

    pub(super) fn pool_key(&self) -> &str {
        &self.0.pool_key
    }
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, String> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone())
            .map_err(|_| format!("{name} is not a name that a certificate can hold for")),
        Host::Ipv4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress((*address).into())),
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.pool_key)
    }
}
