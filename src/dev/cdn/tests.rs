//! The CDN, as its clients see it: over HTTP, and where it fails, on the bare socket.

mod origin;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::DevCdn;
use super::wire::GARBAGE;
use crate::storage::StorageErrorKind;
use origin::Origin;

/// A running CDN in front of an origin with `a.jpg`, which holds `0123456789`.
struct Running {
    address: SocketAddr,
    origin: Arc<Origin>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// What came over a connection until its end.
struct Exchange {
    bytes: Vec<u8>,
    end: End,
}

async fn start() -> Running {
    let origin = Arc::new(Origin::default());
    origin.put("a.jpg", "0123456789");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cdn = DevCdn::new(Arc::<Origin>::clone(&origin));
    tokio::spawn(cdn.serve(listener, std::future::pending()));
    Running { address, origin }
}

impl Running {
    /// Sends a request and leaves the answer on its way.
    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: cdn\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn exchange(&self, method: &str, path: &str, headers: &str) -> Exchange {
        until_end(self.send(method, path, headers, "").await).await
    }

    async fn get(&self, path: &str, headers: &str) -> Exchange {
        self.exchange("GET", path, headers).await
    }

    async fn order(&self, fault: &str) {
        let reply = until_end(self.send("POST", "/_faults", "", fault).await).await;
        assert_eq!(reply.status(), 201, "{}", reply.body());
    }

    async fn board(&self) -> Value {
        serde_json::from_str(self.get("/_faults", "").await.body()).unwrap()
    }

    /// Waits until so many requests for objects arrived.
    async fn seen(&self, count: u64) {
        while self.board().await["requests"]["seen"] != count {}
    }
}

async fn until_end(mut stream: TcpStream) -> Exchange {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes).await {
        Ok(_) => End::Closed,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            End::Reset
        }
    };
    Exchange { bytes, end }
}

