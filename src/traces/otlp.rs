//! Spans in the collector's words: the messages of OTLP (opentelemetry-proto 1.x), as far as they are
//! used here. Numbers of fields are those of `opentelemetry/proto/trace/v1/trace.proto` and its
//! neighbours; a test reads what is written here by the types that are generated from those.

use std::time::{Duration, UNIX_EPOCH};

use prost::Message;

use super::span::{Ended, Kind, Value};

/// `SpanFlags`: whether the parent is of another process is known, and whether it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The sampled flag of W3C Trace Context: what is not sampled is not exported.
const SAMPLED: u32 = 1;

/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// The body of a request that brings spans.
pub(super) fn request(service: &str, spans: &[Ended]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let attributes =
        [("service.name", service), ("service.version", version)].map(|(key, value)| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(Any::Text(value.to_owned())) }),
        });
    let scope = Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: version.to_owned() };
    let spans = spans.iter().map(span).collect();
    let of_resource = ResourceSpans {
        resource: Some(Resource { attributes: attributes.to_vec() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
    };
    ExportRequest { resource_spans: vec![of_resource] }.encode_to_vec()
}

/// How many spans an answer says were thrown away. An answer that cannot be read says none.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let partial = ExportResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

fn span(ended: &Ended) -> Span {
    let Ended { context, name, kind, parent, begun, took, attributes, failed } = ended;
    let state = context.state.as_ref().and_then(|state| state.to_str().ok());
    let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Only a request that was received has its parent elsewhere.
    let remote = if *kind == Kind::Server && parent.is_some() { IS_REMOTE } else { 0 };
    Span {
        trace_id: context.trace.0.get().to_be_bytes().to_vec(),
        span_id: context.span.0.get().to_be_bytes().to_vec(),
        trace_state: state.unwrap_or_default().to_owned(),
        parent_span_id: parent.map_or_else(Vec::new, |span| span.0.get().to_be_bytes().to_vec()),
        name: match name.1 {
            Some(more) => format!("{} {more}", name.0),
            None => name.0.to_owned(),
        },
        kind: match kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(begun.saturating_add(*took)),
        attributes: attributes.iter().map(attribute).collect(),
        status: failed.then_some(Status { code: ERROR }),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
    }
}

fn nanos(since_1970: Duration) -> u64 {
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute((name, value): &(&'static str, Value)) -> KeyValue {
    let value = match value {
        Value::Word(word) => Any::Text((*word).to_owned()),
        Value::App(app) => Any::Text(app.as_str().to_owned()),
        Value::RequestId(digits) => Any::Text(String::from_utf8_lossy(digits).into_owned()),
        Value::Number(number) => Any::Number(*number),
    };
    KeyValue { key: (*name).to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
