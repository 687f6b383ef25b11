//! The two listeners: for the world, with TLS where it is configured, and for the operator.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::http::FrontDoor;
use crate::http::admin::AdminDoor;
use crate::metrics::Metrics;
use crate::server::tls::{Certificates, Pair, PairFiles, Tls};
use crate::server::{Listening, PerClient, Protocols, Shutdown, serve, shutdown};
use crate::settings::{LimitsSettings, ServerSettings, TlsSettings};

use super::Running;

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

/// How the world is listened to.
pub(super) fn listening(
    listener: TcpListener,
    protocols: Protocols,
    server: &ServerSettings,
    limits: LimitsSettings,
) -> Listening {
    // Where nobody has said who stands in front, one address may be everybody's.
    let per_client = server.trusted_proxies.clone();
    let per_client =
        per_client.map(|except| PerClient { most: limits.max_connections_per_ip, except });
    Listening {
        listener,
        name: "public",
        protocols,
        max_connections: limits.max_connections.get(),
        per_client,
        idle: server.idle_timeout,
        drain: server.drain_timeout,
    }
}

/// How the operator is listened to.
pub(super) fn admin_listening(listener: TcpListener, server: &ServerSettings) -> Listening {
    Listening {
        listener,
        name: "admin",
        protocols: Protocols::Http1,
        max_connections: MAX_ADMIN_CONNECTIONS,
        per_client: None,
        idle: server.idle_timeout,
        drain: server.drain_timeout,
    }
}

pub(super) fn open_public(
    listening: Listening,
    metrics: &Arc<Metrics>,
    door: FrontDoor,
) -> Running {
    let door = Arc::new(door);
    spawn_listener(listening, metrics, move |listening, metrics, stop| {
        serve(listening, metrics, stop, move |request, peer| {
            let door = Arc::clone(&door);
            async move { door.handle(request, peer).await }
        })
    })
}

pub(super) fn open_admin(listening: Listening, metrics: &Arc<Metrics>, door: AdminDoor) -> Running {
    let door = Arc::new(door);
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
