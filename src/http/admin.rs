//! What the admin listener serves: metrics, liveness, readiness, and the apps that are loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::apps::{LiveApps, Standing};
use crate::domain::AppName;
use crate::log::RequestId;
use crate::metrics::Metrics;

use super::body::{ReplyBody, json_response};
use super::{Refused, text_response, timestamp};

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
    pub apps: Arc<LiveApps>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Brings those up to date that are not counted as things happen.
    pub sample: Box<dyn Fn() + Send + Sync>,
    /// The readiness.
    pub readiness: Readiness,
}

/// What is told of an app: how it is served, and how it stands to its file. Nothing of what the file
/// holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    served: Option<Served<'a>>,
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<String>,
}

#[derive(Serialize)]
struct Served<'a> {
    storage: &'static str,
    cdn: bool,
    uploads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
}

impl<'a> AppLine<'a> {
    fn of(standing: &'a Standing) -> Self {
        let served = standing.app.as_ref().map(|app| Served {
            storage: app.store.source().label(),
            cdn: app.cdn.is_some(),
            uploads: app.allow_public_upload,
            since: standing.since.map(timestamp),
            fingerprint: standing.fingerprint.as_deref(),
        });
        Self {
            app: standing.name.as_ref().map(AppName::as_str),
            served,
            state: standing.state.label(),
            file: &standing.file,
            errors: standing.errors.iter().map(ToString::to_string).collect(),
            missing_since: standing.missing.map(|(since, _)| timestamp(since)),
            removed_at: standing.missing.map(|(_, until)| timestamp(until)),
        }
    }
}

impl AdminDoor {
    /// Answers one request.
    pub fn handle<B>(&self, request: &Request<B>) -> Response<ReplyBody> {
        if let Some(Refused(problem)) = request.extensions().get() {
            return problem.clone().into_response(&RequestId::new());
        }
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
                let standings = self.apps.standings();
                let lines: Vec<_> = standings.iter().map(AppLine::of).collect();
                json_response(StatusCode::OK, &lines)
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
