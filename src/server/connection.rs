//! One connection, from its first byte to its end, in whatever the two sides have agreed on.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::http::HEAD_BUFFER_BYTES;
use crate::metrics::Metrics;

use super::tls::Tls;
use super::{HEAD_TIMEOUT, Shutdown, h2c, http2};

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

/// Serves a connection until it ends; after the signal, until what was asked has been answered.
pub(super) async fn converse<I, S, F, B>(
    stream: I,
    protocols: Protocols,
    metrics: &Metrics,
    handler: S,
    stop: Shutdown,
) where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match protocols {
        Protocols::Http1 => serve_http1(stream, handler, stop).await,
        Protocols::Http1AndH2c => {
            // Nothing was asked yet: it is not waited for at the end.
            let told = timeout(HEAD_TIMEOUT, h2c::tell_http2(stream));
            let told = tokio::select! {
                told = told => told,
                () = stop.clone().wait() => return,
            };
            match told {
                Ok(Ok((stream, true))) => serve_http2(stream, handler, stop).await,
                Ok(Ok((stream, false))) => serve_http1(stream, handler, stop).await,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Protocols::Tls(tls) => {
            let accepted = tokio::select! {
                accepted = tls.accept(stream, metrics) => accepted,
                () = stop.clone().wait() => return,
            };
            match accepted {
                Some((stream, true)) => serve_http2(stream, handler, stop).await,
                Some((stream, false)) => serve_http1(stream, handler, stop).await,
                None => {}
            }
        }
    }
}

async fn serve_http2<I, S, F, B>(stream: I, handler: S, stop: Shutdown)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match http2::serve(TokioIo::new(stream), handler, stop).await {
        Ok(http2::Ended::Closed) => {}
        Ok(ended) => tracing::debug!(?ended, "a connection was cut"),
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

async fn serve_http1<I, S, F, B>(stream: I, handler: S, stop: Shutdown)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1_builder().serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that went away, or a body that was broken off on purpose.
        tracing::debug!(%error, "a connection ended early");
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Also the cap of what is buffered for a slow reader.
        .max_buf_size(HEAD_BUFFER_BYTES);
    builder
}
