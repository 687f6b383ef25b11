//! What an upstream answers: what is taken of it is taken for the same when it is written down plainly,
//! and no byte after it makes a difference.

#![no_main]

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use libfuzzer_sys::fuzz_target;
use safelight::upstream::read_answer;

fuzz_target!(|data: &[u8]| {
    let Some((answer, length)) = read_answer(data) else { return };
    assert!(length <= data.len());
    let (head, body) = answer.into_parts();
    assert!(head.status.as_u16() >= 200, "what announces an answer is none");
    let is_empty = matches!(head.status.as_u16(), 204 | 304);
    let framed = head.headers.contains_key(CONTENT_LENGTH);
    let chunked = head.headers.contains_key(TRANSFER_ENCODING);
    assert!(!(framed && chunked), "its end is told in one way");
    assert!(!chunked || head.version == Version::HTTP_11);
    assert!(!is_empty || body.is_empty());

    if framed || chunked || is_empty {
        let followed = [&data[..length], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"].concat();
        let (again, same) = read_answer(&followed).expect("it was whole");
        assert_eq!((again.body(), same), (&body, length), "what follows is not of it");
        if length > 0 && !is_empty && !body.is_empty() {
            assert!(read_answer(&data[..length - 1]).is_none(), "it was not whole without its end");
        }
    }

    let mut plain = format!("HTTP/1.1 {}\r\n", head.status.as_str()).into_bytes();
    for (name, value) in &head.headers {
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            plain.extend_from_slice(name.as_str().as_bytes());
            plain.extend_from_slice(b": ");
            plain.extend_from_slice(value.as_bytes());
            plain.extend_from_slice(b"\r\n");
        }
    }
    plain.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    plain.extend_from_slice(&body);
    let (again, whole) = read_answer(&plain).expect("it is as plain as can be");
    assert_eq!((again.status(), again.body(), whole), (head.status, &body, plain.len()));
    let framing = [CONTENT_LENGTH, TRANSFER_ENCODING];
    for name in head.headers.keys().filter(|name| !framing.contains(name)) {
        let values = |headers: &HeaderMap| Vec::from_iter(headers.get_all(name).iter().cloned());
        assert_eq!(values(again.headers()), values(&head.headers), "{name}");
    }
});
