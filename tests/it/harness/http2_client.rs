//! A client that speaks HTTP/2, over TLS or on a plain connection, with many requests on one
//! connection.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::NAME;
use super::gateway::{PUBLIC_BASE, TestGateway};
use super::plain_client::Answer;

/// One connection.
pub struct Http2Client {
    sender: SendRequest<Full<Bytes>>,
    /// How the connection ends.
    pub ended: JoinHandle<Result<(), hyper::Error>>,
    scheme: &'static str,
}

impl Http2Client {
    /// Without TLS, to a gateway that takes it.
    pub async fn connect(gateway: &TestGateway) -> Self {
        Self::on(tcp(gateway).await, "http").await
    }

    /// Over TLS.
    pub async fn connect_tls(gateway: &TestGateway, config: &Arc<ClientConfig>) -> Self {
        Self::on(tls(gateway, config).await.expect("a handshake"), "https").await
    }

    async fn on<S>(stream: S, scheme: &'static str) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = shaken.expect("HTTP/2 is spoken");
        Self { sender, ended: tokio::spawn(connection), scheme }
    }

    /// A request to a path or to a public URL.
    pub fn request(&self, method: Method, path: &str) -> Request<Full<Bytes>> {
        let path = path.strip_prefix(PUBLIC_BASE).unwrap_or(path);
        let uri = format!("{}://{NAME}{path}", self.scheme);
        Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
    }

    /// Sends a request and gives the head of its answer.
    pub async fn begin(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        sender.send_request(request).await
    }

    /// Sends a request and reads its answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.begin(request).await.expect("the server answers");
        assert_eq!(response.version(), Version::HTTP_2);
        let (head, body) = response.into_parts();
        let (body, error) = read(body).await;
        Answer { status: head.status, headers: head.headers, body, is_whole: error.is_none() }
    }

    /// Reads a path or a public URL.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }
}

/// Reads what comes of a body, and what it broke off with.
pub async fn read(mut body: Incoming) -> (Bytes, Option<hyper::Error>) {
    let mut bytes = BytesMut::new();
    loop {
        match body.frame().await {
            None => return (bytes.freeze(), None),
            Some(Err(error)) => return (bytes.freeze(), Some(error)),
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
        }
    }
}

/// The reason with which a stream was reset.
pub fn reset_reason(error: &hyper::Error) -> Option<h2::Reason> {
    std::error::Error::source(error)?.downcast_ref::<h2::Error>()?.reason()
}

/// A connection to the public listener.
pub async fn tcp(gateway: &TestGateway) -> TcpStream {
    let address = gateway.base.strip_prefix("http://").expect("a base is http://address");
    TcpStream::connect(address).await.expect("the server listens")
}

/// A client that trusts one authority, and offers these protocols.
pub fn trusting(authority: &str, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A connection to the public listener, over TLS.
pub async fn tls(
    gateway: &TestGateway,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(NAME).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp(gateway).await).await
}
