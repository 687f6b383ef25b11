//! The access log: one line for each request, in JSON, made and written without a subscriber of
//! `tracing`, which costs more than the answer of a small photo from memory does.

use std::time::{Duration, SystemTime};

use super::request::RequestId;
use super::time::{digits, timestamp};
use crate::traces::TraceId;

/// What `SAFELIGHT_LOG` calls the access log: `safelight::access=off` turns it off.
pub const TARGET: &str = "safelight::access";

/// What the line of a request says. No path, query, owner or token: a public URL names a photo, and
/// a signed one is a key. Every text but the app is one of a closed set, and none needs escaping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccessLine<'a> {
    /// The request.
    pub id: RequestId,
    /// The trace that it belongs to, if it belongs to one.
    pub trace: Option<TraceId>,
    /// The method, where it is one that the gateway knows.
    pub method: &'static str,
    /// The route.
    pub route: &'static str,
    /// The app, where it is a configured one.
    pub app: Option<&'a str>,
    /// The status of the answer; 499 where there was none.
    pub status: u16,
    /// Who answered a read.
    pub source: Option<&'static str>,
    /// Why the CDN did not.
    pub fallback: Option<&'static str>,
    /// How much of the body was sent, in bytes.
    pub bytes: u64,
    /// How the answer ended.
    pub outcome: &'static str,
    /// From the request's head to the end of the answer.
    pub took: Duration,
}

impl AccessLine<'_> {
    /// Appends the line, as JSON and with its end.
    pub(super) fn append_to(&self, out: &mut String, now: SystemTime) {
        let Self { id, trace, method, route, app, status, source, .. } = self;
        let Self { fallback, bytes, outcome, took, .. } = self;
        out.push_str("{\"timestamp\":\"");
        timestamp(out, now);
        out.push_str("\",\"level\":\"INFO\",\"target\":\"safelight::access\"");
        let mut text = |name, value: &str| {
            for part in [",\"", name, "\":\"", value, "\""] {
                out.push_str(part);
            }
        };
        text("request_id", id.as_str());
        if let Some(trace) = trace {
            text("trace_id", &trace.to_string());
        }
        text("method", method);
        text("route", route);
        for (name, value) in [("app", *app), ("source", *source), ("fallback", *fallback)] {
            if let Some(value) = value {
                text(name, value);
            }
        }
        text("outcome", outcome);
        let mut number = itoa::Buffer::new();
        out.push_str(",\"status\":");
        out.push_str(number.format(*status));
        out.push_str(",\"bytes\":");
        out.push_str(number.format(*bytes));
        out.push_str(",\"milliseconds\":");
        out.push_str(number.format(took.as_millis()));
        out.push('.');
        digits(out, took.subsec_micros() % 1000, 100);
        out.push_str("}\n");
    }

    /// The same as an event, for whoever subscribes to those.
    pub(super) fn emit(&self) {
        let Self { id, trace, method, route, app, status, source, .. } = self;
        let Self { fallback, bytes, outcome, took, .. } = self;
        tracing::info!(
            target: TARGET,
            request_id = id.as_str(),
            trace_id = trace.map(tracing::field::display),
            method,
            route,
            app,
            status,
            source,
            fallback,
            bytes,
            outcome,
            milliseconds = %format_args!("{}.{:03}", took.as_millis(), took.subsec_micros() % 1000),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line() -> AccessLine<'static> {
        AccessLine {
            id: RequestId::new(),
            trace: None,
            method: "GET",
            route: "image",
            app: Some("shop"),
            status: 200,
            source: Some("s3"),
            fallback: Some("timeout"),
            bytes: 51_200,
            outcome: "complete",
            took: Duration::from_micros(12_034),
        }
    }

    fn json_of(line: &AccessLine<'_>) -> Value {
        let mut text = String::new();
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_276_800_000_042);
        line.append_to(&mut text, now);
        assert_eq!(text.find('\n'), Some(text.len() - 1), "one line: {text:?}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_line_is_json() {
        let line = line();
        let expected = json!({
            "timestamp": "2026-11-21T16:00:00.000042Z",
            "level": "INFO",
            "target": TARGET,
            "request_id": line.id.as_str(),
            "method": "GET",
            "route": "image",
            "app": "shop",
            "source": "s3",
            "fallback": "timeout",
            "outcome": "complete",
            "status": 200,
            "bytes": 51_200,
            "milliseconds": 12.034,
        });
        assert_eq!(json_of(&line), expected);
    }

    #[test]
    fn what_there_is_not_is_left_out() {
        let json = json_of(&AccessLine { app: None, source: None, fallback: None, ..line() });
        for name in ["app", "source", "fallback"] {
            assert_eq!(json.get(name), None);
        }
        assert_eq!(json["outcome"], "complete");
    }
}
