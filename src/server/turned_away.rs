//! Connections beyond a cap: told to come again, at the price of one write, without reading a
//! request.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::overloaded;

/// How many of them are heard out at a time.
const MOST: usize = 64;

/// How long, and for how many bytes. To close while the client sends its request would reset the
/// connection, and the answer could be lost on the way.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 16 * 1024;

/// Turns connections away.
pub(super) struct Doorman(Arc<Semaphore>);

impl Doorman {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// Turns one away. It says so in clear text: one that is encrypted is to be dropped.
    pub(super) fn turn_away(&self, mut stream: TcpStream) {
        // Nothing was sent on it: what the system buffers takes this whole, or the client is gone.
        let _ = stream.try_write(&overloaded());
        let Ok(place) = Arc::clone(&self.0).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _place = place;
            if tokio::io::AsyncWriteExt::shutdown(&mut stream).await.is_ok() {
                let rest = &mut stream.take(FAREWELL_BYTES);
                let _ = timeout(FAREWELL, tokio::io::copy(rest, &mut tokio::io::sink())).await;
            }
        });
    }
}
