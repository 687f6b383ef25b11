//! An object that was overwritten after it was found good: its bytes are served to nobody until they
//! were found good themselves.

use rusqlite::params;

use super::{Scene, Upload, assert_photo};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::wire_cdn::{Act, End};
use safelight::domain::ETag;
use safelight::storage::ObjectStore as _;

/// Storage was asked, and what it has is none of the client's.
#[track_caller]
fn assert_withheld(answer: &Answer, how: &str) {
    assert_eq!(answer.status, 404, "{how}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store", "{how}");
    assert!(!answer.headers.contains_key("etag"), "{how}");
}

/// Not one byte beyond those that the CDN gave, and no clean end; perhaps not even a head.
async fn assert_broken(request: Plain) {
    let Ok(answer) = request.try_send().await else { return };
    assert!(!answer.is_whole, "it ended as if it were whole");
    assert!(JPEG.bytes[..1000].starts_with(&answer.body), "spliced");
}

/// Whether somebody is to look at the object now.
fn is_due(scene: &Scene, upload: &Upload) -> bool {
    let now = jiff::Timestamp::now().as_millisecond();
    let sql = "SELECT look_at <= ?1 FROM uploads WHERE key = ?2";
    scene.database().query_row(sql, params![now, upload.grant.key()], |row| row.get(0)).unwrap()
}

/// Another node has found good what is in storage now.
async fn verify_elsewhere(scene: &Scene, upload: &Upload) {
    let store = crate::harness::seaweed::open(scene.storage.clone());
    let meta = store.head(&super::path_of(&upload.grant)).await.unwrap();
    let sql = "UPDATE uploads SET revision = revision + 2, stored_size = ?1, stored_etag = ?2,
               stored_type = ?3 WHERE key = ?4";
    let size = i64::try_from(meta.size).unwrap();
    let etag = meta.etag.as_ref().map(ETag::as_str);
    let values = params![size, etag, meta.content_type, upload.grant.key()];
    assert_eq!(scene.database().execute(sql, values).unwrap(), 1);
}

#[tokio::test]
async fn no_kind_of_read_gets_the_new_bytes() {
    for (method, name, value) in super::KINDS {
        let how = format!("{method} {name}: {value}");
        let scene = Scene::new().await;
        let upload = scene.ready(JPEG).await;
        assert_photo(&scene.read(&upload).await, JPEG, "GET");
        assert!(!is_due(&scene, &upload), "{how}");
        scene.overwrite(&upload, PNG).await;
        scene.cdn.next(Act::status(404));
        let request = scene.gateway.request(method, upload.grant.public_url());
        let answer = request.with_header(name, Some(value)).send().await;
        assert_withheld(&answer, &how);
        assert!(is_due(&scene, &upload), "{how}: nobody looks at it");
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.fallbacks("shop", "status_404", "missing"), 1.0, "{how}");
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0, "{how}");
    }
}

#[tokio::test]
async fn not_even_when_the_cdn_has_them() {
    let scene = Scene::new().await;
    let upload = scene.ready(JPEG).await;
    scene.overwrite(&upload, PNG).await;
    // What the CDN has from before is what was found good.
    assert_photo(&scene.read(&upload).await, JPEG, "GET");
    scene.cdn.next(Act::but(|reply| {
        reply.body = PNG.bytes.into();
        reply.set("ETag", "\"of-the-new-bytes\"");
    }));
    assert_withheld(&scene.read(&upload).await, "GET");
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.fallbacks("shop", "mismatch", "missing"), 1.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_continued_with_them() {
    let scene = Scene::new().await;
    let upload = scene.ready(JPEG).await;
    scene.overwrite(&upload, PNG).await;
    scene.cdn.next(Act::broken(1000, End::Reset));
    assert_broken(scene.request(&upload)).await;
    let aborted = "safelight_streams_aborted_total{app=\"shop\",cause=\"changed\"}";
    assert_eq!(scene.metric(aborted).await, 1.0);
}

/// A body whose source showed no strong tag is not proved to be what is recorded.
#[tokio::test]
async fn nor_is_one_that_never_showed_what_it_is() {
    let scene = Scene::new().await;
    let upload = scene.ready(JPEG).await;
    scene.cdn.next(Act::but(|reply| {
        reply.set("ETag", "W/\"weak\"");
        reply.broken = Some((1000, End::Reset));
    }));
    assert_broken(scene.request(&upload)).await;
    let aborted = "safelight_streams_aborted_total{app=\"shop\",cause=\"no_validator\"}";
    assert_eq!(scene.metric(aborted).await, 1.0);
}

#[tokio::test]
async fn a_verdict_that_another_node_has_renewed_is_learned_from_storage() {
    let scene = Scene::new().await;
    let upload = scene.ready(JPEG).await;
    assert_photo(&scene.read(&upload).await, JPEG, "GET");
    scene.overwrite(&upload, PNG).await;
    verify_elsewhere(&scene, &upload).await;
    scene.cdn.next(Act::status(503));
    let answer = scene.read(&upload).await;
    assert_photo(&answer, PNG, "GET");
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.fallbacks("shop", "status_5xx", "served"), 1.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0, "one read, one fallback");
    assert!(!is_due(&scene, &upload), "there is nothing to look at");

    // The CDN's old copy is a mismatch from now on.
    for (how, answer) in scene.read_in_every_way(&upload).await {
        assert_photo(&answer, PNG, &how);
    }
    assert_eq!(scene.gateway.metrics().await.fallbacks("shop", "mismatch", "served"), 5.0);
}

#[tokio::test]
async fn an_object_that_is_gone_is_missing() {
    let scene = Scene::new().await;
    let upload = scene.ready(JPEG).await;
    let store = crate::harness::seaweed::open(scene.storage.clone());
    store.delete(&super::path_of(&upload.grant), None).await.unwrap();
    scene.cdn.next(Act::status(404));
    assert_withheld(&scene.read(&upload).await, "GET");
    assert_eq!(scene.gateway.metrics().await.fallbacks("shop", "status_404", "missing"), 1.0);
}
