//! Giving an upload up: nothing of it stays, and nothing can be made of it any more.

use bytes::Bytes;
use http::Method;
use safelight::storage::{ObjectStore as _, StorageErrorKind};
use serde_json::json;

use super::{bucket, finalize, path_of, shop, status, stored};
use crate::harness::front::Front;
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::seaweed::Seaweed;

async fn abandon(gateway: &TestGateway, grant: &Grant) -> Answer {
    let path = format!("/darkroom/shop/v1/uploads/{}", grant.text("uploadID"));
    let request = gateway.request(Method::DELETE, &path);
    request.with_header("Upload-Token", Some(grant.text("uploadToken"))).send().await
}

async fn entered_deleted(gateway: &TestGateway) -> f64 {
    let metrics = gateway.metrics().await;
    metrics.value(r#"safelight_uploads_total{app="shop",state="deleted"}"#)
}

#[tokio::test]
async fn a_pending_upload_is_deleted_once_and_for_all() {
    let gateway = shop("").await.start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    let first = abandon(&gateway, &grant).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let expected = json!({
        "uploadID": grant.text("uploadID"),
        "key": grant.key(),
        "publicURL": grant.public_url(),
        "state": "deleted",
        "expiresAt": grant.text("expiresAt"),
    });
    assert_eq!(first.json()["data"], expected);
    assert_eq!(abandon(&gateway, &grant).await.json(), first.json());
    assert_eq!(entered_deleted(&gateway).await, 1.0);

    finalize(&gateway, &grant).await.assert_problem(410, "upload_expired");
    let path = format!("/darkroom/shop/v1/uploads/{}/upload-url", grant.text("uploadID"));
    let renewal = gateway.request(Method::POST, &path);
    let renewal = renewal.with_header("Upload-Token", Some(grant.text("uploadToken")));
    renewal.send().await.assert_problem(410, "upload_expired");
}

/// The file came before the upload was given up, or after it: the URL lives on.
#[tokio::test]
async fn a_file_that_came_all_the_same_goes() {
    let gateway = shop("").await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    abandon(&gateway, &grant).await.assert_success();
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound));

    grant.put(JPEG.bytes).send().await.assert_success();
    assert_eq!(gateway.get(grant.public_url()).await.status, 404, "it is there, and no image");
    finalize(&gateway, &grant).await.assert_problem(410, "upload_expired");
    abandon(&gateway, &grant).await.assert_success();
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound));
    assert_eq!(entered_deleted(&gateway).await, 1.0);
}

#[tokio::test]
async fn an_image_is_not_deleted_this_way() {
    let gateway = shop("").await.start().await;
    let ready = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &ready).await.assert_success();
    abandon(&gateway, &ready).await.assert_problem(409, "conflict");
    assert_eq!(status(&gateway, &ready).await["state"], "ready");
    assert_eq!(gateway.get(ready.public_url()).await.status, 200);

    let failed = gateway.uploaded("shop", "a.jpg", b"no photo").await;
    finalize(&gateway, &failed).await.assert_problem(422, "verification_failed");
    abandon(&gateway, &failed).await.assert_problem(409, "conflict");
    assert_eq!(status(&gateway, &failed).await["state"], "failed");
}

#[tokio::test]
async fn parts_go_with_their_session() {
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let begun = gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(r#"{"file": "a.jpg", "size": 7}"#)
        .send()
        .await;
    begun.assert_success();
    let grant = Grant(begun.json()["data"].clone());
    let url = grant.0["partURLs"][0]["url"].as_str().unwrap();
    let put = || Plain::new(Method::PUT, url).with_body("a photo");
    put().send().await.assert_success();
    abandon(&gateway, &grant).await.assert_success();
    assert_eq!(front.count("DELETE", "uploadId="), 1);
    put().send().await.assert_refused_with(&[404], "a part after the end");

    let call = |method, what| {
        let path = format!("/darkroom/shop/v1/uploads/{}/{what}", grant.text("uploadID"));
        let request = gateway.request(method, &path).with_body(r#"{"partNumbers": [1]}"#);
        request.with_header("Upload-Token", Some(grant.text("uploadToken"))).send()
    };
    call(Method::POST, "part-urls").await.assert_problem(410, "upload_expired");
    call(Method::GET, "parts").await.assert_problem(410, "upload_expired");
    call(Method::POST, "complete").await.assert_problem(410, "upload_expired");
    abandon(&gateway, &grant).await.assert_success();
    assert_eq!(status(&gateway, &grant).await["state"], "deleted");

    // Whatever is there all the same, by whatever way it came, is no image of this upload.
    let (store, path) = (bucket().await, path_of(grant.key()));
    store.put(&path, "image/jpeg", Bytes::from_static(JPEG.bytes)).await.unwrap();
    call(Method::POST, "complete").await.assert_problem(410, "upload_expired");
    abandon(&gateway, &grant).await.assert_success();
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound));
}

/// The record is what counts: storage is cleared later.
#[tokio::test]
async fn storage_need_not_be_there() {
    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    abandon(&gateway, &grant).await.assert_success();
    assert_eq!(status(&gateway, &grant).await["state"], "deleted");
}

#[tokio::test]
async fn a_stranger_deletes_nothing() {
    let gateway = shop("").await.start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    let other = gateway.granted("shop", "a.jpg").await;
    let path = format!("/darkroom/shop/v1/uploads/{}", grant.text("uploadID"));
    for token in [Some(other.text("uploadToken")), Some(""), None] {
        let request = gateway.request(Method::DELETE, &path).with_header("Upload-Token", token);
        request.send().await.assert_problem(404, "upload_not_found");
    }
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
}
