//! The two listeners: how each treats its connections, and whose requests go where.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::http::FrontDoor;
use crate::http::admin::AdminDoor;
use crate::metrics::Metrics;
use crate::server::{Listening, PerClient, Protocols, Shutdown, serve, shutdown};
use crate::settings::{LimitsSettings, ServerSettings};

use super::Running;

/// How many admin connections may be open at once.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// How the world is listened to.
pub(super) fn public(
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
pub(super) fn admin(listener: TcpListener, server: &ServerSettings) -> Listening {
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

/// Lets the world in.
pub(super) fn open_public(
    listening: Listening,
    metrics: &Arc<Metrics>,
    door: FrontDoor,
) -> Running {
    let door = Arc::new(door);
    spawn_listener(listening, metrics, move |listening, metrics, stop| {
        serve(listening, metrics, stop, move |request, peer| {
            Arc::clone(&door).handle(request, peer)
        })
    })
}

/// Lets the operator in.
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
