//! Requests that are refused before they are requests: the server has seen why, and the answer is
//! made here like any other.

use bytes::Bytes;

use crate::log::RequestId;
use crate::zero_copy::Shared;

use super::body::ReplyBody;
use super::error::Problem;
use super::{REQUEST_ID, header_of};

/// Why a request is refused that only stands for what the client has sent. An extension of it; its
/// answer is the connection's last.
#[derive(Debug, Clone)]
pub struct Refused(pub Problem);

/// The answer to whoever is not let in, as it goes over the wire.
#[must_use]
pub fn overloaded() -> Vec<u8> {
    let id = RequestId::new();
    let (mut head, body) = Problem::Overloaded.into_response(&id).into_parts();
    head.headers.insert(REQUEST_ID, header_of(id));
    let body = match body {
        ReplyBody::Full(Shared::Here(bytes)) => bytes,
        ReplyBody::Full(Shared::Filed(_)) | ReplyBody::Image(_) => Bytes::new(),
    };
    let mut wire = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            wire.extend_from_slice(part);
        }
    }
    let end = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    wire.extend_from_slice(end.as_bytes());
    wire.extend_from_slice(&body);
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_whole() {
        let wire = String::from_utf8(overloaded()).unwrap();
        let (head, body) = wire.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        for line in [
            "retry-after: 1",
            "connection: close",
            "cache-control: no-store",
            "content-type: application/problem+json",
            &format!("content-length: {}", body.len()),
        ] {
            assert!(head.lines().any(|known| known == line), "{line} in {head}");
        }
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(document["code"], "overloaded");
        let id = document["requestID"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")));
    }
}
