//! A request as it goes over the wire.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request};

use super::Origin;

/// Room for the head of most requests, in bytes.
const USUAL_HEAD_BYTES: usize = 512;

/// An extension of a request that says: sending it twice does what sending it once does, though its
/// method does not promise that.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable;

/// A request, written down.
pub struct Question {
    /// The head, but for the empty line at its end.
    wire: Vec<u8>,
    body: Bytes,
    pub(super) is_head: bool,
    /// Whether asking it twice does what asking it once does.
    pub(super) is_repeatable: bool,
}

impl Question {
    /// Begins a GET, or a HEAD, of the path that these pieces make together. They must be encoded.
    pub fn read<const N: usize>(origin: &Origin, is_head: bool, path: [&str; N]) -> Self {
        let method = if is_head { Method::HEAD } else { Method::GET };
        let mut this = Self {
            wire: Vec::with_capacity(USUAL_HEAD_BYTES),
            body: Bytes::new(),
            is_head,
            is_repeatable: method.is_idempotent(),
        };
        this.begin(&method, path, origin);
        this
    }

    /// Adds a header, which is none of those that frame the request.
    pub fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.wire.extend_from_slice(name.as_str().as_bytes());
        self.wire.extend_from_slice(b": ");
        self.wire.extend_from_slice(value.as_bytes());
        self.wire.extend_from_slice(b"\r\n");
    }

    /// Adds headers, but for those that frame the request.
    pub fn add_all(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            if ![HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                self.add(name, value);
            }
        }
    }

    /// Writes a request down whose URI is the path and query; the lines that frame it are made here.
    pub(super) fn of(origin: &Origin, request: &Request<Bytes>) -> Self {
        let (method, body) = (request.method(), request.body());
        let mut this = Self {
            wire: Vec::with_capacity(USUAL_HEAD_BYTES + body.len()),
            body: body.clone(),
            is_head: method == Method::HEAD,
            is_repeatable: is_repeatable(request),
        };
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        // A query may stand alone in a URI, but not in a request.
        let root = if target.starts_with(['/', '*']) { "" } else { "/" };
        this.begin(method, [root, target], origin);
        this.add_all(request.headers());
        if has_length(request) {
            this.add(&CONTENT_LENGTH, &body.len().into());
        }
        this
    }

    /// All of it, as it goes over the wire.
    pub(super) fn into_wire(mut self) -> Vec<u8> {
        self.wire.extend_from_slice(b"\r\n");
        self.wire.extend_from_slice(&self.body);
        self.wire
    }

    fn begin<const N: usize>(&mut self, method: &Method, target: [&str; N], origin: &Origin) {
        self.wire.extend_from_slice(method.as_str().as_bytes());
        self.wire.push(b' ');
        for piece in target {
            self.wire.extend_from_slice(piece.as_bytes());
        }
        self.wire.extend_from_slice(b" HTTP/1.1\r\n");
        self.add(&HOST, origin.host_header());
    }
}

/// Whether sending the request twice does what sending it once does: by its method (RFC 9110
/// §9.2.2), or because the caller says so.
fn is_repeatable<B>(request: &Request<B>) -> bool {
    request.method().is_idempotent() || request.extensions().get::<Repeatable>().is_some()
}

/// Whether the length is told: that of nothing too, where a body would be expected (RFC 9110 §8.6), or
/// where it is signed.
fn has_length(request: &Request<Bytes>) -> bool {
    !request.body().is_empty()
        || [Method::POST, Method::PUT, Method::PATCH].contains(request.method())
        || request.headers().contains_key(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let origin = Origin::from_url(&"http://cdn.test:8080/images".parse().unwrap()).unwrap();
        let written = |request: http::request::Builder, body: &'static str| {
            let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
            String::from_utf8(Question::of(&origin, &request).into_wire()).unwrap()
        };
        let get = Request::get("/a%20b?c=d").header("x-a", "1").header("X-A", "2");
        assert_eq!(
            written(get, ""),
            "GET /a%20b?c=d HTTP/1.1\r\nhost: cdn.test:8080\r\nx-a: 1\r\nx-a: 2\r\n\r\n"
        );
        assert_eq!(
            written(Request::post("/"), "body"),
            "POST / HTTP/1.1\r\nhost: cdn.test:8080\r\ncontent-length: 4\r\n\r\nbody"
        );
        let framed_otherwise = Request::put("/")
            .header("host", "elsewhere")
            .header("connection", "close")
            .header("transfer-encoding", "chunked")
            .header("content-length", "7");
        assert_eq!(
            written(framed_otherwise, ""),
            "PUT / HTTP/1.1\r\nhost: cdn.test:8080\r\ncontent-length: 0\r\n\r\n"
        );
        let mut read = Question::read(&origin, true, ["/images/", "a%20b"]);
        read.add(&HeaderName::from_static("x-a"), &HeaderValue::from_static("1"));
        read.add_all(&HeaderMap::from_iter([(HOST, HeaderValue::from_static("elsewhere"))]));
        assert!(read.is_head && read.is_repeatable);
        assert_eq!(
            String::from_utf8(read.into_wire()).unwrap(),
            "HEAD /images/a%20b HTTP/1.1\r\nhost: cdn.test:8080\r\nx-a: 1\r\n\r\n"
        );
        let signed_length = Request::delete("/").header("content-length", "0");
        assert!(written(signed_length, "").contains("content-length: 0"));
        assert!(!written(Request::delete("/"), "").contains("content-length"));
        let without_path = written(Request::get("http://cdn.test?x=1"), "");
        assert!(without_path.starts_with("GET /?x=1 HTTP/1.1\r\n"), "{without_path}");
    }
}
