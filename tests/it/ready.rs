//! `ServeOnlyReady`: nobody sees an upload before it was found good, and what was found good is what
//! everybody sees, whatever the CDN or storage have by now.

mod changed;
mod mismatch;
mod outages;

use bytes::Bytes;
use http::Method;
use safelight::domain::StoragePath;
use safelight::storage::{ObjectStore as _, S3Config};

use crate::harness::gateway::{Grant, Setup, TestGateway, app_file, mint_key, offline_app_file};
use crate::harness::photos::{JPEG, PNG, Photo, WEBP};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::seaweed::{Seaweed, open};
use crate::harness::wire_cdn::{CdnObject, WireCdn};

/// Only what is ready, and limits that no loaded machine reaches.
const ONLY_READY: &str = "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true\n\
                          [Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";

/// Every kind of read: the method, a header, and what it makes of the whole object.
const KINDS: [(Method, &str, &str); 5] = [
    (Method::GET, "Accept", "*/*"),
    (Method::HEAD, "Accept", "*/*"),
    (Method::GET, "Range", "bytes=5-9"),
    (Method::GET, "If-None-Match", "\"another\""),
    (Method::GET, "If-Match", "*"),
];

/// A gateway of the app `shop`, and its CDN.
struct Scene {
    storage: S3Config,
    cdn: WireCdn,
    gateway: TestGateway,
}

/// An upload that has arrived.
struct Upload {
    grant: Grant,
}

impl Scene {
    async fn new() -> Self {
        let storage = Seaweed::shared().await.config();
        let cdn = WireCdn::start().await;
        let head = format!("CloudFrontURL = \"{}\"", cdn.url());
        let file = app_file(&storage, &head, ONLY_READY);
        let gateway = Setup::with_app("shop", file).start().await;
        Self { storage, cdn, gateway }
    }

    /// An upload that has arrived, of which the CDN has a copy.
    async fn uploaded(&self, photo: Photo) -> Upload {
        let grant = self.gateway.uploaded("shop", photo.file, photo.bytes).await;
        let meta = open(self.storage.clone()).head(&path_of(&grant)).await.unwrap();
        let copy = CdnObject::copy_of(&meta, Bytes::from_static(photo.bytes));
        self.cdn.put(&format!("/images/{}", grant.key()), copy);
        Upload { grant }
    }

    /// An upload that was found good.
    async fn ready(&self, photo: Photo) -> Upload {
        let upload = self.uploaded(photo).await;
        self.finalize(&upload).await.assert_success();
        upload
    }

    async fn finalize(&self, upload: &Upload) -> Answer {
        self.gateway.request(Method::POST, upload.grant.text("finalizeURL")).send().await
    }

    fn request(&self, upload: &Upload) -> Plain {
        self.gateway.request(Method::GET, upload.grant.public_url())
    }

    async fn read(&self, upload: &Upload) -> Answer {
        self.request(upload).send().await
    }

    /// Reads it in every way, and gives each answer with the name of the way.
    async fn read_in_every_way(&self, upload: &Upload) -> Vec<(String, Answer)> {
        let mut answers = Vec::new();
        for (method, name, value) in KINDS {
            let request = self.gateway.request(method.clone(), upload.grant.public_url());
            let answer = request.with_header(name, Some(value)).send().await;
            answers.push((format!("{method} {name}: {value}"), answer));
        }
        answers
    }

    /// Puts other bytes in its place, past every grant.
    async fn overwrite(&self, upload: &Upload, photo: Photo) {
        let bytes = Bytes::from_static(photo.bytes);
        open(self.storage.clone())
            .put(&path_of(&upload.grant), photo.content_type, bytes)
            .await
            .unwrap();
    }

    /// The database itself, as another node or an operator has it.
    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.gateway.records_file()).unwrap()
    }

    async fn metric(&self, series: &str) -> f64 {
        self.gateway.metrics().await.value(series)
    }

    fn asked_cdn(&self) -> usize {
        self.cdn.requests().len()
    }
}

fn path_of(grant: &Grant) -> StoragePath {
    StoragePath::from_listing(&format!("images/{}", grant.key()))
}

/// Nobody was asked, and nobody keeps it.
#[track_caller]
fn assert_local_404(answer: &Answer, how: &str) {
    assert_eq!(answer.status, 404, "{how}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store", "{how}");
    assert_eq!(answer.header("cache-status"), "", "{how}: somebody was asked");
    assert!(!answer.headers.contains_key("etag"), "{how}");
    if !how.starts_with("HEAD") {
        answer.assert_problem(404, "not_found");
    }
}

/// The photo as it was uploaded, as each kind of read has it.
#[track_caller]
fn assert_photo(answer: &Answer, photo: Photo, how: &str) {
    let (status, bytes) = match how {
        _ if how.contains("Range") => (206, &photo.bytes[5..=9]),
        _ if how.starts_with("HEAD") => (200, &b""[..]),
        _ => (200, photo.bytes),
    };
    assert_eq!(answer.status, status, "{how}: {}", answer.text());
    assert!(answer.is_whole && answer.body == bytes, "{how}: other bytes");
    assert_eq!(answer.header("content-type"), photo.content_type, "{how}");
    if how.starts_with("HEAD") {
        assert_eq!(answer.header("content-length"), photo.bytes.len().to_string(), "{how}");
    }
}

