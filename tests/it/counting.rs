//! What is counted of storage, of bytes and of limits.

use std::time::SystemTime;

use http::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::embedded;
use crate::harness::gateway::{Setup, TestGateway, app_file, mint_key, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::raw::Raw;

fn called(operation: &str, outcome: &str) -> String {
    format!(
        "safelight_storage_calls_total{{app=\"shop\",operation=\"{operation}\",outcome=\"{outcome}\"}}"
    )
}

fn bytes(source: &str) -> String {
    format!("safelight_read_bytes_total{{app=\"shop\",source=\"{source}\"}}")
}

fn missing() -> String {
    format!("/darkroom/shop/v2/images/{}", mint_key("shop", SystemTime::now(), "a.jpg"))
}

#[tokio::test]
async fn calls_of_storage_by_what_became_of_them() {
    let storage = embedded::start().await;
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&called("sign", "ok")), 1.0);
    assert_eq!(metrics.value(&called("head", "ok")), 0.0, "nobody has looked yet");
    assert!(
        !metrics.0.contains("safelight_storage_call_seconds_count{app=\"shop\",operation=\"head\"")
    );

    let finalize = gateway.request(Method::POST, grant.text("finalizeURL"));
    finalize.send().await.assert_success();
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&called("head", "ok")), 1.0);
    let timed = "safelight_storage_call_seconds_count{app=\"shop\",operation=\"head\"}";
    assert_eq!(metrics.value(timed), 1.0);
    let looked = metrics.value(&called("get", "ok"));

    gateway.get(grant.public_url()).await.assert_success();
    assert_eq!(gateway.get(&missing()).await.status, 404);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&called("get", "ok")), looked + 1.0);
    assert_eq!(metrics.value(&called("get", "not_found")), 1.0);
}

#[tokio::test]
async fn storage_that_is_not_there() {
    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    assert_eq!(gateway.get(&missing()).await.status, 502);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&called("get", "unavailable")), 1.0);
    assert_eq!(metrics.value(&called("get", "ok")), 0.0);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let file = offline_app_file("", "").replace("http://127.0.0.1:1", &endpoint);
    let gateway = Setup::with_app("shop", file).start().await;
    let mut client = Raw::connect(&gateway.base).await;
    client.send(format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", missing())).await;
    let asked = silent.accept().await.unwrap();
    drop(client);
    gateway.until_counted(&called("get", "cancelled"), 1.0).await;
    let metrics = gateway.metrics().await;
    let timed = "safelight_storage_call_seconds_count{app=\"shop\",operation=\"get\"}";
    assert!(!metrics.0.contains(timed), "how long it would have taken is not known");
    drop(asked);
}

#[tokio::test]
async fn bytes_by_where_they_came_from() {
    let storage = embedded::start().await;
    let setup = Setup::with_app("shop", app_file(&storage, "", ""));
    let gateway = setup.and_settings("[Cache]\nSize = \"64MiB\"\n").start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    #[allow(clippy::cast_precision_loss)] // a photo
    let size = JPEG.bytes.len() as f64;

    for reads in 1..=3 {
        gateway.get(grant.public_url()).await.assert_success();
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.value(&bytes("s3")), size, "fetched once");
        assert_eq!(metrics.value(&bytes("memory")), size * f64::from(reads), "given to each");
    }
    gateway.request(Method::HEAD, grant.public_url()).send().await.assert_success();
    let part = gateway.request(Method::GET, grant.public_url());
    part.with_header("Range", Some("bytes=0-99")).send().await.assert_success();
    assert_eq!(gateway.metrics().await.value(&bytes("memory")), size * 3.0 + 100.0);
}

#[tokio::test]
async fn owners_whose_quota_is_not_full() {
    let gateway: TestGateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    let keys = "safelight_limiter_keys{app=\"shop\",limit=\"owner\"}";
    assert_eq!(gateway.metrics().await.value(keys), 0.0);
    for owner in ["ann", "bob", "ann", "eve"] {
        gateway.presign("shop", owner, json!({"file": "a.jpg"})).await.assert_success();
    }
    assert_eq!(gateway.metrics().await.value(keys), 3.0);
}

#[tokio::test]
async fn the_process_and_its_runtime() {
    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    let metrics = gateway.metrics().await;
    assert!(metrics.value("process_resident_memory_bytes") > 1e6);
    assert!(metrics.value("process_open_fds") > 3.0);
    assert!(metrics.value("process_max_fds") > metrics.value("process_open_fds"));
    assert!(metrics.value("safelight_runtime_workers") >= 1.0);
    assert!(metrics.value("safelight_runtime_alive_tasks") > 0.0);
    let started = SystemTime::UNIX_EPOCH
        + std::time::Duration::from_secs_f64(metrics.value("process_start_time_seconds"));
    assert!(started <= SystemTime::now() + std::time::Duration::from_secs(1), "it has started");
    assert_eq!(metrics.value("safelight_records_queue_length{engine=\"sqlite\"}"), 0.0);
}
