//! What the admin listener serves: metrics, liveness, readiness, and the apps that are loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::apps::Apps;
use crate::metrics::Metrics;

use super::body::{ReplyBody, json_response};
use super::text_response;

/// Whether the process wants requests: yes from the moment its configuration is loaded until it
/// begins to drain. It follows neither storage nor the record store, whose failures the gateway
/// outlives.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether requests are wanted from now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether requests are wanted.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The admin listener's door.
pub struct AdminDoor {
    /// The apps.
    pub apps: Arc<Apps>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Brings those up to date that are not counted as things happen.
    pub sample: Box<dyn Fn() + Send + Sync>,
    /// The readiness.
    pub readiness: Readiness,
}

#[derive(Serialize)]
struct AppLine<'a> {
    app: &'a str,
    storage: &'static str,
    cdn: bool,
    uploads: bool,
}

impl AdminDoor {
    /// Answers one request.
    pub fn handle<B>(&self, request: &Request<B>) -> Response<ReplyBody> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            let allow = http::HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(http::header::ALLOW, allow);
            return response;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/livez" => text_response(StatusCode::OK, "alive\n"),
            "/readyz" if self.readiness.get() => text_response(StatusCode::OK, "ready\n"),
            "/readyz" => text_response(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/apps" => {
                let lines = self.apps.iter().map(|app| AppLine {
                    app: app.name.as_str(),
                    storage: app.store.source().label(),
                    cdn: app.cdn.is_some(),
                    uploads: app.allow_public_upload,
                });
                json_response(StatusCode::OK, &lines.collect::<Vec<_>>())
            }
            _ => text_response(StatusCode::NOT_FOUND, "/metrics, /livez, /readyz or /apps\n"),
        }
    }

    fn metrics(&self) -> Response<ReplyBody> {
        (self.sample)();
        match self.metrics.to_text() {
            Ok(text) => text_response(StatusCode::OK, text),
            Err(error) => {
                tracing::error!(error, "the metrics cannot be written");
                text_response(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
            }
        }
    }
}