#[tokio::test]
async fn what_is_not_ready_is_a_local_404() {
    let scene = Scene::new().await;
    let upload = scene.uploaded(JPEG).await;
    for (how, answer) in scene.read_in_every_way(&upload).await {
        assert_local_404(&answer, &how);
    }
    let never = mint_key("shop", std::time::SystemTime::now(), "a.jpg");
    let answer = scene.gateway.get(&format!("/darkroom/shop/v2/images/{never}")).await;
    assert_local_404(&answer, "a key without a record");
    assert_eq!(scene.asked_cdn(), 0, "the CDN learned of it");
    let none = "safelight_reads_total{app=\"shop\",code=\"404\",source=\"none\"}";
    assert_eq!(scene.metric(none).await, 6.0);
    assert_eq!(scene.gateway.metrics().await.sum("safelight_cdn_fallbacks_total"), 0.0);
}

/// Storage that is not there would be a 502.
#[tokio::test]
async fn storage_is_not_asked_either() {
    let file = offline_app_file("", ONLY_READY);
    let gateway = Setup::with_app("shop", file).start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    assert_local_404(&gateway.get(grant.public_url()).await, "pending");
}

#[tokio::test]
async fn what_failed_is_not_served_from_the_cdns_copy() {
    let scene = Scene::new().await;
    let text = Photo { bytes: b"no photo, whatever its name says", ..JPEG };
    let upload = scene.uploaded(text).await;
    scene.finalize(&upload).await.assert_problem(422, "verification_failed");
    assert_local_404(&scene.read(&upload).await, "failed");
    assert_eq!(scene.asked_cdn(), 0);
}

#[tokio::test]
async fn the_very_next_read_after_the_verdict_is_served() {
    let scene = Scene::new().await;
    for photo in [JPEG, PNG, WEBP] {
        let upload = scene.uploaded(photo).await;
        // The refusal is remembered, and then it is not.
        assert_local_404(&scene.read(&upload).await, "pending");
        scene.finalize(&upload).await.assert_success();
        let answer = scene.read(&upload).await;
        assert_photo(&answer, photo, "the next read");
        assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
        for (how, answer) in scene.read_in_every_way(&upload).await {
            assert_photo(&answer, photo, &how);
        }
    }
    let outcome = |outcome: &str| {
        format!("safelight_record_lookups_total{{app=\"shop\",outcome=\"{outcome}\"}}")
    };
    assert_eq!(scene.metric(&outcome("miss")).await, 6.0, "pending once, ready once, for each");
    assert_eq!(scene.metric(&outcome("hit")).await, 15.0);
}

#[tokio::test]
async fn conditions_are_evaluated_on_what_is_recorded() {
    let scene = Scene::new().await;
    let upload = scene.ready(WEBP).await;
    let etag = scene.read(&upload).await.header("etag").to_owned();
    for (name, value, status) in [
        ("If-None-Match", etag.as_str(), 304),
        ("If-None-Match", "*", 304),
        ("If-Match", etag.as_str(), 200),
        ("If-Match", "\"another\"", 412),
        ("Range", "bytes=99999999-", 416),
    ] {
        let answer = scene.request(&upload).with_header(name, Some(value)).send().await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    assert_eq!(scene.gateway.metrics().await.sum("safelight_cdn_fallbacks_total"), 0.0);
}

/// Nobody tells this node: what it remembers of an upload that was not ready, it forgets by itself.
#[tokio::test]
async fn a_verdict_by_another_node_is_seen() {
    let scene = Scene::new().await;
    let upload = scene.uploaded(JPEG).await;
    assert_local_404(&scene.read(&upload).await, "pending");
    let meta = open(scene.storage.clone()).head(&path_of(&upload.grant)).await.unwrap();
    let etag = meta.etag.unwrap();
    let sql = "UPDATE uploads SET state = 'ready', revision = 2, stored_size = ?1,
               stored_type = 'image/jpeg', stored_etag = ?2 WHERE key = ?3";
    let size = i64::try_from(meta.size).unwrap();
    let values = rusqlite::params![size, etag.as_str(), upload.grant.key()];
    assert_eq!(scene.database().execute(sql, values).unwrap(), 1);
    let served = loop {
        let answer = scene.read(&upload).await;
        if answer.status != 404 {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_photo(&served, JPEG, "GET");
}

#[tokio::test]
async fn a_restart_serves_what_was_ready_before() {
    let scene = Scene::new().await;
    let (ready, pending) = (scene.ready(JPEG).await, scene.uploaded(PNG).await);
    let Scene { storage, cdn, gateway } = scene;
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    let setup = Setup::with_app("shop", app_file(&storage, &head, ONLY_READY));
    let scene = Scene { gateway: gateway.restart(setup).await, storage, cdn };
    assert_photo(&scene.read(&ready).await, JPEG, "ready");
    assert_local_404(&scene.read(&pending).await, "pending");
}
