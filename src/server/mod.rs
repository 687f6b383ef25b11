//! Accepting connections, holding them within their caps, and letting them go when the process
//! ends.

mod connection;
mod h2c;
mod http2;
mod patient;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::metrics::Metrics;

pub use connection::Protocols;

use connection::converse;
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
    /// What it speaks.
    pub protocols: Protocols,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How long connections have to finish after the signal.
    pub drain: Duration,
}

/// Serves until the signal, then stops accepting, lets every request finish, and closes.
pub async fn serve<S, F, B>(
    listening: Listening,
    metrics: Arc<Metrics>,
    shutdown_signal: Shutdown,
    handler: S,
) where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Listening { listener, name, protocols, max_connections, drain } = listening;
    let open = metrics.connections.with_label_values(&[name]);
    let slots = Arc::new(Semaphore::new(max_connections));
    // Given when this function returns: what is still open then is cut.
    let (_cut, cut) = shutdown();
    let mut stop = std::pin::pin!(shutdown_signal.clone().wait());
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
        let (handler, protocols, metrics) =
            (handler.clone(), protocols.clone(), Arc::clone(&metrics));
        let (stop, cut) = (shutdown_signal.clone(), cut.clone());
        let open = OpenConnection::new(open.clone());
        tokio::spawn(async move {
            let _held = (slot, open);
            let handler = move |request| handler(request, peer);
            tokio::select! {
                () = converse(Patient::new(stream), protocols, &metrics, handler, stop) => {}
                () = cut.wait() => {}
            }
        });
    }
    drop(listener);
    let all = u32::try_from(max_connections).unwrap_or(u32::MAX);
    if timeout(drain, slots.acquire_many(all)).await.is_err() {
        tracing::warn!(seconds = drain.as_secs(), "connections were still busy after the drain");
    }
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
