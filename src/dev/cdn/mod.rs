//! A CDN for development and tests: a caching reverse proxy in front of an object store, which
//! fails in the way it is told to.
//!
//! | request | does |
//! |---|---|
//! | `GET`, `HEAD /{name}` | the object of that name, from memory or from the store |
//! | `GET /_faults` | the faults, how often each fired, and what became of all requests |
//! | `POST /_faults` | adds a [fault](fault::Fault): `{"fault": "status", "status": 503, "count": 3}` |
//! | `DELETE /_faults` | removes all faults |
//! | `DELETE /_cache` | forgets all copies, as an invalidation does |
//!
//! Many faults are below HTTP: a connection that is reset after 1,000 bytes of a body, or answered
//! with noise. So hyper talks to the socket through a `Wire`, and ends it on a word of
//! the service.

mod board;
mod body;
mod control;
mod edge;
pub mod fault;
mod wire;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::listen::{self, Ending};
use crate::storage::{ObjectBody, ObjectStore};
use board::{Board, Outcome};
use body::{FaultyBody, Script};
use edge::Edge;
use fault::Fault;
use wire::{Cut, Switch, Wire};

/// How the CDN names itself in `Via` and `X-Cache`.
const NAME: &str = "safelight-dev-cdn";

/// The CDN.
pub struct DevCdn {
    edge: Edge,
    board: Board,
}

impl DevCdn {
    /// A CDN with an empty cache in front of `origin`.
    #[must_use]
    pub fn new(origin: Arc<dyn ObjectStore>) -> Self {
        Self { edge: Edge::new(origin), board: Board::default() }
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let cdn = Arc::new(self);
        listen::accept(listener, shutdown, |stream, ending| {
            Arc::clone(&cdn).serve_connection(stream, ending)
        })
        .await;
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, mut ending: Ending) {
        let (wire, switch) = Wire::new(stream);
        let service = service_fn(|request| {
            let (cdn, switch) = (Arc::clone(&self), switch.clone());
            async move { Ok::<_, Infallible>(cdn.answer(request, &switch).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(wire), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = ending.asked() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection to the development CDN ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, switch: &Switch) -> Response<FaultyBody> {
        match request.uri().path() {
            "/_faults" => {
                return control::faults(&self.board, request).await.map(FaultyBody::whole);
            }
            "/_cache" => {
                return control::cache(&self.edge, request.method()).map(FaultyBody::whole);
            }
            _ => {}
        }
        let Some(fault) = self.board.arrived(request.method(), request.uri().path()) else {
            let (outcome, response) = self.edge.answer(request.map(drop)).await;
            self.board.answered(outcome);
            return response.map(FaultyBody::whole);
        };
        self.board.answered(Outcome::Fault);
        self.fail(fault, request.map(drop), switch).await
    }

    /// Carries a fault out. Those that break the connection before the head never return: the
    /// connection ends under them.
    async fn fail(
        &self,
        fault: Fault,
        request: Request<()>,
        switch: &Switch,
    ) -> Response<FaultyBody> {
        let script = match fault {
            Fault::Status { status, location, retry_after } => {
                return ordered_status(status, location, retry_after).map(FaultyBody::whole);
            }
            Fault::Silence {} => return std::future::pending().await,
            Fault::Close {} => return switch.end(Cut::Close).await,
            Fault::Reset {} => return switch.end(Cut::Reset).await,
            Fault::Garbage {} => return switch.end(Cut::Garbage).await,
            Fault::Truncate { after } => {
                Script::Cut { after, how: Cut::Close, switch: switch.clone() }
            }
            Fault::ResetBody { after } => {
                Script::Cut { after, how: Cut::Reset, switch: switch.clone() }
            }
            Fault::Stall { after } => Script::Stall { after },
            Fault::Trickle { bytes_per_second } => Script::trickle(bytes_per_second),
            Fault::Delay { ms } => {
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                Script::Whole
            }
        };
        let (_, response) = self.edge.answer(request).await;
        response.map(|body| FaultyBody::new(body, script))
    }
}

impl std::fmt::Debug for DevCdn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevCdn").finish_non_exhaustive()
    }
}

fn ordered_status(
    status: fault::FaultStatus,
    location: Option<fault::Location>,
    retry_after: Option<u32>,
) -> Response<ObjectBody> {
    let mut response = text(status.code(), "This failure was ordered by POST /_faults.");
    if let Some(location) = location {
        response.headers_mut().insert(http::header::LOCATION, location.into_value());
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A short answer as plain text.
fn text(status: StatusCode, text: &str) -> Response<ObjectBody> {
    let mut response = Response::new(whole(format!("{text}\n").into()));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allow = http::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(http::header::ALLOW, allow);
    }
    response
}

/// A body that is in memory.
fn whole(bytes: Bytes) -> ObjectBody {
    ObjectBody::new(Full::new(bytes).map_err(|never| match never {}))
}

/// Whether a request asks for an object at all.
fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}