impl Exchange {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    fn status(&self) -> u16 {
        self.text()["HTTP/1.1 ".len()..][..3].parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.text().split("\r\n\r\n").next()?;
        head.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn body(&self) -> &str {
        self.text().split_once("\r\n\r\n").unwrap().1
    }
}

#[tokio::test]
async fn the_first_read_misses_and_the_next_hits() {
    let cdn = start().await;
    let miss = cdn.get("/a.jpg", "").await;
    assert_eq!((miss.status(), miss.body()), (200, "0123456789"));
    assert_eq!(miss.header("x-cache"), Some("Miss from safelight-dev-cdn"));
    assert_eq!(miss.header("age"), None);
    // Another object by the same name: a CDN does not notice.
    cdn.origin.put("a.jpg", "changed");
    for method in ["GET", "HEAD"] {
        let hit = cdn.exchange(method, "/a.jpg", "").await;
        assert_eq!(hit.status(), 200);
        assert_eq!(hit.body(), if method == "GET" { "0123456789" } else { "" });
        assert_eq!(hit.header("x-cache"), Some("Hit from safelight-dev-cdn"));
        assert!(hit.header("age").unwrap().parse::<u64>().is_ok());
        for name in ["etag", "last-modified", "content-type", "content-length", "via"] {
            assert_eq!(hit.header(name), miss.header(name), "{name}");
            assert!(hit.header(name).is_some(), "{name}");
        }
    }
    assert_eq!(cdn.origin.gets(), 1);

    assert_eq!(cdn.exchange("DELETE", "/_cache", "").await.status(), 200);
    assert_eq!(cdn.get("/a.jpg", "").await.body(), "changed");
    let requests = &cdn.board().await["requests"];
    assert_eq!(
        (&requests["seen"], &requests["hit"], &requests["miss"]),
        (&4.into(), &2.into(), &2.into())
    );
}

#[tokio::test]
async fn ranges_on_a_miss_pass_through_and_on_a_hit_are_cut() {
    let cdn = start().await;
    let cases = [
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=4-99", 206, "456789", Some("bytes 4-9/10")),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("bytes=10-", 416, "", Some("bytes */10")),
    ];
    for kept in [false, true] {
        for (range, status, body, content_range) in cases {
            if !kept {
                cdn.exchange("DELETE", "/_cache", "").await;
            }
            let got = cdn.get("/a.jpg", &format!("Range: {range}\r\n")).await;
            assert_eq!(got.status(), status, "{range}, kept: {kept}");
            assert_eq!(got.header("content-range"), content_range, "{range}, kept: {kept}");
            if status != 416 {
                assert_eq!(got.body(), body, "{range}, kept: {kept}");
                let from = if kept { "Hit" } else { "Miss" };
                assert!(got.header("x-cache").unwrap().starts_with(from), "{range}");
            }
        }
        cdn.get("/a.jpg", "").await;
    }
}

#[tokio::test]
async fn conditions_are_evaluated_on_copies() {
    let cdn = start().await;
    let etag = cdn.get("/a.jpg", "").await.header("etag").unwrap().to_owned();
    for (headers, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        ("If-None-Match: \"other\"\r\n".to_owned(), 200),
        (format!("If-Match: {etag}\r\n"), 200),
        ("If-Match: \"other\"\r\n".to_owned(), 412),
        (format!("Range: bytes=0-1\r\nIf-Range: {etag}\r\n"), 206),
        ("Range: bytes=0-1\r\nIf-Range: \"other\"\r\n".to_owned(), 200),
    ] {
        let got = cdn.get("/a.jpg", &headers).await;
        assert_eq!(got.status(), status, "{headers}");
        assert_eq!(got.header("etag"), Some(&*etag));
        if status == 304 {
            assert_eq!((got.body(), got.header("content-length")), ("", None));
        }
    }
}

#[tokio::test]
async fn a_large_object_passes_through_and_is_not_kept() {
    let cdn = start().await;
    let large = "x".repeat((8 << 20) + 1);
    cdn.origin.put("large.png", &large);
    for _ in 0..2 {
        let got = cdn.get("/large.png", "").await;
        assert_eq!(got.header("x-cache"), Some("Miss from safelight-dev-cdn"));
        assert_eq!(got.header("content-length"), Some("8388609"));
        assert!(got.body() == large);
    }
    assert_eq!(cdn.origin.gets(), 2);
}

#[tokio::test]
async fn failures_of_the_origin_are_not_kept() {
    let cdn = start().await;
    let missing = cdn.get("/gone.jpg", "").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.header("x-cache"), Some("Error from safelight-dev-cdn"));
    cdn.origin.put("gone.jpg", "back");
    assert_eq!(cdn.get("/gone.jpg", "").await.body(), "back");

    for (kind, status) in [
        (StorageErrorKind::AccessDenied, 403),
        (StorageErrorKind::Timeout, 504),
        (StorageErrorKind::Unavailable, 502),
        (StorageErrorKind::Credentials, 502),
    ] {
        cdn.origin.fail(Some(kind));
        assert_eq!(cdn.get("/b.jpg", "").await.status(), status, "{kind:?}");
        assert_eq!(cdn.exchange("HEAD", "/b.jpg", "").await.status(), status, "{kind:?}");
        assert_eq!(cdn.get("/gone.jpg", "").await.status(), 200, "copies are still served");
    }
    assert_eq!(cdn.get("/", "").await.status(), 400);
    assert_eq!(cdn.get("/%ff", "").await.status(), 400);
    let put = cdn.exchange("PUT", "/a.jpg", "").await;
    assert_eq!((put.status(), put.header("allow")), (405, Some("GET, HEAD")));

    let requests = &cdn.board().await["requests"];
    for (outcome, count) in [("missing", 1), ("denied", 2), ("origin_failed", 6), ("refused", 3)] {
        assert_eq!(requests[outcome], count, "{outcome}");
    }
}

