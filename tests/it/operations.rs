//! What an operator sees: health, readiness, apps and metrics on the admin listener, and the caps
//! that keep a gateway alive.

mod draining;

use http::Method;
use serde_json::json;

use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::Program;
use crate::harness::raw::Raw;
use crate::harness::slow_cdn::{FIRST_HALF, PATIENT_READ, SlowCdn};

async fn admin(gateway: &TestGateway, method: Method, path: &str) -> Answer {
    Plain::new(method, format!("{}{path}", gateway.admin)).send().await
}

#[tokio::test]
async fn the_admin_listener() {
    let cdn = "CloudFrontURL = \"http://127.0.0.1:1\"";
    let read_only = offline_app_file(cdn, "").replace("AllowPublicUpload = true", "");
    let gateway = Setup::with_app("shop", offline_app_file("", ""))
        .and_app("archive", read_only.replace("nowhere", "elsewhere"))
        .start()
        .await;
    for (path, text) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let answer = admin(&gateway, Method::GET, path).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, text));
        let head = admin(&gateway, Method::HEAD, path).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    }
    let apps = admin(&gateway, Method::GET, "/apps").await;
    let mut apps = apps.json();
    for app in apps.as_array_mut().unwrap() {
        let app = app.as_object_mut().unwrap();
        assert_eq!(app.remove("fingerprint").unwrap().as_str().unwrap().len(), 16);
        assert!(app.remove("since").unwrap().as_str().unwrap().ends_with('Z'));
        let file = format!("apps.d/{}.toml", app["app"].as_str().unwrap());
        assert!(app.remove("file").unwrap().as_str().unwrap().ends_with(&file));
    }
    let expected = json!([
        {"app": "archive", "storage": "s3", "cdn": true, "uploads": false, "state": "live"},
        {"app": "shop", "storage": "s3", "cdn": false, "uploads": true, "state": "live"},
    ]);
    assert_eq!(apps, expected, "and nothing of what is secret");
    let metrics = admin(&gateway, Method::GET, "/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(admin(&gateway, Method::GET, "/darkroom/shop/v2/images/x").await.status, 404);
    assert_eq!(admin(&gateway, Method::GET, "/").await.status, 404);
    for path in ["/metrics", "/livez"] {
        let answer = admin(&gateway, Method::POST, path).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, HEAD"));
    }
}

/// What a shell gives is meant for programs of old that cannot tell more than 1,024 sockets apart.
#[cfg(target_os = "linux")]
#[test]
fn it_takes_as_many_descriptors_as_it_may() {
    let (_folder, settings) = Setup::with_app("shop", offline_app_file("", "")).files();
    let mut program = Program::serve_with_descriptors(&settings, 300, 2_000);
    program.addresses();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limits: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(limits, [2_000, 2_000], "{line}");
    program.terminate();
    assert_eq!(program.ended().code, Some(0));
}

#[tokio::test]
async fn the_world_sees_nothing_of_it() {
    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    for path in ["/metrics", "/livez", "/readyz", "/apps", "/darkroom/shop/metrics"] {
        gateway.get(path).await.assert_problem(404, "unknown_route");
    }
}

#[tokio::test]
async fn the_counters_of_an_app_are_there_from_the_start() {
    let cdn = offline_app_file("CloudFrontURL = \"http://127.0.0.1:1\"", "");
    let gateway = Setup::with_app("shop", cdn)
        .and_app("plain", offline_app_file("", "").replace("nowhere", "elsewhere"))
        .start()
        .await;
    let metrics = gateway.metrics().await;
    for series in [
        r#"safelight_presigns_total{app="shop",outcome="ok"}"#,
        r#"safelight_presigns_total{app="shop",outcome="rate_limited"}"#,
        r#"safelight_presigns_total{app="plain",outcome="records_unavailable"}"#,
        r#"safelight_uploads_total{app="shop",state="pending"}"#,
        r#"safelight_uploads_total{app="shop",state="failed"}"#,
        r#"safelight_rate_limited_total{app="shop",limit="owner"}"#,
        r#"safelight_rate_limited_total{app="shop",limit="app"}"#,
        r#"safelight_reads_total{app="shop",code="200",source="cdn"}"#,
        r#"safelight_reads_total{app="shop",code="200",source="s3"}"#,
        r#"safelight_reads_total{app="plain",code="200",source="s3"}"#,
        r#"safelight_cdn_requests_total{app="shop",outcome="ok"}"#,
        r#"safelight_cdn_requests_total{app="shop",outcome="timeout"}"#,
        r#"safelight_streams_healed_total{app="shop",reason="stall"}"#,
        r#"safelight_streams_aborted_total{app="shop",cause="changed"}"#,
    ] {
        assert_eq!(metrics.value(series), 0.0, "{series}");
    }
    for reason in ["connect", "tls", "timeout", "status_5xx", "status_404", "protocol"] {
        for result in ["served", "missing", "failed"] {
            assert_eq!(metrics.fallbacks("shop", reason, result), 0.0);
        }
    }
    let of_another = |line: &str| line.starts_with("safelight_cdn_") && line.contains("\"plain\"");
    assert!(!metrics.0.lines().any(of_another), "an app without a CDN has no series for one");
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("SAFELIGHT_COMMIT").unwrap_or("unknown");
    let build = format!("safelight_build_info{{commit=\"{commit}\",version=\"{version}\"}}");
    assert_eq!(metrics.value(&build), 1.0);
}

