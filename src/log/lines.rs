//! How an event becomes a line: with the id of the request that it belongs to, and of its trace.

use std::fmt;
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::request::RequestId;
use super::time::timestamp;
use crate::traces::Place;

/// One JSON object a line.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::from("{\"timestamp\":\"");
        timestamp(&mut line, SystemTime::now());
        let metadata = event.metadata();
        let mut fields = Fields(line + "\"");
        fields.add("level", metadata.level().as_str());
        fields.add("target", metadata.target());
        if let Some(id) = RequestId::current() {
            fields.add("request_id", id.as_str());
        }
        if let Some(trace) = Place::current_trace() {
            fields.add("trace_id", trace.to_string());
        }
        event.record(&mut fields);
        writer.write_str(&fields.0)?;
        writer.write_str("}\n")
    }
}

/// An object as far as it is written.
struct Fields(String);

impl Fields {
    fn add(&mut self, name: &str, value: impl Into<Value>) {
        let (name, value) = (Value::from(name), value.into());
        self.0 += &format!(",{name}:{value}");
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value);
    }
}

/// One line of text.
pub(super) struct TextLines(Format<Compact>);

impl Default for TextLines {
    fn default() -> Self {
        Self(Format::default().compact().with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(id) = RequestId::current() {
            write!(writer, "{} ", id.as_str())?;
        }
        if let Some(trace) = Place::current_trace() {
            write!(writer, "{trace} ")?;
        }
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object_with_everything_that_was_said() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLines)
            .with_writer(move || writer.clone());
        let id = RequestId::new();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            id.scope(|| {
                let error = "a \"quote\" and a\nline";
                tracing::warn!(
                    error,
                    count = 3_u64,
                    less = -3,
                    half = 0.5,
                    yes = true,
                    "said {}",
                    1
                );
            });
            tracing::info!(shown = %"x", debugged = ?Some(1));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut first = lines.next().unwrap();
        let time = first.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
        let target = module_path!();
        let expected = json!({
            "level": "WARN", "target": target, "request_id": id.as_str(), "message": "said 1",
            "error": "a \"quote\" and a\nline", "count": 3, "less": -3, "half": 0.5, "yes": true,
        });
        assert_eq!(first, expected);
        let second = lines.next().unwrap();
        assert_eq!((&second["shown"], &second["debugged"]), (&json!("x"), &json!("Some(1)")));
        assert_eq!(second.get("request_id"), None);
        assert_eq!(lines.next(), None);
    }
}
