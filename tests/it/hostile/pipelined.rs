//! Requests that were sent before the last one was answered: all of them are answered in their
//! order, up to the first that is refused, and nothing after it.

use super::*;

const MISSING: &str = "GET /missing HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn good_ones_are_answered_in_their_order() {
    let gateway = gateway().await;
    let length = GOOD_BODY.len();
    let counted = presign_head(&format!("Content-Length: {length}\r\n")) + GOOD_BODY;
    let chunked = presign_head("Transfer-Encoding: chunked\r\n")
        + &format!("{length:x}\r\n{GOOD_BODY}\r\n0\r\n\r\n");
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send([MISSING, &counted, MISSING, &chunked, MISSING, MISSING].concat()).await;
    for status in [404, 200, 404, 200, 404, 404] {
        assert_eq!(raw.answer().await.expect("an answer").status, status);
    }
}

#[tokio::test]
async fn nothing_is_served_after_one_that_is_refused() {
    let gateway = gateway().await;
    let big = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(16 << 10));
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(2048));
    let both = presign_head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n";
    let chunks = presign_head("Transfer-Encoding: chunked\r\n") + "1\r\n{}\r\n0\r\n\r\n";
    let large = presign_head("Content-Length: 8193\r\n");
    for (why, refused, status) in [
        ("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        ("two framings", &both, 400),
        ("a bad chunk", &chunks, 400),
        ("a bare line feed", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        ("a folded line", "GET / HTTP/1.1\r\nHost: h\r\n i\r\n\r\n", 400),
        ("headers that are too large", &big, 431),
        ("a target that is too long", &long, 414),
        ("a body that is too large", &large, 413),
    ] {
        let mut raw = Raw::connect(&gateway.base).await;
        raw.send([MISSING, refused, MISSING, MISSING].concat()).await;
        let first = raw.answer().await.unwrap_or_else(|| panic!("{why}: no first answer"));
        assert_eq!((first.status, first.header("connection")), (404, ""), "{why}");
        let second = raw.answer().await.unwrap_or_else(|| panic!("{why}: no second answer"));
        assert_eq!((second.status, second.header("connection")), (status, "close"), "{why}");
        assert!(raw.is_closed().await, "{why}: what came after it was served");
    }
    assert_healthy(&gateway).await;
}

/// A body is never taken for a request, however much it looks like one.
#[tokio::test]
async fn bodies_that_look_like_requests() {
    let gateway = gateway().await;
    let length = MISSING.len();
    let counted = presign_head(&format!("Content-Length: {length}\r\n")) + MISSING;
    let chunked = presign_head("Transfer-Encoding: chunked\r\n")
        + &format!("{length:x}\r\n{MISSING}\r\n0\r\nGET: / HTTP/1.1\r\n\r\n");
    let mut raw = Raw::connect(&gateway.base).await;
    for post in [counted, chunked] {
        raw.send(post).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_json"));
    }
    raw.send(MISSING).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 404);
}
