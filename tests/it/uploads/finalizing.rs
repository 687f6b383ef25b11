//! Finalize: what arrived is looked at, the verdict stands, and everybody gets the same one.

use bytes::Bytes;
use futures_util::future::join_all;
use safelight::storage::{ObjectStore as _, StorageErrorKind};
use serde_json::json;

use super::{assert_refused_for, bucket, finalize, path_of, shop, status, stored};
use crate::harness::gateway::{Grant, TestGateway};
use crate::harness::photos::{self, JPEG, PNG};

/// How many uploads of the app entered a state.
async fn entered(gateway: &TestGateway, state: &str) -> f64 {
    let series = format!("safelight_uploads_total{{app=\"shop\",state=\"{state}\"}}");
    gateway.metrics().await.value(&series)
}

/// The upload was refused for good: the record says why, the object is gone, and asking again
/// changes nothing.
async fn assert_failed_for_good(gateway: &TestGateway, grant: &Grant, reason: &str) {
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound), "the object stays");
    let record = status(gateway, grant).await;
    assert_eq!((&record["state"], &record["reason"]), (&json!("failed"), &json!(reason)));
    assert_refused_for(&finalize(gateway, grant).await, reason);
    assert_eq!(entered(gateway, "failed").await, 1.0);
    assert_eq!(entered(gateway, "ready").await, 0.0);
}

#[tokio::test]
async fn before_the_file_arrived() {
    let gateway = shop("").await.start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    for _ in 0..2 {
        finalize(&gateway, &grant).await.assert_problem(409, "not_uploaded");
    }
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
    grant.put(JPEG.bytes).send().await.assert_success();
    finalize(&gateway, &grant).await.assert_success();
}

#[tokio::test]
async fn a_photo_becomes_ready() {
    let gateway = shop("").await.start().await;
    for photo in photos::ALL {
        let grant = gateway.granted("shop", photo.file).await;
        let put = grant.put(photo.bytes).send().await;
        put.assert_success();
        let answer = finalize(&gateway, &grant).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["success"], true);
        let data = answer.json()["data"].clone();
        let size = imagesize::blob_size(photo.bytes).unwrap();
        let expected = json!({
            "uploadID": grant.text("uploadID"),
            "key": grant.key(),
            "publicURL": grant.public_url(),
            "state": "ready",
            "size": photo.bytes.len(),
            "contentType": photo.content_type,
            "width": size.width,
            "height": size.height,
            "etag": put.header("etag"),
            "expiresAt": grant.text("expiresAt"),
        });
        assert_eq!(data, expected);
        assert_eq!(finalize(&gateway, &grant).await.json(), answer.json(), "the second time");
        assert_eq!(status(&gateway, &grant).await, data);
    }
    assert_eq!(entered(&gateway, "uploaded").await, 3.0);
    assert_eq!(entered(&gateway, "ready").await, 3.0);
}

#[tokio::test]
async fn many_at_once_converge() {
    let gateway = shop("").await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let answers = join_all((0..8).map(|_| finalize(&gateway, &grant))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json(), answers[0].json());
    }
    assert_eq!(entered(&gateway, "uploaded").await, 1.0);
    assert_eq!(entered(&gateway, "ready").await, 1.0);
}

#[tokio::test]
async fn many_at_once_converge_on_a_refusal() {
    let gateway = shop("").await.start().await;
    let grant = gateway.uploaded("shop", "a.jpg", b"no photo").await;
    let answers = join_all((0..8).map(|_| finalize(&gateway, &grant))).await;
    for answer in &answers {
        // Whoever looked after the refused object was deleted, and before the verdict was
        // written, would be told 409: the verdict is written first.
        assert_refused_for(answer, "content");
    }
    assert_failed_for_good(&gateway, &grant, "content").await;
}

#[tokio::test]
async fn content_that_is_not_what_its_name_says() {
    for (why, file, bytes) in [
        ("text", "a.jpg", &b"this is no photo, whatever its name says"[..]),
        ("a page", "a.png", b"<!doctype html><script>alert(1)</script>"),
        ("a PNG", "a.jpg", PNG.bytes),
        ("a JPEG", "a.webp", JPEG.bytes),
        ("one byte", "a.gif", b"G"),
    ] {
        let gateway = shop("").await.start().await;
        let grant = gateway.uploaded("shop", file, bytes).await;
        let answer = finalize(&gateway, &grant).await;
        assert_eq!(answer.status, 422, "{why}: {}", answer.text());
        assert_refused_for(&answer, "content");
        assert_failed_for_good(&gateway, &grant, "content").await;
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_or_empty() {
    let gateway = shop("[Upload]\nMaxBytes = \"4KiB\"").await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    assert_refused_for(&finalize(&gateway, &grant).await, "size");
    assert_failed_for_good(&gateway, &grant, "size").await;

    let gateway = shop("").await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, b"").await;
    assert_refused_for(&finalize(&gateway, &grant).await, "size");
    assert_failed_for_good(&gateway, &grant, "size").await;
}

#[tokio::test]
async fn an_image_of_too_many_pixels() {
    let size = imagesize::blob_size(JPEG.bytes).unwrap();
    let pixels = size.width * size.height;
    let gateway = shop(&format!("[Upload]\nMaxPixels = {}", pixels - 1)).await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    assert_refused_for(&finalize(&gateway, &grant).await, "dimensions");
    assert_failed_for_good(&gateway, &grant, "dimensions").await;

    let gateway = shop(&format!("[Upload]\nMaxPixels = {pixels}")).await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &grant).await.assert_success();
}

/// What the application's own credentials could write past every grant is not believed either.
#[tokio::test]
async fn an_object_that_was_stored_as_another_type() {
    let gateway = shop("").await.start().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let bytes = Bytes::from_static(JPEG.bytes);
    bucket().await.put(&path_of(grant.key()), "text/html", bytes).await.unwrap();
    assert_refused_for(&finalize(&gateway, &grant).await, "type");
    assert_failed_for_good(&gateway, &grant, "type").await;
}

#[tokio::test]
async fn an_object_of_another_size_than_declared() {
    let gateway = shop("").await.start().await;
    let body = json!({"file": JPEG.file, "size": JPEG.bytes.len() + 1});
    let answer = gateway.presign("shop", "owner-1", body).await;
    answer.assert_success();
    let grant = Grant(answer.json()["data"].clone());
    let bytes = Bytes::from_static(JPEG.bytes);
    bucket().await.put(&path_of(grant.key()), "image/jpeg", bytes).await.unwrap();
    assert_refused_for(&finalize(&gateway, &grant).await, "size");
    assert_failed_for_good(&gateway, &grant, "size").await;
}

#[tokio::test]
async fn records_and_tokens_survive_a_restart() {
    let gateway = shop("").await.start().await;
    let ready = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &ready).await.assert_success();
    let pending = gateway.uploaded("shop", PNG.file, PNG.bytes).await;
    let before = status(&gateway, &ready).await;

    let gateway = gateway.restart(shop("").await).await;
    assert_eq!(status(&gateway, &ready).await, before);
    assert_eq!(finalize(&gateway, &ready).await.json()["data"], before);
    assert_eq!(status(&gateway, &pending).await["state"], "pending");
    finalize(&gateway, &pending).await.assert_success();
    let read = gateway.get(pending.public_url()).await;
    assert!(read.status == 200 && read.body == PNG.bytes);
}
