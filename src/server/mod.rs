//! Accepting connections, holding them within their caps, and letting them go when the process
//! ends.

mod patient;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::http::HEAD_BUFFER_BYTES;
use crate::metrics::Metrics;

use patient::Patient;

/// How long a request head may take to arrive, and a connection may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting pauses when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A signal that is given once, to everybody.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Who gives the signal.
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Makes a signal and its trigger.
#[must_use]
pub fn shutdown() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    /// Gives the signal.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits for the signal; a trigger that was dropped is one that was pulled.
    pub async fn wait(mut self) {
        let _ = self.0.wait_for(|pulled| *pulled).await;
    }
}

/// How a listener treats its connections.
pub struct Listening {
    /// The listener.
    pub listener: TcpListener,
    /// Its name in the metrics.
    pub name: &'static str,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How long connections have to finish after the signal.
    pub drain: Duration,
}

/// Serves until the signal, then stops accepting, lets every request finish, and closes.
pub async fn serve<S, F, B>(
    listening: Listening,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    handler: S,
) where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Listening { listener, name, max_connections, drain } = listening;
    let open = metrics.connections.with_label_values(&[name]);
    let slots = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(shutdown.wait());
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        // A connection beyond the cap is closed at once: a queue would only hide it.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            metrics.overloaded.with_label_values(&["connections"]).inc();
            continue;
        };
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request, peer);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection =
            http1_builder().serve_connection(TokioIo::new(Patient::new(stream)), service);
        let connection = graceful.watch(connection);
        let open = OpenConnection::new(open.clone());
        tokio::spawn(async move {
            let _held = (slot, open);
            if let Err(error) = connection.await {
                // A client that went away, or a body that was broken off on purpose.
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = drain.as_secs(), "connections were still busy after the drain");
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

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Heads and bodies are written separately; Nagle would hold the second back.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) if is_the_connections_own(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether accept failed for the sake of the one connection, which went away meanwhile.
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Counts a connection while it is open.
struct OpenConnection(IntGauge);

impl OpenConnection {
    fn new(open: IntGauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
