//! An HTTP client with no knowledge of signatures, as a browser's `fetch` has none.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use safelight::storage::SignedRequest;
use tokio::net::TcpStream;
use url::Url;

/// A request that can be bent before it is sent.
#[derive(Clone)]
pub struct Plain {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// What came of the body.
    pub body: Bytes,
    /// Whether the body ended as HTTP has it end, and not short.
    pub is_whole: bool,
}

impl Plain {
    /// A request without headers or body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// The PUT that a signed request asks for.
    pub fn put(signed: &SignedRequest, body: impl Into<Bytes>) -> Self {
        let named = signed.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self {
            headers: named.collect(),
            ..Self::new(Method::PUT, signed.url.clone()).with_body(body)
        }
    }

    /// Sets a header, or takes it away.
    pub fn with_header(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    /// Sends a header once more.
    pub fn and_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request on a connection of its own.
    pub async fn send(self) -> Answer {
        self.try_send().await.expect("the server answers")
    }

    /// Sends the request on a connection of its own; an error if it ends before the head is there.
    pub async fn try_send(self) -> Result<Answer, hyper::Error> {
        let stream = self.connect().await.expect("the server listens");
        self.send_on(stream).await
    }

    /// Sends the request to a server that may be gone at any moment; `None` if no whole answer came.
    pub async fn attempt(self) -> Option<Answer> {
        let stream = self.connect().await.ok()?;
        self.send_on(stream).await.ok().filter(|answer| answer.is_whole)
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let url = Url::parse(&self.url).expect("the URL is a URL");
        let addresses = url.socket_addrs(|| None).expect("the URL has host and port");
        TcpStream::connect(&*addresses).await
    }

    async fn send_on(self, stream: TcpStream) -> Result<Answer, hyper::Error> {
        let url = Url::parse(&self.url).expect("the URL is a URL");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let target = &url[url::Position::BeforePath..];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder().method(self.method).uri(target).header("Host", host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).unwrap();
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let (body, is_whole) = read(body).await;
        Ok(Answer { status: head.status, headers: head.headers, body, is_whole })
    }
}

/// Reads what comes of a body, and whether it ended well.
async fn read(mut body: hyper::body::Incoming) -> (Bytes, bool) {
    let mut bytes = BytesMut::new();
    loop {
        match body.frame().await {
            None => return (bytes.freeze(), true),
            Some(Err(_)) => return (bytes.freeze(), false),
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The headers that do not depend on the moment: what is to be the same whoever answered.
    pub fn lasting(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in ["date", "age", "cache-status", "server-timing", "x-request-id"] {
            headers.remove(name);
        }
        // The document of a refusal holds the request's id, and so does not always have one length.
        if self.header("content-type") == "application/problem+json" {
            headers.remove("content-length");
        }
        headers
    }

    /// A header as text; empty if there is none.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// It must be this refusal, told as the contract tells every refusal.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(!self.headers.contains_key("etag"));
        let document = self.json();
        assert_eq!(document["code"], code, "{text}");
        assert_eq!(document["status"], status, "{text}");
        assert_eq!(document["success"], false, "{text}");
        assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
        assert_eq!(document["requestID"], self.header("x-request-id"), "{text}");
    }

    #[track_caller]
    pub fn assert_success(&self) {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
    }

    /// The server must say no, and must say it as an answer to the request, not by failing.
    #[track_caller]
    pub fn assert_refused_with(&self, statuses: &[u16], why: &str) {
        let status = self.status.as_u16();
        assert!(
            statuses.contains(&status),
            "{why}: {status} instead of {statuses:?}: {}",
            self.text()
        );
    }
}
