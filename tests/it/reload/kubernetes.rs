//! A ConfigMap as Kubernetes mounts it: every file is a link into `..data`, which is itself a link,
//! and a change is that one link's being swapped.

use std::fs;
use std::os::unix::fs::symlink;

use super::{ask, file, reloads, shop};

#[tokio::test]
async fn the_mount_may_be_swapped_again_and_again() {
    let gateway = shop().start().await;
    let dir = gateway.folder().join("apps.d");
    let publish = |version: &str, text: &str| {
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(dir.join(version).join("shop.toml"), text).unwrap();
        symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    publish("..v1", &file(""));
    symlink("..data/shop.toml", dir.join(".next")).unwrap();
    fs::rename(dir.join(".next"), dir.join("shop.toml")).unwrap();
    gateway.until_counted(&reloads("unchanged"), 1.0).await;

    let read_only = file("").replace("AllowPublicUpload = true", "AllowPublicUpload = false");
    for (version, last, text) in
        [("..v2", "..v1", &read_only), ("..v3", "..v2", &file("")), ("..v4", "..v3", &read_only)]
    {
        publish(version, text);
        fs::remove_dir_all(dir.join(last)).unwrap();
        gateway.until_live("shop", text).await;
    }
    ask(&gateway, "shop").await.assert_problem(403, "public_upload_disabled");
    assert_eq!(gateway.metrics().await.value(&reloads("ok")), 3.0);
}
