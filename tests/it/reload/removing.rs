//! Files that are deleted: by mistake, for a moment, for good.

use super::{ask, count, file, shop};
use crate::harness::gateway::{Setup, eventually, offline_app_file};

#[tokio::test]
async fn a_file_that_is_back_in_time_was_never_gone() {
    let gateway = shop().start().await;
    let before = gateway.app("shop").await.unwrap();
    gateway.delete_app("shop");
    let missing = gateway.until_app("shop", "missing").await;
    let (since, until) = (missing["missingSince"].as_str(), missing["removedAt"].as_str());
    assert!(since.unwrap() < until.unwrap(), "{missing}");
    assert_eq!(count(&gateway, "missing").await, 1.0);
    ask(&gateway, "shop").await.assert_success();

    gateway.write_app("shop", &file(""));
    assert_eq!(gateway.until_app("shop", "live").await, before);
    assert_eq!(count(&gateway, "missing").await, 0.0);
}

#[tokio::test]
async fn after_the_grace_the_app_is_removed() {
    let with_cdn = offline_app_file("CloudFrontURL = \"http://127.0.0.1:1\"", "");
    let setup = Setup::with_app("shop", with_cdn).and_server("RemovalGrace = \"1s\"");
    let gateway = setup.start().await;
    ask(&gateway, "shop").await.assert_success();
    gateway.delete_app("shop");
    eventually("the app is gone", async || gateway.apps().await.is_empty().then_some(())).await;
    ask(&gateway, "shop").await.assert_problem(404, "unknown_app");
    let metrics = gateway.metrics().await;
    let gauge = |line: &str| line.starts_with("safelight_cdn_breaker_state{app=\"shop\"}");
    assert!(!metrics.0.lines().any(gauge), "an alert would stand on it for ever");
    let presigns = r#"safelight_presigns_total{app="shop",outcome="ok"}"#;
    assert_eq!(metrics.value(presigns), 1.0, "a counter never goes back");

    gateway.write_app("shop", &file(""));
    gateway.until_live("shop", &file("")).await;
    ask(&gateway, "shop").await.assert_success();
    assert_eq!(gateway.metrics().await.value(presigns), 2.0);
}

/// An app that is renamed wants the part of the bucket that it had under its old name.
#[tokio::test]
async fn what_a_removed_app_had_is_free() {
    let gateway = shop().and_server("RemovalGrace = \"2s\"").start().await;
    gateway.write_app("store", &file(""));
    gateway.delete_app("shop");
    gateway.until_app("store", "refused").await;
    gateway.until_live("store", &file("")).await;
    assert!(gateway.app("shop").await.is_none());
    ask(&gateway, "store").await.assert_success();
}
