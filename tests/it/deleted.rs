//! Deleted keys: 404 without a question to CDN or storage, on every node, and after a restart.

use std::time::Duration;

use http::Method;
use rusqlite::params;

use crate::harness::gateway::{Setup, TestGateway, app_file};
use crate::harness::photos::{JPEG, WEBP};
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{CdnObject, WireCdn};
use safelight::domain::StoragePath;
use safelight::storage::{ObjectStore as _, S3Config};

const KEYS: &str = "safelight_deleted_keys";

/// A gateway, and a CDN that keeps a copy of everything.
struct Scene {
    storage: S3Config,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Scene {
    async fn new(sections: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let cdn = WireCdn::start().await;
        let gateway = setup(&storage, &cdn, sections).start().await;
        Self { storage, cdn, gateway }
    }

    /// An upload that was found good, in storage and at the CDN: its public URL and its key.
    async fn ready(&self) -> (String, String) {
        let grant = self.gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let finalize = self.gateway.request(Method::POST, grant.text("finalizeURL"));
        finalize.send().await.assert_success();
        let store = crate::harness::seaweed::open(self.storage.clone());
        let path = StoragePath::from_listing(&format!("images/{}", grant.key()));
        let meta = store.head(&path).await.unwrap();
        self.cdn.put(&format!("/images/{}", grant.key()), CdnObject::copy_of(&meta, JPEG.bytes));
        (grant.public_url().to_owned(), grant.key().to_owned())
    }

    /// Another node deletes it. Neither CDN nor storage have heard of that.
    fn delete_elsewhere(&self, key: &str) {
        let database = rusqlite::Connection::open(self.gateway.records_file()).unwrap();
        let sql = "UPDATE uploads SET state = 'deleted', updated_at = ?1, revision = revision + 1
                   WHERE key = ?2";
        let now = jiff::Timestamp::now().as_millisecond();
        assert_eq!(database.execute(sql, params![now, key]).unwrap(), 1);
    }

    /// It can only be asked for again and again: nobody is told what a node has heard.
    async fn until_heard(&self, deletions: f64) {
        while self.gateway.metrics().await.value(KEYS) < deletions {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn assert_gone(&self, url: &str) {
        let asked = self.cdn.requests().len();
        for (method, name, value) in [
            (Method::GET, "Accept", "*/*"),
            (Method::HEAD, "Accept", "*/*"),
            (Method::GET, "Range", "bytes=0-9"),
            (Method::GET, "If-None-Match", "*"),
            (Method::GET, "If-Match", "\"another\""),
        ] {
            let request = self.gateway.request(method.clone(), url);
            let answer = request.with_header(name, Some(value)).send().await;
            assert_eq!(answer.status, 404, "{method} {name}");
            assert_eq!(answer.header("cache-control"), "no-store", "{method} {name}");
            assert_eq!(answer.header("cache-status"), "", "{method} {name}: somebody was asked");
        }
        assert_eq!(self.cdn.requests().len(), asked, "the CDN was asked");
    }
}

fn setup(storage: &S3Config, cdn: &WireCdn, sections: &str) -> Setup {
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    Setup::with_app("shop", app_file(storage, &head, sections))
}

#[tokio::test]
async fn a_deletion_by_another_node_is_followed() {
    for sections in ["", "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true"] {
        let scene = Scene::new(sections).await;
        let (gone, gone_key) = scene.ready().await;
        let (stays, _) = scene.ready().await;
        assert_eq!(scene.gateway.get(&gone).await.status, 200);
        assert_eq!(scene.gateway.metrics().await.value(KEYS), 0.0);
        scene.delete_elsewhere(&gone_key);
        scene.until_heard(1.0).await;
        scene.assert_gone(&gone).await;
        let answer = scene.gateway.get(&stays).await;
        assert!(answer.status == 200 && answer.body == JPEG.bytes, "{sections}");
    }
}

#[tokio::test]
async fn a_restart_keeps_it() {
    let scene = Scene::new("").await;
    let (gone, gone_key) = scene.ready().await;
    scene.delete_elsewhere(&gone_key);
    let Scene { storage, cdn, gateway } = scene;
    let gateway = gateway.restart(setup(&storage, &cdn, "")).await;
    let scene = Scene { storage, cdn, gateway };
    // The first read, before anything could be followed.
    scene.assert_gone(&gone).await;
    assert_eq!(scene.gateway.metrics().await.value(KEYS), 1.0);
}

#[tokio::test]
async fn a_gateway_with_deleted_keys_asks_no_record_for_others() {
    let scene = Scene::new("").await;
    let (_, gone_key) = scene.ready().await;
    scene.delete_elsewhere(&gone_key);
    scene.until_heard(1.0).await;
    let photo = Published::photo(&scene.storage, WEBP).await;
    let answer = scene.gateway.get(&photo.path()).await;
    assert!(answer.status == 200 && answer.body == WEBP.bytes);
    assert_eq!(scene.gateway.metrics().await.sum("safelight_record_lookups_total"), 0.0);
}

/// The record would only have confirmed it; everything else is read without one.
#[tokio::test]
async fn it_stays_gone_while_the_record_store_is_down() {
    for sections in ["", "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true"] {
        let scene = Scene::new(sections).await;
        let ((gone, gone_key), (stays, _)) = (scene.ready().await, scene.ready().await);
        assert_eq!(scene.gateway.get(&stays).await.status, 200);
        scene.delete_elsewhere(&gone_key);
        scene.until_heard(1.0).await;
        let database = rusqlite::Connection::open(scene.gateway.records_file()).unwrap();
        database.execute_batch("ALTER TABLE uploads RENAME TO uploads_elsewhere").unwrap();
        scene.assert_gone(&gone).await;
        let answer = scene.gateway.get(&stays).await;
        assert!(answer.status == 200 && answer.body == JPEG.bytes, "{sections}");
    }
}
