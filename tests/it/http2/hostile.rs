//! Frames that no honest client sends. After each attack the gateway serves on, others on their
//! connections and, where the stream alone was wrong, the same client on its own.

use crate::harness::frames::*;
use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::http2_client::{Http2Client, tcp};
use crate::harness::slow_cdn::{PATIENT_READ, SlowCdn};

const NOWHERE: &str = "/nowhere";

/// A gateway, and somebody else's connection to it.
async fn scene() -> (TestGateway, Http2Client) {
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_server(super::H2C).start().await;
    let other = Http2Client::connect(&gateway).await;
    other.get(NOWHERE).await.assert_problem(404, "unknown_route");
    (gateway, other)
}

async fn attack(gateway: &TestGateway) -> Frames {
    Frames::begin(tcp(gateway).await).await
}

/// Others are served, on the connections that they had and on new ones.
async fn assert_healthy(gateway: &TestGateway, other: &Http2Client) {
    other.get(NOWHERE).await.assert_problem(404, "unknown_route");
    gateway.granted("shop", "a.jpg").await;
    gateway.until_in_flight(0.0).await;
}

/// CVE-2023-44487: streams that are reset as soon as they are opened.
#[tokio::test]
async fn rapid_reset() {
    let (gateway, other) = scene().await;
    let mut frames = attack(&gateway).await;
    let mut flood = Vec::new();
    for stream in (1..20_000).step_by(2) {
        flood.extend(get(stream, NOWHERE));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    frames.send(&flood).await;
    assert_eq!(frames.goaway().await, Some(ENHANCE_YOUR_CALM));
    assert_healthy(&gateway, &other).await;
}

/// CVE-2024-27316: a list of headers that does not end.
#[tokio::test]
async fn continuation_flood() {
    let (gateway, other) = scene().await;
    let mut frames = attack(&gateway).await;
    frames.send(&frame(HEADERS, END_STREAM, 1, &hpack(&[(":method", "GET")]))).await;
    let piece = frame(CONTINUATION, 0, 1, &hpack(&[("x-a", &"b".repeat(1000))]));
    frames.send(&piece.repeat(2000)).await;
    let error = frames.goaway().await;
    assert!(matches!(error, Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{error:?}");
    assert_healthy(&gateway, &other).await;
}

/// The same with frames of nothing.
#[tokio::test]
async fn continuations_of_nothing() {
    let (gateway, other) = scene().await;
    let mut frames = attack(&gateway).await;
    frames.send(&frame(HEADERS, END_STREAM, 1, &hpack(&[(":method", "GET")]))).await;
    frames.send(&frame(CONTINUATION, 0, 1, &[]).repeat(10_000)).await;
    let error = frames.goaway().await;
    assert!(matches!(error, Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{error:?}");
    assert_healthy(&gateway, &other).await;
}

#[tokio::test]
async fn headers_over_the_limit() {
    let (gateway, other) = scene().await;
    let mut frames = attack(&gateway).await;
    let big = "b".repeat(15 << 10);
    let mut headers = vec![("host", "h"), ("x-big", &*big)];
    frames.send(&request(1, &headers, NOWHERE)).await;
    let seen = frames.until(HEADERS).await.expect("an answer");
    assert!(seen.has_status(404), "15 KiB are let through: {seen:?}");

    // More than a frame takes: the rest is in a CONTINUATION.
    headers.push(("x-more", &big));
    let mut all = vec![(":method", "GET"), (":scheme", "http"), (":path", NOWHERE)];
    all.extend_from_slice(&headers);
    let block = hpack(&all);
    let (first, rest) = block.split_at(16 << 10);
    frames.send(&frame(HEADERS, END_STREAM, 3, first)).await;
    frames.send(&frame(CONTINUATION, END_HEADERS, 3, rest)).await;
    // 431 has no index: it is told by not being any that has one, or the stream is reset.
    loop {
        let seen = frames.next().await.expect("an answer");
        if seen.stream == 3 {
            let is_refused = seen.kind == RST_STREAM
                || (seen.kind == HEADERS && !seen.has_status(200) && !seen.has_status(404));
            assert!(is_refused, "{seen:?}");
            break;
        }
    }
    assert_healthy(&gateway, &other).await;
}

#[tokio::test]
async fn too_many_streams() {
    let cdn = SlowCdn::start().await;
    let head = format!("CloudFrontURL = \"{}\"", cdn.url);
    let setup = Setup::with_app("shop", offline_app_file(&head, PATIENT_READ));
    let gateway = setup.and_server(super::H2C).start().await;
    let other = Http2Client::connect(&gateway).await;
    let grant = gateway.granted("shop", "a.jpg").await;
    let path = grant.public_url().strip_prefix("https://media.test").unwrap();
    let mut frames = attack(&gateway).await;
    for stream in (1..=201).step_by(2) {
        frames.send(&get(stream, path)).await;
    }
    // The first hundred are being answered; the next one is refused, and may be sent again.
    let refused = frames.until(RST_STREAM).await.expect("it is refused");
    assert_eq!((refused.stream, refused.error()), (201, REFUSED_STREAM));
    drop(frames);
    assert_healthy(&gateway, &other).await;
}

/// Floods of what costs the client nothing and the server an answer.
#[tokio::test]
async fn floods() {
    let (gateway, other) = scene().await;
    for (why, piece) in [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("SETTINGS with a window", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
    ] {
        let mut frames = attack(&gateway).await;
        // Nothing of the answers is read: they may not pile up.
        frames.send(&piece.repeat(200_000)).await;
        drop(frames);
        other.get(NOWHERE).await.assert_problem(404, "unknown_route");
        let mut frames = attack(&gateway).await;
        frames.send(&get(1, NOWHERE)).await;
        assert!(frames.until(HEADERS).await.expect("an answer").has_status(404), "{why}");
    }
    assert_healthy(&gateway, &other).await;
}

/// What comes of a request that is wrong.
enum Outcome {
    /// An answer with this status.
    Status(u16),
    /// Its stream is reset; the connection goes on.
    Reset,
    /// The connection ends: what cannot be a header at all spoils the state of HPACK.
    Ended,
}

#[tokio::test]
async fn requests_that_are_wrong() {
    use Outcome::{Ended, Reset, Status};
    let (gateway, other) = scene().await;
    let mut frames = attack(&gateway).await;
    let mut stream = 1;
    let head = [(":method", "GET"), (":scheme", "http"), (":path", NOWHERE)];
    let and = |more: &[(&'static str, &'static str)]| [&head[..], more].concat();
    for (why, headers, outcome) in [
        ("no authority and no host", and(&[]), Status(400)),
        ("an authority", and(&[(":authority", "h")]), Status(404)),
        ("a host alone", and(&[("host", "h")]), Status(404)),
        ("both, the same", and(&[(":authority", "h"), ("host", "H")]), Status(404)),
        ("both, not the same", and(&[(":authority", "h"), ("host", "i")]), Status(400)),
        ("two hosts", and(&[("host", "h"), ("host", "h")]), Status(400)),
        ("an authority with a user", and(&[(":authority", "u@h")]), Status(400)),
        ("Connection", and(&[(":authority", "h"), ("connection", "close")]), Reset),
        ("Transfer-Encoding", and(&[(":authority", "h"), ("transfer-encoding", "x")]), Reset),
        ("Upgrade", and(&[(":authority", "h"), ("upgrade", "h2c")]), Reset),
        ("TE", and(&[(":authority", "h"), ("te", "gzip")]), Reset),
        ("upper case", and(&[(":authority", "h"), ("X-A", "b")]), Ended),
        ("no path", vec![(":method", "GET"), (":scheme", "http"), (":authority", "h")], Reset),
        ("no method", vec![(":scheme", "http"), (":path", NOWHERE), (":authority", "h")], Reset),
        ("two paths", and(&[(":authority", "h"), (":path", "/")]), Reset),
        ("a pseudo-header behind", and(&[("x-a", "b"), (":authority", "h")]), Reset),
        ("an unknown pseudo-header", and(&[(":authority", "h"), (":secret", "b")]), Ended),
        ("a length without a body", and(&[(":authority", "h"), ("content-length", "5")]), Reset),
    ] {
        frames.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &hpack(&headers))).await;
        let seen = loop {
            let seen = frames.next().await.unwrap_or_else(|| panic!("{why}: it ended"));
            let is_of_it = seen.stream == stream && matches!(seen.kind, HEADERS | RST_STREAM);
            if is_of_it || seen.kind == GOAWAY {
                break seen;
            }
        };
        stream += 2;
        match outcome {
            Status(status) => assert!(seen.has_status(status), "{why}: {seen:?}"),
            Reset => assert_eq!((seen.kind, seen.error()), (RST_STREAM, PROTOCOL_ERROR), "{why}"),
            Ended => {
                assert_eq!((seen.kind, seen.error()), (GOAWAY, PROTOCOL_ERROR), "{why}");
                (frames, stream) = (attack(&gateway).await, 1);
            }
        }
    }
    assert_healthy(&gateway, &other).await;
}

/// What is wrong with the connection ends it, and says so.
#[tokio::test]
async fn connections_that_are_wrong() {
    let (gateway, other) = scene().await;
    for (why, bytes) in [
        ("a frame that is too large", frame(DATA, 0, 1, &[0; (16 << 10) + 1])),
        ("DATA on no stream", frame(DATA, 0, 0, b"x")),
        ("HEADERS on no stream", get(0, NOWHERE)),
        ("a stream of the server's", get(2, NOWHERE)),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("noise in the headers", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 64])),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &[])),
        ("a PING of 7 bytes", frame(PING, 0, 0, &[0; 7])),
    ] {
        let mut frames = attack(&gateway).await;
        frames.send(&bytes).await;
        assert!(frames.goaway().await.is_some_and(|error| error != 0), "{why}");
    }
    assert_healthy(&gateway, &other).await;
}
