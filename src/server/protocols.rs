//! What a listener speaks, and how the two sides of a connection come to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::zero_copy::Chunks;

use super::connection::serve_http1;
use super::outlet::{Outgoing, Outlet};
use super::patient::Patient;
use super::tls::Tls;
use super::{Shutdown, h2c, http2};

/// How long a client without TLS may take to show what it speaks.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

/// What a listener speaks.
#[derive(Clone)]
pub enum Protocols {
    /// HTTP/1.1.
    Http1,
    /// HTTP/1.1, and HTTP/2 with those who begin with it.
    Http1AndH2c,
    /// HTTP/2 or HTTP/1.1 over TLS, as ALPN has it.
    Tls(Tls),
}

impl Protocols {
    /// Whether a client can read what is written to it before a handshake.
    pub(super) const fn are_in_the_clear(&self) -> bool {
        match self {
            Self::Http1 | Self::Http1AndH2c => true,
            Self::Tls(_) => false,
        }
    }
}

/// What a connection is served with.
pub(super) struct Service<S> {
    pub(super) peer: SocketAddr,
    /// How long it may be idle between two requests.
    pub(super) idle: Duration,
    pub(super) handler: S,
    /// The signal to end.
    pub(super) stop: Shutdown,
}

/// Serves a connection until it ends; after the signal, until what was asked has been answered. Who
/// has not come to asking by then is not waited for.
pub(super) async fn converse<S, F, B>(
    stream: TcpStream,
    protocols: Protocols,
    metrics: &Metrics,
    service: Service<S>,
) where
    S: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Chunks + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stopped = service.stop.clone().wait();
    match protocols {
        Protocols::Http1 => {
            let outlet = Arc::<Outlet>::default();
            service.http1(Outgoing::new(stream, Arc::clone(&outlet)), Some(outlet)).await;
        }
        Protocols::Http1AndH2c => {
            let told = tokio::select! {
                told = timeout(FIRST_BYTES_TIMEOUT, h2c::tell_http2(stream)) => told,
                () = stopped => return,
            };
            match told {
                Ok(Ok((stream, true))) => Box::pin(service.http2(stream)).await,
                Ok(Ok((stream, false))) => {
                    let outlet = Arc::<Outlet>::default();
                    let stream = stream.map(|stream| Outgoing::new(stream, Arc::clone(&outlet)));
                    service.http1(stream, Some(outlet)).await;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        // Boxed, so that no connection in the clear has room for it.
        Protocols::Tls(tls) => {
            Box::pin(async move {
                let accepted = tokio::select! {
                    accepted = tls.accept(stream, metrics) => accepted,
                    () = stopped => return,
                };
                match accepted {
                    Some((stream, true)) => service.http2(stream).await,
                    // What is in the kernel cannot be encrypted here.
                    Some((stream, false)) => service.http1(stream, None).await,
                    None => {}
                }
            })
            .await
        }
    }
}

impl<S, F, B> Service<S>
where
    S: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Chunks + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn http1<T>(self, stream: T, outlet: Option<Arc<Outlet>>)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        serve_http1(stream, outlet, self.peer, self.idle, self.handler, self.stop).await;
    }

    async fn http2<T>(self, stream: T)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, idle, handler, stop } = self;
        let handler = move |request| handler(request, peer);
        let stream = TokioIo::new(Patient::new(stream));
        match http2::serve(stream, handler, idle, stop).await {
            Ok(http2::Ended::Closed) => {}
            Ok(ended) => tracing::debug!(?ended, "a connection was cut"),
            Err(error) => tracing::debug!(%error, "a connection ended early"),
        }
    }
}
