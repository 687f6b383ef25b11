//! Accepting connections, holding them within their caps, and letting them go when the process
//! ends.

mod caps;
mod connection;
mod conversation;
mod framing;
mod h2c;
mod head;
mod http2;
mod intake;
mod outlet;
mod patient;
mod protocols;
mod shutdown;
pub mod tls;
mod turned_away;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::metrics::Metrics;
use crate::zero_copy::Chunks;

pub use caps::PerClient;
pub use protocols::Protocols;
pub use shutdown::{Shutdown, ShutdownTrigger, shutdown};

use caps::Places;
use protocols::{Service, converse};
use turned_away::Doorman;

/// How long accepting pauses when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    /// How many of one client; `None` for as many as there may be at all.
    pub per_client: Option<PerClient>,
    /// How long a connection may be idle between two requests.
    pub idle: Duration,
    /// How long connections have to finish after the signal.
    pub drain: Duration,
}

/// Serves until the signal, then stops accepting, lets every request finish, and closes. What is
/// still busy at the end of the drain is cut off.
pub async fn serve<S, F, B>(
    listening: Listening,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    handler: S,
) where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Chunks + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Listening { listener, name, protocols, max_connections, per_client, idle, drain } =
        listening;
    let open = metrics.connections.with_label_values(&[name]);
    let places = Places::new(max_connections, per_client);
    let doorman = Doorman::new();
    // Dropping it is what cuts them off.
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(shutdown.clone().wait());
    // Kept over the turns, so that the end of a connection does not cut its pause short.
    let mut accepting = Box::pin(accept(&listener));
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = &mut accepting => accepted,
        };
        accepting.set(accept(&listener));
        // A queue would only hide that there are too many.
        let place = match places.take(peer.ip()) {
            Ok(place) => place,
            Err(cap) => {
                metrics.overloaded.with_label_values(&[cap]).inc();
                // Who expects a handshake cannot read why.
                if protocols.are_in_the_clear() {
                    doorman.turn_away(stream);
                }
                continue;
            }
        };
        let open = OpenConnection::new(open.clone());
        let service = Service { peer, idle, handler: handler.clone(), stop: shutdown.clone() };
        let (protocols, metrics) = (protocols.clone(), Arc::clone(&metrics));
        connections.spawn(async move {
            let _held = (place, open);
            converse(stream, protocols, &metrics, service).await;
        });
    }
    drop(accepting);
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(drain, all_ended).await.is_err() {
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
