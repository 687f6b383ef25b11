//! HTTP/2 on a connection: by ALPN under TLS, or by prior knowledge where the operator allows it.
//!
//! What a client may make the gateway hold is bounded: streams, headers, resets, buffers. A stream
//! whose client takes nothing of it ends alone (`conduct.rs`); a connection that nobody uses is ended
//! in order, and one that only makes work is cut.

mod conduct;
mod pieces;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, sleep_until};

use super::Shutdown;

use conduct::{Answering, Conduct, Streams, progress_of_this_stream};
use pieces::Pieces;

/// How many streams a client may have open: RFC 9113 §6.5.2 advises against fewer.
const MAX_STREAMS: u32 = 100;

/// The largest list of headers, in bytes as RFC 9113 §6.5.2 counts them. It also bounds how many
/// CONTINUATION frames one list may come in (CVE-2024-27316).
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// How many streams may wait that their client has reset before they were looked at: one more is a
/// rapid reset (CVE-2023-44487), and ends the connection.
const MAX_PENDING_RESETS: usize = 20;

/// How many streams of a connection may end by a client's errors (RUSTSEC-2024-0003).
const MAX_ERROR_RESETS: usize = 100;

/// How much of an answer is kept for a stream whose client does not take it, in bytes; with the
/// piece that comes on top of it, 80 KiB.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// How much of a request's body is taken before it is read, in bytes: bodies are JSON of a few KiB.
/// What the client takes of images is for its own windows to say.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// The same of all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;

/// How often a client is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may ask for nothing that has just connected.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection that is ending may take for the rest of its answers once none of them is
/// being made any more.
const LINGER: Duration = Duration::from_secs(30);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// In order, or the client went.
    Closed,
    /// It was cut: it did not end when it was told to.
    Lingered,
    /// It was cut: most of its requests were taken back.
    Abusive,
}

/// Serves a connection until it ends; after the signal, until its streams have ended. It may be
/// without a stream for a time of `idle`.
///
/// # Errors
/// What broke it.
pub(super) async fn serve<I, S, F, B>(
    io: I,
    handler: S,
    idle: Duration,
    stop: Shutdown,
) -> Result<Ended, hyper::Error>
where
    I: Read + Write + Unpin,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let conduct = Arc::new(Conduct::new(Instant::now()));
    let known = Arc::clone(&conduct);
    let service = service_fn(move |request| {
        let answering = Answering::begin(&known);
        let answer = handler(request);
        async move {
            let response = answer.await;
            answering.done();
            Ok::<_, Infallible>(response.map(|body| Pieces::new(body, progress_of_this_stream())))
        }
    });
    let connection = builder(Streams(Arc::clone(&conduct))).serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut stop = pin!(stop.wait());
    let mut look = pin!(sleep_until(Instant::now() + FIRST_REQUEST_TIMEOUT));
    let mut ending = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended.map(|()| Ended::Closed),
            () = conduct.is_abusive() => return Ok(Ended::Abusive),
            () = &mut stop, if ending.is_none() => {
                connection.as_mut().graceful_shutdown();
                ending = Some(Instant::now());
                look.as_mut().reset(Instant::now() + LINGER);
            }
            () = look.as_mut() => match next_look(ending, &conduct, idle, Instant::now()) {
                Look::Again(at) => look.as_mut().reset(at),
                Look::End => {
                    connection.as_mut().graceful_shutdown();
                    ending = Some(Instant::now());
                    look.as_mut().reset(Instant::now() + LINGER);
                }
                Look::Cut => return Ok(Ended::Lingered),
            },
        }
    }
}

/// What a look at a connection leads to.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing before this time.
    Again(Instant),
    /// It is told to end.
    End,
    /// It is cut.
    Cut,
}

/// `ending`: since when it is.
fn next_look(ending: Option<Instant>, conduct: &Conduct, idle: Duration, now: Instant) -> Look {
    let since = conduct.idle_since();
    match (ending, since) {
        (None, None) => Look::Again(now + idle),
        (None, Some(since)) => {
            let patience = if conduct.was_used() { idle } else { FIRST_REQUEST_TIMEOUT };
            let until = since + patience;
            if now >= until { Look::End } else { Look::Again(until) }
        }
        (Some(_), None) => Look::Again(now + LINGER),
        (Some(ending), Some(since)) => {
            let until = ending.max(since) + LINGER;
            if now >= until { Look::Cut } else { Look::Again(until) }
        }
    }
}

fn builder(streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        // Not the adaptive ones: they are about what is received, and would grow.
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests;
