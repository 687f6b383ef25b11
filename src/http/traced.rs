//! What the trace of a request is told: where it came from, and at its end what became of it. The
//! names are those of OpenTelemetry's conventions for HTTP servers; of the path there is only the
//! route, as in the log.

use std::net::IpAddr;

use http::HeaderMap;

use crate::domain::TrustedProxies;
use crate::traces::{Context, Name, Span, Tracer, Value, begin};

use super::exchange::Line;

/// How requests are traced.
#[derive(Debug, Clone, Default)]
pub struct Tracing {
    /// Who records spans, if anybody does.
    pub tracer: Option<Tracer>,
    /// Whether clients come over TLS.
    pub is_tls: bool,
}

impl Tracing {
    /// Begins the span of a request. Only a proxy that the operator trusts says whose trace it belongs
    /// to: a stranger would choose what is recorded, and under which id.
    pub(super) fn begin(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: Option<&TrustedProxies>,
    ) -> Span {
        let is_trusted = trusted.is_some_and(|proxies| proxies.contains(peer));
        let of_peer = if is_trusted { Context::from_headers(headers) } else { None };
        begin(self.tracer.as_ref(), of_peer)
    }

    /// Says what is known of a request from the beginning.
    pub(super) fn describe(&self, line: &mut Line) {
        if !line.span.is_recorded() {
            return;
        }
        let (method, name) = match line.method {
            "other" => ("_OTHER", "HTTP"),
            known => (known, known),
        };
        line.span.rename(Name(name, None));
        line.span.set("http.request.method", Value::Word(method));
        let scheme = if self.is_tls { "https" } else { "http" };
        line.span.set("url.scheme", Value::Word(scheme));
        line.span.set("safelight.request_id", Value::RequestId(*line.id.as_bytes()));
    }
}

/// Says which route a request has, of which this is the path.
pub(super) fn routed(line: &mut Line, path: &'static str) {
    line.span.rename(Name(line.method, Some(path)));
    line.span.set("http.route", Value::Word(path));
}

/// Says what became of a request whose answer has ended in this way, after so many bytes.
pub(super) fn end(line: &mut Line, outcome: &'static str, sent: u64) {
    let span = &mut line.span;
    if let Some(app) = &line.app {
        span.set("safelight.app", Value::App(app.clone()));
    }
    if let Some(source) = line.source {
        span.set("safelight.source", Value::Word(source));
    }
    if let Some(reason) = line.fallback {
        span.set("safelight.fallback_reason", Value::Word(reason));
    }
    let sent = i64::try_from(sent).unwrap_or(i64::MAX);
    span.set("http.response.body.size", Value::Number(sent));
    // 499 stands for no answer.
    if line.status != 499 {
        span.set("http.response.status_code", Value::Number(line.status.into()));
    }
    match error_of(line.status, outcome) {
        Some(error) => {
            span.set("error.type", Value::Word(error));
            span.failed(outcome);
        }
        None => span.came_to(outcome),
    }
}

/// What was wrong with an answer, if something was: what the client has done wrong is no failure here.
fn error_of(status: u16, outcome: &'static str) -> Option<&'static str> {
    match status {
        500 => Some("500"),
        501 => Some("501"),
        502 => Some("502"),
        503 => Some("503"),
        504 => Some("504"),
        508 => Some("508"),
        505.. => Some("_OTHER"),
        _ => (outcome == "broken_off").then_some(outcome),
    }
}
