//! A request as it goes over the wire.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Method, Request};

use super::Origin;

/// Room for the head of most requests, in bytes.
const USUAL_HEAD_BYTES: usize = 512;

/// Writes a request down: its URI is the path and query, and the lines that frame it are made here.
pub(super) fn write(origin: &Origin, request: &Request<Bytes>) -> Vec<u8> {
    let body = request.body();
    let mut wire = Vec::with_capacity(USUAL_HEAD_BYTES + body.len());
    wire.extend_from_slice(request.method().as_str().as_bytes());
    wire.push(b' ');
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    // A query may stand alone in a URI, but not in a request.
    if !target.starts_with(['/', '*']) {
        wire.push(b'/');
    }
    wire.extend_from_slice(target.as_bytes());
    wire.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    wire.extend_from_slice(origin.host_header().as_bytes());
    for (name, value) in request.headers() {
        if [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
    }
    if has_length(request) {
        wire.extend_from_slice(b"\r\ncontent-length: ");
        wire.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    }
    wire.extend_from_slice(b"\r\n\r\n");
    wire.extend_from_slice(body);
    wire
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
            String::from_utf8(write(&origin, &request)).unwrap()
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
        let signed_length = Request::delete("/").header("content-length", "0");
        assert!(written(signed_length, "").contains("content-length: 0"));
        assert!(!written(Request::delete("/"), "").contains("content-length"));
        let without_path = written(Request::get("http://cdn.test?x=1"), "");
        assert!(without_path.starts_with("GET /?x=1 HTTP/1.1\r\n"), "{without_path}");
    }
}
