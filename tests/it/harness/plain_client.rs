//! An HTTP client with no knowledge of signatures, as a browser's `fetch` has none.

use bytes::Bytes;
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
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Plain {
    /// The PUT that a signed request asks for.
    pub fn put(signed: &SignedRequest, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::PUT,
            url: signed.url.clone(),
            headers: signed.headers.clone(),
            body: body.into(),
        }
    }

    /// Sets a header, or takes it away.
    pub fn with_header(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    /// Sends the request on a connection of its own.
    pub async fn send(self) -> Answer {
        let url = Url::parse(&self.url).expect("the URL is a URL");
        let addresses = url.socket_addrs(|| None).expect("the URL has host and port");
        let stream = TcpStream::connect(&*addresses).await.expect("the server listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let target = &url[url::Position::BeforePath..];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder().method(self.method).uri(target).header("Host", host);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(self.body)).unwrap();
        let response = sender.send_request(request).await.expect("the server answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the answer is whole").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer { status: head.status, headers: head.headers, body }
    }
}

impl Answer {
    #[track_caller]
    pub fn assert_success(&self) {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
    }

    /// The server must say no, and must say it as an answer to the request, not by failing.
    #[track_caller]
    pub fn assert_refused_with(&self, statuses: &[u16], why: &str) {
        let status = self.status.as_u16();
        assert!(
            statuses.contains(&status),
            "{why}: {status} instead of {statuses:?}: {}",
            self.body
        );
    }
}
