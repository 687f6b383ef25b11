//! The reads that go to storage in any case, so that the way of every fallback is in daily use.

use std::time::SystemTime;

use safelight::storage::S3Config;
use url::Url;

use super::{Scene, assert_from_cdn};
use crate::harness::dead_ends::nobody;
use crate::harness::gateway::{Metrics, mint_key};
use crate::harness::photos;
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;

fn shared(metrics: &Metrics, result: &str) -> f64 {
    metrics.value(&format!("safelight_origin_share_total{{app=\"shop\",result=\"{result}\"}}"))
}

#[tokio::test]
async fn storage_serves_its_share_and_that_is_no_fallback() {
    let scene = Scene::new("OriginShare = 1\n").await;
    for _ in 0..5 {
        let answer = scene.read().await;
        assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=storage");
    }
    assert_eq!(scene.asked(), 0, "the CDN is spared");
    let metrics = scene.gateway.metrics().await;
    assert_eq!(shared(&metrics, "served"), 5.0);
    assert_eq!(metrics.sum("safelight_origin_share_total"), 5.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
    let reads = "safelight_reads_total{app=\"shop\",code=\"200\",source=\"s3\"}";
    assert_eq!(metrics.value(reads), 5.0);
}

#[tokio::test]
async fn the_share_is_as_large_as_it_says() {
    let scene = Scene::new("OriginShare = 0.25\n").await;
    scene.reads(40).await;
    let metrics = scene.gateway.metrics().await;
    let to_storage = shared(&metrics, "served");
    assert!((9.0..=11.0).contains(&to_storage), "{to_storage} of 40");
    let asked = f64::from(u32::try_from(scene.asked()).unwrap());
    assert_eq!(asked + to_storage, 40.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
}

#[tokio::test]
async fn a_broken_storage_costs_no_read() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let endpoint = Some(Url::parse(&nobody()).unwrap());
    let dead = S3Config { endpoint, ..storage };
    let scene = Scene::on(&dead, photo, "OriginShare = 1\n").await;
    for _ in 0..3 {
        assert_from_cdn(&scene.read().await);
    }
    let metrics = scene.gateway.metrics().await;
    // It is told, so that it is known before the CDN fails too.
    assert_eq!(shared(&metrics, "failed"), 3.0);
    assert_eq!(metrics.sum("safelight_origin_share_total"), 3.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
}

#[tokio::test]
async fn what_nobody_has_is_missing() {
    let scene = Scene::new("OriginShare = 1\n").await;
    let key = mint_key("shop", SystemTime::now(), "never.jpg");
    let answer = scene.gateway.get(&format!("/darkroom/shop/v2/images/{key}")).await;
    answer.assert_problem(404, "not_found");
    assert_eq!(shared(&scene.gateway.metrics().await, "missing"), 1.0);
}