/// A gateway whose CDN sends half of every image, and the path of one.
async fn slow(settings: &str) -> (SlowCdn, TestGateway, String) {
    let cdn = SlowCdn::start().await;
    let file = offline_app_file(&format!("CloudFrontURL = \"{}\"", cdn.url), PATIENT_READ);
    let gateway = Setup::with_app("shop", file).and_settings(settings).start().await;
    let image = gateway.granted("shop", "a.jpg").await;
    let path = gateway.local(image.public_url());
    let path = path.strip_prefix(&gateway.base).unwrap().to_owned();
    (cdn, gateway, path)
}

/// Begins a read and leaves it in the middle of its body.
async fn begin_reading(gateway: &TestGateway, path: &str) -> Raw {
    let mut reader = Raw::connect(&gateway.base).await;
    reader.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    assert_eq!(reader.head().await.expect("an answer").status, 200);
    reader.body(FIRST_HALF).await;
    reader
}

/// Waits until a metric has a value: it can only be asked for again and again.
async fn until(gateway: &TestGateway, series: &str, value: f64) {
    while gateway.metrics().await.value(series) != value {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_beyond_the_cap_is_told_to_come_again() {
    let (cdn, gateway, path) = slow("[Limits]\nMaxConcurrentRequests = 1").await;
    until(&gateway, "safelight_requests_in_flight", 0.0).await;
    let mut reader = begin_reading(&gateway, &path).await;
    assert_eq!(gateway.metrics().await.value("safelight_requests_in_flight"), 1.0);

    for answer in [
        gateway.get(&path).await,
        gateway.get("/nowhere").await,
        gateway.presign("shop", "owner-1", json!({"file": "a.jpg"})).await,
    ] {
        answer.assert_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(gateway.metrics().await.value(r#"safelight_overloaded_total{cap="requests"}"#), 3.0);
    // Pages can read that: their preflights are answered all the same.
    let page = |method: Method| {
        let request = gateway.request(method, "/darkroom/shop/v1/images/presigned-urls");
        request.with_header("Origin", Some("https://www.shop.example"))
    };
    assert_eq!(page(Method::OPTIONS).send().await.status, 204);
    assert_eq!(page(Method::POST).send().await.header("access-control-allow-origin"), "*");
    // The operator still gets in, and the gateway is still one to send requests to.
    assert_eq!(admin(&gateway, Method::GET, "/readyz").await.status, 200);

    cdn.release();
    let rest = reader.body(JPEG.bytes.len() - FIRST_HALF).await;
    assert!(rest == JPEG.bytes[FIRST_HALF..], "the read that was there first is not harmed");
    until(&gateway, "safelight_requests_in_flight", 0.0).await;
    gateway.get(&path).await.assert_success();
}

#[tokio::test]
async fn a_client_that_hangs_up_gives_its_place_back() {
    let (_cdn, gateway, path) = slow("[Limits]\nMaxConcurrentRequests = 1").await;
    until(&gateway, "safelight_requests_in_flight", 0.0).await;
    for _ in 0..3 {
        drop(begin_reading(&gateway, &path).await);
        until(&gateway, "safelight_requests_in_flight", 0.0).await;
    }
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_told_to_come_again() {
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_settings("[Limits]\nMaxConnections = 2").start().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(&gateway.base).await;
        raw.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.answer().await.expect("an answer").status, 404);
        held.push(raw);
    }
    assert_turned_away(Raw::connect(&gateway.base).await).await;
    let closed = r#"safelight_overloaded_total{cap="connections"}"#;
    assert_eq!(gateway.metrics().await.value(closed), 1.0);

    // Those that were there go on, and a place that is given back is free again.
    held[0].send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(held[0].answer().await.expect("an answer").status, 404);
    held.pop();
    loop {
        let mut next = Raw::connect(&gateway.base).await;
        next.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").await;
        match next.answer().await {
            Some(answer) if answer.status == 404 => break,
            answer => assert_eq!(answer.expect("an answer").status, 503),
        }
    }
}

/// One that is not let in: it is told so before it has asked for anything.
async fn assert_turned_away(mut raw: Raw) {
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    let headers = ["retry-after", "connection", "cache-control"].map(|name| answer.header(name));
    assert_eq!(headers, ["1", "close", "no-store"]);
    raw.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(raw.is_closed().await);
}

/// Has a request answered on it.
async fn use_it(raw: &mut Raw) {
    raw.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").status, 404);
}

#[tokio::test]
async fn a_client_has_only_so_many_connections() {
    let gateway = Setup::with_app("shop", offline_app_file("", ""))
        .and_server("TrustedProxies = [\"127.0.0.3/32\"]")
        .and_settings("[Limits]\nMaxConnectionsPerIP = 2")
        .start()
        .await;
    let mut held = Vec::new();
    // Another client, and a proxy that brings many.
    for (from, count) in [("127.0.0.1", 2), ("127.0.0.2", 2), ("127.0.0.3", 5)] {
        for _ in 0..count {
            let mut raw = Raw::connect_from(from, &gateway.base).await;
            use_it(&mut raw).await;
            held.push(raw);
        }
    }
    for from in ["127.0.0.1", "127.0.0.2"] {
        assert_turned_away(Raw::connect_from(from, &gateway.base).await).await;
    }
    let refused = r#"safelight_overloaded_total{cap="connections_per_ip"}"#;
    assert_eq!(gateway.metrics().await.value(refused), 2.0);
    for raw in &mut held {
        use_it(raw).await;
    }
}

/// Without a word on who stands in front, one address may be that of everybody.
#[tokio::test]
async fn where_nobody_says_who_stands_in_front_nobody_is_counted() {
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_settings("[Limits]\nMaxConnectionsPerIP = 1").start().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(&gateway.base).await;
        use_it(&mut raw).await;
        held.push(raw);
    }
}
