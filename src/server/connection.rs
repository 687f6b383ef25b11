//! One connection, on a stream of any kind.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::Refused;
use crate::pipes::Chunks;

use super::conversation::{Answer, Conversation};
use super::intake::Intake;
use super::outlet::Outlet;
use super::patient::Patient;

/// How much is buffered of what a client sends, or does not take, in bytes. More than the largest
/// head that is let through, and less than a chunk of a large body: a client that stands still holds
/// one chunk then, and not the next one too.
const BUFFER_BYTES: usize = 24 * 1024;

/// Speaks HTTP/1 on a stream until its end; after the watcher's signal, only until the answer to
/// what has been asked. Where an outlet leads into the stream, bytes in pipes leave through it.
pub(super) async fn serve_http1<T, S, F, B>(
    stream: T,
    outlet: Option<Arc<Outlet>>,
    peer: SocketAddr,
    idle: Duration,
    handler: S,
    watcher: Watcher,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<B>>,
    B: Chunks + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let conversation = Arc::new(Conversation::default());
    let stream = Intake::new(Patient::new(stream), idle, Arc::clone(&conversation));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (unanswered, refused) = conversation.serve();
        let is_last = refused.is_some();
        if let Some(problem) = refused {
            request.extensions_mut().insert(Refused(problem));
        }
        // Boxed: a connection that is idle has no use for the room. And boxed here, before it is
        // waited for: a future that is handed on takes its room twice.
        let answer = Box::pin(handler(request, peer));
        let outlet = outlet.clone();
        async move {
            let mut response = answer.await;
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let answer = |body| Answer { body, outlet, _unanswered: unanswered };
            Ok::<_, Infallible>(response.map(answer))
        }
    });
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        // A client that went away, or a body that was broken off on purpose.
        tracing::debug!(%error, "a connection ended early");
    }
}
