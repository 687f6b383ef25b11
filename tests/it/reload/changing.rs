//! Changes that are taken up.

use std::fs;

use super::{ask, count, file, file_in, reloads, shop};

#[tokio::test]
async fn a_changed_value_is_in_force() {
    let gateway = shop().start().await;
    ask(&gateway, "shop").await.assert_success();
    let before = gateway.app("shop").await.unwrap();
    assert_eq!(before["state"], "live");
    assert_eq!(before["uploads"], true);

    let changed = file("").replace("AllowPublicUpload = true", "");
    gateway.write_app("shop", &changed);
    let after = gateway.until_live("shop", &changed).await;
    assert_eq!(after["uploads"], false);
    ask(&gateway, "shop").await.assert_problem(403, "public_upload_disabled");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&reloads("ok")), 1.0);
    assert_eq!(metrics.sum("safelight_config_reloads_total"), 1.0);
    assert_eq!(count(&gateway, "live").await, 1.0);
}

/// What is the same is not touched: another date would tell of another version.
#[tokio::test]
async fn a_comment_is_no_new_version() {
    let gateway = shop().and_app("blog", file_in("elsewhere")).start().await;
    let (shop, blog) = (gateway.app("shop").await.unwrap(), gateway.app("blog").await.unwrap());
    let commented = format!("# a word\n{}", file(""));
    gateway.write_app("shop", &commented);
    let after = gateway.until_live("shop", &commented).await;
    assert_eq!(after["since"], shop["since"]);
    assert_eq!(gateway.app("blog").await.unwrap(), blog);
}

#[tokio::test]
async fn a_new_app_is_served_and_counted_from_zero() {
    let gateway = shop().start().await;
    ask(&gateway, "blog").await.assert_problem(404, "unknown_app");
    let blog = file_in("elsewhere");
    gateway.write_app("blog", &blog);
    gateway.until_live("blog", &blog).await;
    let presigns = r#"safelight_presigns_total{app="blog",outcome="ok"}"#;
    assert_eq!(gateway.metrics().await.value(presigns), 0.0);
    ask(&gateway, "blog").await.assert_success();
    assert_eq!(gateway.metrics().await.value(presigns), 1.0);
    ask(&gateway, "shop").await.assert_success();
    assert_eq!(count(&gateway, "live").await, 2.0);
}

/// The text of the file stays the same: only the secret that it names is another one.
#[tokio::test]
async fn a_rotated_secret_is_a_new_version() {
    let text = file("").replace("\"no-secret\"", "\"file:key\"");
    let gateway = super::Setup::with_app("shop", text).and_secret("shop/key", "one").start().await;
    let signature = async || {
        let url = ask(&gateway, "shop").await.json()["data"]["uploadURL"].to_string();
        assert!(url.contains("X-Amz-Signature"), "{url}");
    };
    signature().await;
    fs::write(gateway.folder().join("secrets/shop/key"), "two\n").unwrap();
    gateway.until_counted(&reloads("ok"), 1.0).await;
    signature().await;

    fs::remove_file(gateway.folder().join("secrets/shop/key")).unwrap();
    let refused = gateway.until_app("shop", "refused").await;
    let told = refused["errors"][0].as_str().unwrap();
    assert!(told.contains("{SecretsDir}/shop/key cannot be read"), "{told}");
    signature().await;
    fs::write(gateway.folder().join("secrets/shop/key"), "three").unwrap();
    gateway.until_app("shop", "live").await;
}
