//! A collector of spans: it takes OTLP over HTTP, reads it by the types that OpenTelemetry generates
//! from the protocol, and refuses when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// After how long a test gives up waiting for something that should have happened.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running collector. It ends with the runtime of its test.
pub struct Collector {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What to say to the next requests, instead of taking what they bring.
    refusals: Mutex<VecDeque<Refusal>>,
    seen: watch::Sender<Seen>,
}

/// What a collector says that does not take everything.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    /// This status.
    Status(u16),
    /// That it has thrown so many spans away.
    Rejected(i64),
}

/// What came so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: usize,
    /// Every request: its path, and its headers with names in lower case.
    pub requests: Vec<(String, BTreeMap<String, String>)>,
    /// The bodies, as they came.
    pub bodies: Vec<Bytes>,
    /// The spans of all requests that were not refused by a status.
    pub spans: Vec<Collected>,
}

/// A span.
#[derive(Debug, Clone)]
pub struct Collected {
    pub service: String,
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub state: String,
    pub name: String,
    pub kind: i32,
    /// Nanoseconds since 1970.
    pub begun: u64,
    pub ended: u64,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
}

impl Collected {
    fn new(service: &str, span: Span) -> Self {
        let status = span.status.map(|status| status.code());
        Self {
            service: service.to_owned(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state,
            name: span.name,
            kind: span.kind,
            begun: span.start_time_unix_nano,
            ended: span.end_time_unix_nano,
            attributes: span.attributes.into_iter().map(attribute).collect(),
            failed: status == Some(StatusCode::Error),
        }
    }

    /// An attribute; empty if there is none.
    pub fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// Starts one that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                serving.seen.send_modify(|seen| seen.connections += 1);
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(take(&shared, request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        Self { url, shared }
    }

    /// Its address, as a URL without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `[Tracing]`, with these lines besides.
    pub fn settings(&self, lines: &str) -> String {
        format!("\n[Tracing]\nOTLPEndpoint = \"{}\"\n{lines}\n", self.url)
    }

    /// Says this to the next request for which nothing has been said.
    pub fn next(&self, refusal: Refusal) {
        self.shared.refusals.lock().unwrap().push_back(refusal);
    }

    /// What came so far.
    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.seen.borrow())
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Vec<Collected> {
        self.seen(|seen| seen.spans.clone())
    }

    /// The only span of this name.
    #[track_caller]
    pub fn span(&self, name: &str) -> Collected {
        let mut spans = self.spans();
        let names: Vec<_> = spans.iter().map(|span| span.name.clone()).collect();
        spans.retain(|span| span.name == name);
        assert_eq!(spans.len(), 1, "{name} among {names:?}");
        spans.remove(0)
    }

    /// Waits until this has happened.
    pub async fn until(&self, happened: impl FnMut(&Seen) -> bool) {
        let mut watching = self.shared.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, watching.wait_for(happened)).await;
        waited.expect("it happens in time").expect("the sender is ours");
    }
}

async fn take(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return answer(400, Bytes::new()) };
    let body = unpacked(&head.headers, body.to_bytes());
    let refusal = shared.refusals.lock().unwrap().pop_front();
    let spans = match ExportTraceServiceRequest::decode(body.clone()) {
        Ok(request) => request.resource_spans.into_iter().flat_map(|of_resource| {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            let attributes: BTreeMap<_, _> = attributes.into_iter().map(attribute).collect();
            let service = attributes.get("service.name").cloned().unwrap_or_default();
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| Collected::new(&service, span)).collect::<Vec<_>>()
        }),
        Err(error) => panic!("what came is no export of spans: {error}"),
    };
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
    };
    let (status, rejected) = match refusal {
        None => (200, 0),
        Some(Refusal::Rejected(spans)) => (200, spans),
        Some(Refusal::Status(status)) => (status, 0),
    };
    shared.seen.send_modify(|seen| {
        let headers = head.headers.iter().map(header).collect();
        seen.requests.push((head.uri.to_string(), headers));
        seen.bodies.push(body);
        if status == 200 {
            seen.spans.extend(spans);
        }
    });
    let partial = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: "no room".to_owned(),
    });
    let said = ExportTraceServiceResponse { partial_success: partial };
    answer(status, said.encode_to_vec().into())
}

/// The body as it was before it was packed: other collectors pack what they hand on.
fn unpacked(headers: &http::HeaderMap, body: Bytes) -> Bytes {
    if headers.get(http::header::CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return body;
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut unpacked).expect("it is packed as it says");
    unpacked.into()
}

fn answer(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status.try_into().expect("a status");
    response
}

fn attribute(attribute: KeyValue) -> (String, String) {
    let value = match attribute.value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{}: {other:?}", attribute.key),
    };
    (attribute.key, value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
