//! Requests that no honest client sends, byte for byte. The store of these tests does not exist:
//! whatever asked it would be a 502. After each attack the gateway serves on, and where bytes that
//! follow could be read in two ways, the connection ends.

mod clients;
mod pipelined;
mod slow;
mod slowhttptest;

use http::Method;
use serde_json::json;

use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::raw::{Raw, RawAnswer};

const PRESIGN: &str = "/darkroom/shop/v1/images/presigned-urls";
const GOOD_BODY: &str = r#"{"file":"a.jpg"}"#;

async fn gateway() -> TestGateway {
    Setup::with_app("shop", offline_app_file("", "")).start().await
}

/// The head of a presign request that lacks nothing but its body, with more headers.
fn presign_head(more: &str) -> String {
    format!("POST {PRESIGN} HTTP/1.1\r\nHost: h\r\nX_Owner_Id: owner-1\r\n{more}\r\n")
}

/// What came of the bytes: the first answer, and whether the connection ended after it.
async fn exchange(gateway: &TestGateway, bytes: &[u8]) -> (Option<RawAnswer>, bool) {
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(bytes).await;
    let Some(answer) = raw.answer().await else { return (None, true) };
    // A connection that is still open answers once more; one that is closed does not.
    raw.send("GET /still-open HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let next = raw.answer().await;
    if let Some(next) = &next {
        assert_eq!((next.status, next.code().as_str()), (404, "unknown_route"), "{next:?}");
    }
    (Some(answer), next.is_none())
}

/// It still does its work, and the attack was granted nothing.
async fn assert_healthy(gateway: &TestGateway) {
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(r#"safelight_presigns_total{app="shop",outcome="ok"}"#), 0.0);
    assert_eq!(metrics.sum("safelight_uploads_total"), 0.0);
    gateway.granted("shop", "a.jpg").await;
}

/// An attack: what it is, its bytes, the status and code.
type Row = (&'static str, Vec<u8>, u16, &'static str);

async fn assert_closed_after(rows: Vec<Row>) {
    let gateway = gateway().await;
    for (why, bytes, status, code) in rows {
        let (answer, is_closed) = exchange(&gateway, &bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("{why}: no answer"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{why}: {answer:?}");
        assert!(is_closed, "{why}: the connection is still open");
    }
    assert_healthy(&gateway).await;
}

async fn assert_open_after(rows: Vec<Row>) {
    let gateway = gateway().await;
    for (why, bytes, status, code) in rows {
        let (answer, is_closed) = exchange(&gateway, &bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("{why}: no answer"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{why}: {answer:?}");
        assert!(!is_closed, "{why}: the connection was closed");
    }
    assert_healthy(&gateway).await;
}

fn row(why: &'static str, bytes: impl Into<String>, status: u16, code: &'static str) -> Row {
    (why, bytes.into().into_bytes(), status, code)
}

#[tokio::test]
async fn hosts() {
    assert_closed_after(vec![
        row("no Host", "GET / HTTP/1.1\r\n\r\n", 400, "invalid_request"),
        row("two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400, "invalid_request"),
        row(
            "two Hosts, HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n",
            400,
            "invalid_request",
        ),
        row("no Host, absolute form", "GET http://h/ HTTP/1.1\r\n\r\n", 400, "invalid_request"),
    ])
    .await;
}

#[tokio::test]
async fn lengths_told_in_two_ways() {
    let head = |more: &str| presign_head(more) + "10\r\n" + GOOD_BODY + "\r\n0\r\n\r\n";
    assert_closed_after(vec![
        row(
            "two codings",
            head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
            "invalid_request",
        ),
        row(
            "two codings in a line",
            head("Transfer-Encoding: chunked, chunked\r\n"),
            400,
            "invalid_request",
        ),
        row(
            "a coding that nobody undoes",
            head("Transfer-Encoding: gzip, chunked\r\n"),
            400,
            "invalid_request",
        ),
        row("no chunked", head("Transfer-Encoding: identity\r\n"), 400, "invalid_request"),
        row(
            "chunked, but not last",
            head("Transfer-Encoding: chunked, gzip\r\n"),
            400,
            "invalid_request",
        ),
        row("an unknown coding", head("Transfer-Encoding: xchunked\r\n"), 400, "invalid_request"),
        row(
            "a coding in HTTP/1.0",
            head("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            400,
            "invalid_request",
        ),
        row(
            "the same length twice",
            head("Content-Length: 5\r\nContent-Length: 5\r\n"),
            400,
            "invalid_request",
        ),
        row(
            "two lengths",
            head("Content-Length: 5\r\nContent-Length: 6\r\n"),
            400,
            "invalid_request",
        ),
        row("a list of lengths", head("Content-Length: 5, 6\r\n"), 400, "invalid_request"),
        row("a signed length", head("Content-Length: +5\r\n"), 400, "invalid_request"),
        row("a negative length", head("Content-Length: -5\r\n"), 400, "invalid_request"),
        row("a length in hex", head("Content-Length: 0x10\r\n"), 400, "invalid_request"),
        row(
            "an endless length",
            head("Content-Length: 99999999999999999999\r\n"),
            400,
            "invalid_request",
        ),
    ])
    .await;
}

/// One answer, the connection ends, and nothing that was smuggled behind it is ever answered.
#[tokio::test]
async fn nothing_is_smuggled_between_a_length_and_a_coding() {
    let gateway = gateway().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for (why, framing) in [
        ("length first", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("a long length", "Content-Length: 900\r\nTransfer-Encoding: chunked\r\n"),
        ("no number", "Content-Length: x\r\nTransfer-Encoding: chunked\r\n"),
        ("odd spellings", "cOnTeNt-lEnGtH:0\r\ntransfer-encoding:\tCHUNKED\r\n"),
    ] {
        // Whole and right by the coding: only its framing is wrong.
        let body = format!("10\r\n{GOOD_BODY}\r\n0\r\n\r\n");
        let mut raw = Raw::connect(&gateway.base).await;
        raw.send(presign_head(framing) + &body + smuggled).await;
        let answer = raw.answer().await.unwrap_or_else(|| panic!("{why}: no answer"));
        let got = (answer.status, answer.code(), answer.header("connection"));
        assert_eq!(got, (400, "invalid_request".to_owned(), "close"), "{why}: {answer:?}");
        assert!(raw.is_closed().await, "{why}: a second answer, or an open connection");
    }
    assert_healthy(&gateway).await;
}

#[tokio::test]
async fn chunks_that_are_none() {
    let chunked = |body: &str| presign_head("Transfer-Encoding: chunked\r\n") + body;
    assert_closed_after(vec![
        row("no size", chunked("zz\r\n{}\r\n0\r\n\r\n"), 400, "invalid_request"),
        row("a negative size", chunked("-2\r\n{}\r\n0\r\n\r\n"), 400, "invalid_request"),
        row("an endless size", chunked("fffffffffffffffff\r\n{}"), 400, "invalid_request"),
        row("more than its size", chunked("1\r\n{}\r\n0\r\n\r\n"), 400, "invalid_request"),
        row("a bare line feed", chunked("2\n{}\r\n0\r\n\r\n"), 400, "invalid_request"),
    ])
    .await;
}

#[tokio::test]
async fn heads_that_are_malformed() {
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n");
    assert_closed_after(vec![
        row("noise", "\u{1}\u{2}\u{3}noise\r\n\r\n", 400, "invalid_request"),
        row("bare line feeds", "GET / HTTP/1.1\nHost: h\n\n", 400, "invalid_request"),
        row("a bare line feed among others", with("X-A: b\nX-B: c"), 400, "invalid_request"),
        row(
            "a line of the head of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            400,
            "invalid_request",
        ),
        row(
            "many empty lines",
            "\r\n".repeat(9) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            "invalid_request",
        ),
        row("a name of two words", with("X A: b"), 400, "invalid_request"),
        row("no name", with(": b"), 400, "invalid_request"),
        row(
            "an indented first header",
            "GET / HTTP/1.1\r\n X-A: b\r\nHost: h\r\n\r\n",
            400,
            "invalid_request",
        ),
        row(
            "a target that is none",
            "GET http:/// HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            "invalid_request",
        ),
        row("no version", "GET /\r\n\r\n", 400, "invalid_request"),
        row("another protocol", "GET / HTTP/3.0\r\nHost: h\r\n\r\n", 400, "invalid_request"),
        row("two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400, "invalid_request"),
        row("a space before the colon", with("X-A : b"), 400, "invalid_request"),
        row("a folded line", with("X-A: b\r\n c"), 400, "invalid_request"),
        row("a NUL in a value", with("X-A: b\0c"), 400, "invalid_request"),
        row("a bare carriage return", with("X-A: b\rX-B: c"), 400, "invalid_request"),
        row("a line without a colon", with("nothing"), 400, "invalid_request"),
        row("a space in the path", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400, "invalid_request"),
    ])
    .await;

    // A TLS client at a plain port is told so at once: it waits for an answer to its first bytes.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    assert_closed_after(vec![("a TLS client", hello, 400, "invalid_request")]).await;
}

#[tokio::test]
async fn what_is_too_long() {
    let target =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(length - 1));
    let header = |length: usize| {
        format!("GET / HTTP/1.1\r\nHost: h\r\nX-Big: {}\r\n\r\n", "x".repeat(length))
    };
    let many =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X-A: b\r\n".repeat(count));
    let declared = presign_head("Content-Length: 8193\r\n");
    let expecting = presign_head("Content-Length: 8193\r\nExpect: 100-continue\r\n");
    let chunked = presign_head("Transfer-Encoding: chunked\r\n") + "2001\r\n" + &" ".repeat(0x2001);
    assert_closed_after(vec![
        row("a target over 2 KiB", target(2049), 414, "uri_too_long"),
        row("a query over 2 KiB", target(2049).replace("/xx", "/?x"), 414, "uri_too_long"),
        row("a target over 100 KiB", target(100 << 10), 414, "uri_too_long"),
        row("headers over 16 KiB", header(16 << 10), 431, "headers_too_large"),
        row("headers over 100 KiB", header(100 << 10), 431, "headers_too_large"),
        row("200 headers", many(200), 431, "headers_too_large"),
        row("JSON over 8 KiB, declared and not sent", declared, 413, "body_too_large"),
        row("JSON over 8 KiB, announced", expecting, 413, "body_too_large"),
        row("JSON over 8 KiB in chunks, without an end", chunked, 413, "body_too_large"),
    ])
    .await;
    // What is not even buffered is not read to its end: the answer may be lost with the connection.
    let gateway = gateway().await;
    for bytes in [header(1 << 20), target(1 << 20)] {
        let (answer, is_closed) = exchange(&gateway, bytes.as_bytes()).await;
        assert!(is_closed && answer.is_none_or(|answer| matches!(answer.status, 414 | 431)));
    }
    assert_healthy(&gateway).await;
    assert_open_after(vec![
        row("a target of 2 KiB", target(2048), 404, "unknown_route"),
        row("headers of 15 KiB", header(15 << 10), 404, "unknown_route"),
    ])
    .await;
}

#[tokio::test]
async fn paths_that_would_be_others() {
    let tricks = [
        "../x.jpg",
        "a/../x.jpg",
        "a/..",
        "..",
        ".",
        "./x.jpg",
        "%2e%2e/x.jpg",
        "%2E%2e%2fx.jpg",
        "%252e%252e/x.jpg",
        "..%5cx.jpg",
        "..\\x.jpg",
        "a\\b.jpg",
        "a//b.jpg",
        "/a.jpg",
        "a%2fb.jpg",
        "a%00.jpg",
        "%c0%ae%c0%ae/x.jpg",
        "%c0%af.jpg",
        "%e0%80%af.jpg",
        "%ff.jpg",
    ];
    let foreign = offline_app_file("AcceptForeignKeys = true", "");
    let foreign = foreign.replace("nowhere", "nowhere-else");
    let setup = Setup::with_app("shop", offline_app_file("", "")).and_app("old", foreign);
    let gateway = setup.start().await;
    for trick in tricks {
        for path in [
            format!("/darkroom/shop/v2/images/{trick}"),
            format!("/darkroom/old/v2/images/{trick}"),
            format!("/darkroom/shop/v1/uploads/{trick}"),
            format!("/darkroom/{trick}/v2/images/x.jpg"),
        ] {
            let bytes = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            let (answer, _) = exchange(&gateway, bytes.as_bytes()).await;
            let answer = answer.unwrap_or_else(|| panic!("{path}: no answer"));
            let got = (answer.status, answer.code());
            assert_eq!(got, (400, "invalid_key".to_owned()), "{path}");
        }
    }
    for path in [
        "//darkroom/shop/v1/images/presigned-urls",
        "/darkroom//v1/images/presigned-urls",
        "/darkroom/shop/../shop/v1/images/presigned-urls",
        "/../metrics",
        "/%2e%2e/metrics",
        "/..%2fmetrics",
        "/darkroom/shop/v2/images/a%0d%0aX-Injected:1.jpg",
        "/darkroom/old/v2/images/a%0d%0aX-Injected:1.jpg",
    ] {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let (answer, _) = exchange(&gateway, bytes.as_bytes()).await;
        let answer = answer.unwrap_or_else(|| panic!("{path}: no answer"));
        assert_eq!((answer.status, answer.code()), (400, "invalid_key".to_owned()), "{path}");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(r#"safelight_reads_total{app="old",code="200",source="s3"}"#), 0.0);
    let mut failed = metrics.0.lines().filter(|line| line.contains(r#"code="502""#));
    assert!(failed.all(|line| line.ends_with(" 0")), "a path reached the store");
    assert_healthy(&gateway).await;
}

/// A second spelling of a minted key is no second URL of the image, and asks nobody.
#[tokio::test]
async fn spellings_of_a_minted_key() {
    let gateway = gateway().await;
    let key = gateway.granted("shop", "photo-o.jpg").await.key().to_owned();
    let first = key.chars().next().unwrap();
    let flipped_mac = {
        let last = if &key[25..26] == "0" { "1" } else { "0" };
        format!("{}{last}{}", &key[..25], &key[26..])
    };
    for spelled in [
        key.to_uppercase(),
        key.replace(".jpg", ".JPG"),
        key.replace(".jpg", ".jpeg"),
        key.replace(".jpg", ".png"),
        key.replace("photo", "ph0to"),
        key.replace("-photo", "%2Dphoto"),
        format!("%{:02x}{}", u32::from(first), &key[1..]),
        flipped_mac,
        format!("{key}/"),
        format!("{key}/x"),
        format!("x/{key}"),
        key[..26].to_owned(),
    ] {
        let answer = gateway.get(&format!("/darkroom/shop/v2/images/{spelled}")).await;
        let status = answer.status.as_u16();
        assert!(matches!(status, 400 | 404), "{spelled}: {status}");
        assert_eq!(status == 400, spelled.ends_with('/'), "{spelled}: {status}");
    }
    let itself = gateway.get(&format!("/darkroom/shop/v2/images/{key}")).await;
    itself.assert_problem(502, "storage_failed");
}

#[tokio::test]
async fn methods() {
    let head =
        |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let refused = |why, bytes: String| row(why, bytes, 405, "method_not_allowed");
    let image = "/darkroom/shop/v2/images/x.jpg";
    let rows = vec![
        refused("TRACE", head("TRACE", image)),
        refused("an unknown method", head("BREW", image)),
        refused("a method of WebDAV", head("PROPFIND", "/")),
        refused("a method in lower case", head("get", image)),
        refused("DELETE", head("DELETE", image)),
        refused("an unknown method at no path", head("BREW", "/nowhere")),
        refused("an unknown method at a hostile path", head("BREW", "/../x")),
        refused(
            "an upgrade",
            head("GET", image)
                .replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ),
    ];
    let gateway = gateway().await;
    for (why, bytes, status, code) in rows {
        let (answer, _) = exchange(&gateway, &bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("{why}: no answer"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{why}: {answer:?}");
        assert!(answer.header("allow").contains("GET"), "{why}: {answer:?}");
    }
    // What follows a CONNECT is not HTTP any more for whoever believes that it was accepted.
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert!(!answer.header("allow").is_empty());

    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(head("OPTIONS", image)).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("allow")), (204, "GET, HEAD, OPTIONS"));
    assert_healthy(&gateway).await;
}

#[tokio::test]
async fn expectations() {
    let gateway = gateway().await;
    let length = GOOD_BODY.len();
    for expectation in ["200-ok", "100-continue, x", "x"] {
        let more = format!("Content-Length: {length}\r\nExpect: {expectation}\r\n");
        let (answer, _) = exchange(&gateway, (presign_head(&more) + GOOD_BODY).as_bytes()).await;
        let answer = answer.unwrap_or_else(|| panic!("{expectation}: no answer"));
        let got = (answer.status, answer.code());
        assert_eq!(got, (417, "expectation_failed".to_owned()), "{expectation}");
    }
    assert_healthy(&gateway).await;

    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(presign_head(&format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"))).await;
    assert_eq!(raw.head().await.expect("an interim answer").status, 100);
    raw.send(GOOD_BODY).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn our_own_mark_comes_around() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cdn = format!("CloudFrontURL = \"http://{}\"", listener.local_addr().unwrap());
    let gateway = Setup::with_app("shop", offline_app_file(&cdn, "")).start().await;
    let image = gateway.granted("shop", "a.jpg").await;
    let path = image.public_url().to_owned();
    // The CDN shows what the gateway sent it, and hangs up.
    let mark = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
        }
        String::from_utf8(head).unwrap()
    });
    gateway.get(&path).await;
    let head = mark.await.unwrap();
    let mark = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("cdn-loop").then(|| value.trim().to_owned())
    });
    let mark = mark.unwrap_or_else(|| panic!("no CDN-Loop in {head}"));

    let passed = format!("cloudfront, {mark}; hops=2");
    for (value, status) in [(mark.as_str(), 508), (&passed, 508), ("cloudfront", 502)] {
        let request = gateway.request(Method::GET, &path).with_header("CDN-Loop", Some(value));
        assert_eq!(request.send().await.status, status, "{value}");
    }
}

#[tokio::test]
async fn a_get_with_a_body() {
    let gateway = gateway().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let image = format!("/darkroom/shop/v2/images/{}-a.jpg", "0".repeat(26));
    let head = |framing: &str| format!("GET {image} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n");
    let length = smuggled.len();
    let counted = head(&format!("Content-Length: {length}")) + smuggled;
    let chunked =
        head("Transfer-Encoding: chunked") + &format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    for (why, bytes) in [("counted", counted), ("chunked", chunked)] {
        // One that was drained leaves the connection as it was; `exchange` sees that the next
        // answer is that to the next request.
        let (answer, is_closed) = exchange(&gateway, bytes.as_bytes()).await;
        let answer = answer.unwrap_or_else(|| panic!("{why}: no answer"));
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{why}");
        assert!(!is_closed, "{why}: a short body is drained");
    }
    // A long one that never comes is not waited for.
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(head("Content-Length: 100000000")).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 404);
    assert!(raw.is_closed().await, "the rest of the body would be taken for a request");
    assert_healthy(&gateway).await;
}

#[tokio::test]
async fn headers_that_would_change_the_request_are_ignored() {
    let gateway = gateway().await;
    let mut request = gateway
        .request(Method::POST, PRESIGN)
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(GOOD_BODY);
    for (name, value) in [
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "for=10.0.0.1;host=evil.example;proto=http"),
        ("X-Original-URL", "/metrics"),
        ("X-Rewrite-URL", "/metrics"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X-Request-ID", "made-up"),
        ("Cookie", "owner=another"),
        ("Authorization", "Basic b3duZXI6YW5vdGhlcg=="),
    ] {
        request = request.with_header(name, Some(value));
    }
    let answer = request.send().await;
    answer.assert_success();
    let text = answer.text();
    assert!(!text.contains("evil") && !text.contains("gopher"), "{text}");
    assert_ne!(answer.header("x-request-id"), "made-up");

    let mut raw = Raw::connect(&gateway.base).await;
    raw.send("GET http://127.0.0.1:9090/metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_route"));
}

#[tokio::test]
async fn file_names() {
    let gateway = gateway().await;
    let endless = "x".repeat(4096) + ".jpg";
    for file in [
        "a\r\nX-Injected: 1.jpg",
        "a\0.jpg",
        "\u{202e}gpj.exe.jpg",
        "../../../etc/passwd.jpg",
        "..\\..\\boot.jpg",
        "/absolute.jpg",
        "images/../../x.jpg",
        &endless,
    ] {
        let answer = gateway.presign("shop", "owner-1", json!({"file": file})).await;
        assert_eq!(answer.json()["code"], "invalid_file_name", "{file:?}");
        answer.assert_problem(400, "invalid_file_name");
        assert!(!answer.headers.contains_key("x-injected"));
    }
    assert_healthy(&gateway).await;
    for (file, name) in [
        ("\"><script>alert(1)<.jpg", "script-alert-1"),
        ("'; DROP TABLE uploads; --.jpg", "drop-table-uploads"),
        ("%2e%2e%2fx.jpg", "2e-2e-2fx"),
        ("a%00.jpg", "a-00"),
        ("....jpg", "image"),
        ("x.php.jpg", "x-php"),
        ("écran  café.jpg", "cran-caf"),
        ("CON.jpg", "con"),
    ] {
        let grant = gateway.granted("shop", file).await;
        assert_eq!(&grant.key()[26..], format!("-{name}.jpg"), "{file:?}");
    }
}
