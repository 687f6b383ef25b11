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

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, NonZeroU128};

    use opentelemetry_proto::tonic::collector::trace::v1 as official;
    use opentelemetry_proto::tonic::common::v1::any_value;
    use proptest::prelude::*;

    use super::super::context::{Context, SpanId, TraceId};
    use super::super::span::Name;
    use super::*;
    use crate::domain::AppName;

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Server), Just(Kind::Client), Just(Kind::Internal)]
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Word("timeout")),
            Just(Value::App(AppName::parse("shop").unwrap())),
            any::<i64>().prop_map(Value::Number),
            "[0-9a-f]{16}".prop_map(|id| Value::RequestId(id.as_bytes().try_into().unwrap())),
        ]
    }

    fn ended() -> impl Strategy<Value = Ended> {
        let ids = (1_u128.., 1_u64.., proptest::option::of(1_u64..));
        let times = (0_u64..1 << 60, 0_u64..1 << 40);
        let said = (kind(), proptest::collection::vec(value(), 0..5), any::<bool>());
        (ids, times, said).prop_map(|((trace, span, parent), (begun, took), said)| Ended {
            context: Context {
                trace: TraceId(NonZeroU128::new(trace).unwrap()),
                span: SpanId(NonZeroU64::new(span).unwrap()),
                sampled: true,
                state: said.2.then(|| http::HeaderValue::from_static("a=1")),
            },
            name: Name("GET", said.2.then_some("/route")),
            kind: said.0,
            parent: parent.map(|id| SpanId(NonZeroU64::new(id).unwrap())),
            begun: UNIX_EPOCH + Duration::from_nanos(begun),
            took: Duration::from_nanos(took),
            attributes: said.1.into_iter().map(|value| ("name", value)).collect(),
            failed: said.2,
        })
    }

    fn text(value: &Value) -> any_value::Value {
        match value {
            Value::Word(word) => any_value::Value::StringValue((*word).to_owned()),
            Value::App(app) => any_value::Value::StringValue(app.as_str().to_owned()),
            Value::RequestId(id) => {
                any_value::Value::StringValue(String::from_utf8(id.to_vec()).unwrap())
            }
            Value::Number(number) => any_value::Value::IntValue(*number),
        }
    }

    proptest! {
        /// The types that are generated from the protocol read what was meant.
        #[test]
        fn the_protocol_reads_it(spans in proptest::collection::vec(ended(), 1..4)) {
            let read = official::ExportTraceServiceRequest::decode(&*request("media", &spans));
            let [of_resource] = &read.unwrap().resource_spans[..] else { panic!("one process") };
            let resource = of_resource.resource.as_ref().unwrap();
            let service = resource.attributes[0].value.clone().unwrap().value;
            prop_assert_eq!(service, Some(any_value::Value::StringValue("media".to_owned())));
            let read = &of_resource.scope_spans[0].spans;
            prop_assert_eq!(read.len(), spans.len());
            for (read, span) in read.iter().zip(&spans) {
                let parent = span.parent.map_or(Vec::new(), |id| id.0.get().to_be_bytes().to_vec());
                prop_assert_eq!(&read.trace_id, &span.context.trace.0.get().to_be_bytes());
                prop_assert_eq!(&read.span_id, &span.context.span.0.get().to_be_bytes());
                prop_assert_eq!(&read.parent_span_id, &parent);
                let kind = match span.kind {
                    Kind::Server => "SPAN_KIND_SERVER",
                    Kind::Client => "SPAN_KIND_CLIENT",
                    Kind::Internal => "SPAN_KIND_INTERNAL",
                };
                prop_assert_eq!(read.kind().as_str_name(), kind);
                let took = read.end_time_unix_nano - read.start_time_unix_nano;
                prop_assert_eq!(u128::from(took), span.took.as_nanos());
                let remote = read.flags & IS_REMOTE != 0;
                prop_assert_eq!(remote, span.kind == Kind::Server && span.parent.is_some());
                let status = read.status.as_ref().map(|status| status.code().as_str_name());
                prop_assert_eq!(status, span.failed.then_some("STATUS_CODE_ERROR"));
                prop_assert_eq!(read.trace_state.as_str(), if span.failed { "a=1" } else { "" });
                prop_assert_eq!(read.name.as_str(), if span.failed { "GET /route" } else { "GET" });
                let values = read.attributes.iter().map(|it| it.value.clone().unwrap().value);
                let expected = span.attributes.iter().map(|(_, value)| Some(text(value)));
                prop_assert_eq!(values.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            }
        }

        #[test]
        fn what_was_thrown_away_is_read(spans in 0_i64.., why: String) {
            let partial = official::ExportTracePartialSuccess { rejected_spans: spans, error_message: why };
            let answer = official::ExportTraceServiceResponse { partial_success: Some(partial) };
            prop_assert_eq!(rejected(&answer.encode_to_vec()), u64::try_from(spans).unwrap());
        }

        #[test]
        fn an_answer_that_is_none_says_nothing(answer: Vec<u8>) {
            let _ = rejected(&answer);
        }
    }

    #[test]
    fn an_empty_answer_is_a_good_one() {
        assert_eq!(rejected(b""), 0);
        assert_eq!(rejected(b"<html>"), 0);
    }
}