#[tokio::test]
async fn a_name_is_decoded() {
    let cdn = start().await;
    cdn.origin.put("images/grüße 1.jpg", "hi");
    assert_eq!(cdn.get("/images/gr%C3%BC%C3%9Fe%201.jpg", "").await.body(), "hi");
    cdn.order(r#"{"fault": "status", "status": 500, "path_prefix": "images/grü"}"#).await;
    assert_eq!(cdn.get("/images/gr%C3%BC%C3%9Fe%201.jpg", "").await.status(), 500);
}

#[tokio::test]
async fn a_status_fires_as_often_as_it_was_ordered() {
    let cdn = start().await;
    cdn.origin.put("b/b.jpg", "b");
    cdn.order(r#"{"fault": "status", "status": 429, "retry_after": 7, "count": 2}"#).await;
    cdn.order(r#"{"fault": "status", "status": 302, "location": "/x", "path_prefix": "/b/"}"#)
        .await;
    let first = cdn.get("/a.jpg", "").await;
    assert_eq!((first.status(), first.header("retry-after")), (429, Some("7")));
    assert_eq!(cdn.exchange("HEAD", "/a.jpg", "").await.status(), 429);
    assert_eq!(cdn.get("/a.jpg", "").await.status(), 200);
    for _ in 0..3 {
        let moved = cdn.get("/b/b.jpg", "").await;
        assert_eq!((moved.status(), moved.header("location")), (302, Some("/x")));
    }
    let board = cdn.board().await;
    assert_eq!(board["faults"][0]["fault"], "status");
    assert_eq!(
        (&board["faults"][0]["fired"], &board["faults"][1]["fired"]),
        (&2.into(), &3.into())
    );
    assert_eq!((&board["requests"]["seen"], &board["requests"]["fault"]), (&6.into(), &5.into()));

    assert_eq!(cdn.exchange("DELETE", "/_faults", "").await.status(), 200);
    assert_eq!(cdn.get("/b/b.jpg", "").await.status(), 200);
    let board = cdn.board().await;
    assert_eq!((&board["faults"], &board["requests"]["fault"]), (&Value::Array(vec![]), &5.into()));
}

#[tokio::test]
async fn a_wrong_order_is_told_what_to_write() {
    let cdn = start().await;
    let reply = until_end(cdn.send("POST", "/_faults", "", r#"{"fault":"boom"}"#).await).await;
    assert_eq!(reply.status(), 400);
    assert!(reply.body().contains(r#"{"fault": "reset_body", "after": 1000}"#), "{}", reply.body());
    let long = until_end(cdn.send("POST", "/_faults", "", &" ".repeat(20_000)).await).await;
    assert_eq!(long.status(), 413);
    assert_eq!(cdn.exchange("PATCH", "/_faults", "").await.status(), 405);
    assert_eq!(cdn.exchange("GET", "/_cache", "").await.status(), 405);
}

#[tokio::test]
async fn faults_before_the_head() {
    let cdn = start().await;
    for (fault, bytes, end) in [
        ("close", &b""[..], End::Closed),
        ("reset", b"", End::Reset),
        ("garbage", GARBAGE, End::Closed),
    ] {
        cdn.order(&format!(r#"{{"fault": "{fault}", "count": 2}}"#)).await;
        for method in ["GET", "HEAD"] {
            let got = cdn.exchange(method, "/a.jpg", "").await;
            assert_eq!((&got.bytes[..], got.end), (bytes, end), "{fault} {method}");
        }
        assert_eq!(cdn.get("/a.jpg", "").await.body(), "0123456789", "it is over");
    }
}

#[tokio::test]
async fn silence_lasts_until_the_client_leaves() {
    let cdn = start().await;
    cdn.order(r#"{"fault": "silence"}"#).await;
    let waiting = cdn.send("GET", "/a.jpg", "", "").await;
    cdn.seen(1).await;
    let nothing = waiting.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_body_is_cut_where_it_was_ordered() {
    let cdn = start().await;
    let large = "x".repeat(100_000);
    cdn.origin.put("large.jpg", &large);
    for (fault, end) in [("truncate", End::Closed), ("reset_body", End::Reset)] {
        for (path, after, whole) in [
            ("/a.jpg", 0, "0123456789"),
            ("/a.jpg", 4, "0123456789"),
            ("/large.jpg", 30_000, &large),
        ] {
            let order = format!(r#"{{"fault": "{fault}", "after": {after}, "count": 1}}"#);
            cdn.order(&order).await;
            let head = cdn.exchange("HEAD", path, "").await;
            assert_eq!((head.status(), head.end), (200, End::Closed), "a HEAD has no body to cut");
            let got = cdn.get(path, "").await;
            assert_eq!(got.status(), 200);
            assert_eq!(got.header("content-length"), Some(&*whole.len().to_string()));
            assert!(got.body() == &whole[..after], "{order}: {} bytes", got.body().len());
            assert_eq!(got.end, end, "{order}");
            assert!(cdn.get(path, "").await.body() == whole);
        }
    }
    // A body that is over before the cut is whole.
    cdn.order(r#"{"fault": "truncate", "after": 10, "count": 1}"#).await;
    assert_eq!(cdn.get("/a.jpg", "").await.body(), "0123456789");
}

#[tokio::test]
async fn a_stalled_body_stops_and_the_connection_stays() {
    let cdn = start().await;
    cdn.order(r#"{"fault": "stall", "after": 4}"#).await;
    let mut stalled = cdn.send("GET", "/a.jpg", "", "").await;
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n0123") {
        assert_ne!(stalled.read_buf(&mut got).await.unwrap(), 0, "{}", got.escape_ascii());
    }
    // Another exchange, so that the rest had every occasion to come.
    cdn.seen(1).await;
    let nothing = stalled.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

/// Only that these are not faster than ordered; how late they are is the machine's affair.
#[tokio::test]
async fn slow_and_late_answers_are_right() {
    let cdn = start().await;
    for (fault, at_least) in [
        (r#"{"fault": "trickle", "bytes_per_second": 40, "count": 1}"#, 200),
        (r#"{"fault": "trickle", "bytes_per_second": 1000000, "count": 1}"#, 0),
        (r#"{"fault": "delay", "ms": 50, "count": 1}"#, 50),
    ] {
        cdn.order(fault).await;
        let begun = Instant::now();
        let got = cdn.get("/a.jpg", "").await;
        assert_eq!((got.status(), got.body()), (200, "0123456789"), "{fault}");
        assert!(begun.elapsed() >= Duration::from_millis(at_least), "{fault}");
        assert_eq!(cdn.board().await["faults"].as_array().unwrap().last().unwrap()["fired"], 1);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_until_a_fault_ends_it() {
    let cdn = start().await;
    let mut stream = TcpStream::connect(cdn.address).await.unwrap();
    let request = b"GET /a.jpg HTTP/1.1\r\nHost: cdn\r\n\r\n";
    let mut got = Vec::new();
    for _ in 0..2 {
        got.clear();
        stream.write_all(request).await.unwrap();
        while !got.ends_with(b"0123456789") {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
        }
    }
    cdn.order(r#"{"fault": "close"}"#).await;
    stream.write_all(request).await.unwrap();
    let rest = until_end(stream).await;
    assert_eq!((rest.text(), rest.end), ("", End::Closed));
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_and_the_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let cdn = DevCdn::new(Arc::new(Origin::default()));
    let served = tokio::spawn(cdn.serve(listener, async {
        let _ = stopped.await;
    }));
    let idle = TcpStream::connect(address).await.unwrap();
    stop.send(()).unwrap();
    served.await.unwrap();
    assert_eq!(until_end(idle).await.bytes, b"");
    assert!(TcpStream::connect(address).await.is_err());
}
