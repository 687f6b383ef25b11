//! The two listeners: for the world, with TLS where it is configured, and for the operator.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::http::FrontDoor;
use crate::http::admin::AdminDoor;
use crate::metrics::Metrics;
use crate::server::tls::{Certificates, Pair, PairFiles, Tls};
use crate::server::{Listening, Protocols, Shutdown, serve, shutdown};
use crate::settings::TlsSettings;

use super::{DRAIN, Running};

/// How many admin connections may be open at once.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// A certificate and its key, found good, and their files.
pub(super) struct Certified {
    files: PairFiles,
    pair: Pair,
}

impl Certified {
    /// Reads and tries what the settings name.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn load(settings: &TlsSettings) -> Result<Self, String> {
        let TlsSettings { certificate_file, key_file } = settings.clone();
        let files = PairFiles { certificate: certificate_file, key: key_file };
        let pair = files.load()?;
        Ok(Self { files, pair })
    }

    /// What a listener is served with.
    pub(super) fn serve(self, metrics: &Arc<Metrics>) -> Arc<Certificates> {
        Certificates::new(self.files, self.pair, Arc::clone(metrics))
    }
}

/// What the public listener speaks.
pub(super) fn protocols(
    certificates: Option<&Arc<Certificates>>,
    h2c: bool,
) -> Result<Protocols, String> {
    Ok(match certificates {
        Some(certificates) => Protocols::Tls(Tls::new(Arc::clone(certificates))?),
        None if h2c => Protocols::Http1AndH2c,
        None => Protocols::Http1,
    })
}

/// Binds the address that a key names.
pub(super) async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} ({key}): {error}"))
}

pub(super) fn local_address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

pub(super) fn open_public(
    listener: TcpListener,
    protocols: Protocols,
    max_connections: usize,
    metrics: &Arc<Metrics>,
    door: FrontDoor,
) -> Running {
    let door = Arc::new(door);
    let listening =
        Listening { listener, name: "public", protocols, max_connections, drain: DRAIN };
    spawn_listener(listening, metrics, move |listening, metrics, stop| {
        serve(listening, metrics, stop, move |request, peer| {
            let door = Arc::clone(&door);
            async move { door.handle(request, peer).await }
        })
    })
}

pub(super) fn open_admin(
    listener: TcpListener,
    metrics: &Arc<Metrics>,
    door: AdminDoor,
) -> Running {
    let door = Arc::new(door);
    let max_connections = MAX_ADMIN_CONNECTIONS;
    let listening = Listening {
        listener,
        name: "admin",
        protocols: Protocols::Http1,
        max_connections,
        drain: DRAIN,
    };
    spawn_listener(listening, metrics, move |listening, metrics, stop| {
        serve(listening, metrics, stop, move |request, _peer| {
            let answer = door.handle(&request);
            async move { answer }
        })
    })
}

fn spawn_listener<F>(
    listening: Listening,
    metrics: &Arc<Metrics>,
    run: impl FnOnce(Listening, Arc<Metrics>, Shutdown) -> F,
) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let (trigger, stop) = shutdown();
    let task = tokio::spawn(run(listening, Arc::clone(metrics), stop));
    Running { trigger, task }
}
