//! One connection, on a stream of any kind: hyper speaks while there is anything to say, and in the
//! silence between two requests the stream sleeps without it, and without its buffers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::Refused;
use crate::zero_copy::Chunks;

use super::Shutdown;
use super::conversation::{Answer, Conversation};
use super::intake::Intake;
use super::outlet::Outlet;
use super::patient::Patient;

/// How much is buffered of what a client sends, or does not take, in bytes. More than the largest
/// head that is let through, and less than a chunk of a large body: a client that stands still holds
/// one chunk then, and not the next one too.
const BUFFER_BYTES: usize = 24 * 1024;

/// Speaks HTTP/1 on a stream until its end; after the signal, only until the answer to what has been
/// asked. Where an outlet leads into the stream, bytes in the kernel leave through it.
pub(super) async fn serve_http1<T, S, F, B>(
    stream: T,
    outlet: Option<Arc<Outlet>>,
    peer: SocketAddr,
    idle: Duration,
    handler: S,
    stop: Shutdown,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<B>>,
    B: Chunks + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let conversation = Arc::new(Conversation::default());
    let mut stream = Intake::new(Patient::new(stream), idle, Arc::clone(&conversation));
    let mut service = service_fn(move |mut request: Request<Incoming>| {
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
    let mut stop = pin!(stop.wait());
    while let Some(asleep) = speak(stream, service, stop.as_mut()).await {
        (stream, service) = asleep;
        let is_awake = tokio::select! {
            biased;
            () = stop.as_mut() => false,
            is_awake = stream.wake() => is_awake,
        };
        if !is_awake {
            return note(stream.end().await);
        }
    }
}

/// Has hyper speak until the stream falls asleep; `None` if it ended instead, as it does after the
/// signal. Of hyper nothing is left then: not even an empty buffer, which would be one of 8 KiB.
async fn speak<T, S, B>(
    stream: Intake<T>,
    service: S,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Option<(Intake<T>, S)>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let hyper = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Boxed, so that what sleeps has no room for it.
    let mut hyper = Box::new(hyper);
    let ended = tokio::select! {
        biased;
        () = stop => None,
        ended = &mut *hyper => Some(ended),
    };
    let Some(ended) = ended else {
        Pin::new(&mut *hyper).graceful_shutdown();
        note(hyper.await);
        return None;
    };
    let is_well = ended.is_ok();
    note(ended);
    let parts = hyper.into_parts();
    let stream = parts.io.into_inner();
    // What it was given were whole requests, and it has answered them: nothing is left of them.
    let sleeps = is_well && stream.is_asleep() && parts.read_buf.is_empty();
    sleeps.then_some((stream, parts.service))
}

/// Notes what broke a connection, if anything did: a client that went away, or a body that was broken
/// off on purpose.
fn note<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
