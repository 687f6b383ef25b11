//! Accepting connections, for both servers of this folder.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long connections may go on after the end was asked for, before they are dropped.
const DRAIN: Duration = Duration::from_secs(5);

/// How long to wait after a failed `accept`. The usual cause is that no file descriptor is left,
/// and one is free again only when some connection ends.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Tells a connection that the server is about to end.
#[derive(Clone)]
pub(super) struct Ending(watch::Receiver<bool>);

impl Ending {
    /// Waits until the server is about to end.
    pub(super) async fn asked(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|ending| *ending).await;
    }
}

/// Accepts connections and spawns `serve` for each, until `shutdown`; then waits a few seconds for
/// those that are open.
pub(super) async fn accept<S>(
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    serve: impl Fn(TcpStream, Ending) -> S,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let (end, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Reaps what is done, so that the set does not grow.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers would wait for the peer's delayed acknowledgement otherwise.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY was refused");
                    }
                    connections.spawn(serve(stream, Ending(ending.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    let _ = end.send(true);
    let drained =
        tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    // What is left is dropped with the set.
    let _ = drained.await;
}
