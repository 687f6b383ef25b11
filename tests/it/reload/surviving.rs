//! What a reload does not touch: whatever depends on nothing that has changed.

use serde_json::json;

use super::file;
use crate::harness::embedded;
use crate::harness::gateway::{Setup, TestGateway, app_file, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::published::Published;
use crate::harness::wire_cdn::{Act, WireCdn};

const ONE_AN_HOUR: &str = "[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 2\n";

/// How many uploads of this owner are granted, of three.
async fn granted(gateway: &TestGateway, owner: &str) -> usize {
    let mut granted = 0;
    for _ in 0..3 {
        let answer = gateway.presign("shop", owner, json!({"file": "a.jpg"})).await;
        granted += usize::from(answer.status == 200);
    }
    granted
}

#[tokio::test]
async fn quotas_that_are_used_up_stay_used_up() {
    let setup = Setup::with_app("shop", file(ONE_AN_HOUR));
    let gateway = setup.start().await;
    assert_eq!(granted(&gateway, "ann").await, 2);
    let other = file(&format!("{ONE_AN_HOUR}[Upload]\nMaxBytes = \"1MiB\"\n"));
    gateway.write_app("shop", &other);
    gateway.until_live("shop", &other).await;
    let large = json!({"file": "a.jpg", "size": 2 << 20});
    gateway.presign("shop", "bob", large).await.assert_problem(413, "file_too_large");
    assert_eq!(granted(&gateway, "ann").await, 0);

    // Another rate is another limit.
    let wider = other.replace("Burst = 2", "Burst = 3");
    gateway.write_app("shop", &wider);
    gateway.until_live("shop", &wider).await;
    assert_eq!(granted(&gateway, "ann").await, 3);
}

/// The breaker knows the CDN: another CDN is unknown, another timeout changes nothing.
#[tokio::test]
async fn an_open_breaker_stays_open() {
    let (cdn, other) = (WireCdn::start().await, WireCdn::start().await);
    cdn.always(|| Act::status(503));
    let text = |url: &str, timeout: &str| {
        let read = format!(
            "[Read]\nOriginShare = 0\nHedgeAfter = \"off\"\nFirstByteTimeout = \"{timeout}\"\n"
        );
        offline_app_file(&format!("CloudFrontURL = \"{url}\""), &read)
    };
    let gateway = Setup::with_app("shop", text(&cdn.url(), "1m")).start().await;
    let image = gateway.granted("shop", "a.jpg").await;
    for _ in 0..5 {
        // Storage does not exist either.
        gateway.get(image.public_url()).await.assert_problem(502, "storage_failed");
    }
    let breaker =
        async || gateway.metrics().await.value(r#"safelight_cdn_breaker_state{app="shop"}"#);
    assert_eq!(breaker().await, 2.0);
    for (what, text, state) in [
        ("another timeout", text(&cdn.url(), "2m"), 2.0),
        ("another limit", format!("{}{ONE_AN_HOUR}", text(&cdn.url(), "2m")), 2.0),
        ("another CDN", text(&other.url(), "2m"), 0.0),
    ] {
        gateway.write_app("shop", &text);
        gateway.until_live("shop", &text).await;
        assert_eq!(breaker().await, state, "{what}");
    }
    let none = file("");
    gateway.write_app("shop", &none);
    gateway.until_live("shop", &none).await;
    assert!(!gateway.metrics().await.0.contains("safelight_cdn_breaker_state{"));
}

/// What is in memory is served on, and the tokens of uploads go on working.
#[tokio::test]
async fn memory_and_uploads_are_as_they_were() {
    let storage = embedded::start().await;
    let photo = Published::photo(&storage, JPEG).await;
    let cdn = WireCdn::start().await;
    cdn.put(&photo.cdn_path(), photo.copy().and("Cache-Control", "max-age=1000"));
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    let text = app_file(&storage, &head, "[Read]\nOriginShare = 0\nHedgeAfter = \"off\"\n");
    let setup = Setup::with_app("shop", text.clone()).and_settings("[Cache]\nSize = \"4MiB\"");
    let gateway = setup.start().await;
    let upload = gateway.uploaded("shop", "a.jpg", JPEG.bytes).await;
    gateway.get(&photo.path()).await.assert_success();

    let changed = format!("{text}{ONE_AN_HOUR}");
    gateway.write_app("shop", &changed);
    gateway.until_live("shop", &changed).await;
    let answer = gateway.get(&photo.path()).await;
    answer.assert_success();
    assert_eq!(answer.header("cache-status"), "safelight; hit");
    assert_eq!(cdn.requests().len(), 1);
    assert_eq!(gateway.status("shop", &upload).await["state"], "pending");
}
