//! A fresh upload URL, for whoever was too slow for the first.

use http::Method;
use serde_json::json;

use super::{finalize, records, shop, status};
use crate::harness::gateway::{Grant, TestGateway};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::Answer;

async fn renew(gateway: &TestGateway, grant: &Grant) -> Answer {
    let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
    let path = format!("/darkroom/shop/v1/uploads/{id}/upload-url?token={token}");
    gateway.request(Method::POST, &path).send().await
}

#[tokio::test]
async fn a_pending_upload_is_granted_again_under_the_same_promises() {
    let gateway = shop("[Upload]\nPreventOverwrite = true").await.start().await;
    let body = json!({"file": "a.jpg", "size": JPEG.bytes.len()});
    let answer = gateway.presign("shop", "owner-1", body).await;
    answer.assert_success();
    let first = Grant(answer.json()["data"].clone());

    let answer = renew(&gateway, &first).await;
    answer.assert_success();
    assert_eq!(answer.header("cache-control"), "no-store");
    let second = Grant(answer.json()["data"].clone());
    for field in ["key", "uploadID", "uploadToken", "publicURL", "finalizeURL", "method"] {
        assert_eq!(second.text(field), first.text(field), "{field}");
    }
    assert_eq!(second.0["headers"], first.0["headers"]);
    let signed = "SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bif-none-match&";
    assert!(second.text("uploadURL").contains(signed), "{}", second.text("uploadURL"));
    assert_eq!(status(&gateway, &first).await["expiresAt"], second.0["expiresAt"]);
    assert_eq!(records(&gateway), 1, "it is the same upload");

    let longer = second.put(&[JPEG.bytes, b"x"].concat()).send().await;
    longer.assert_refused_with(&[400, 403], "a file of another size than declared");
    second.put(JPEG.bytes).send().await.assert_success();
    first.put(JPEG.bytes).send().await.assert_refused_with(&[409, 412], "the second PUT");
    finalize(&gateway, &first).await.assert_success();
}

#[tokio::test]
async fn an_upload_that_has_ended_is_not_granted_again() {
    let gateway = shop("").await.start().await;
    let ready = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &ready).await.assert_success();
    renew(&gateway, &ready).await.assert_problem(409, "conflict");

    let failed = gateway.uploaded("shop", JPEG.file, b"no photo").await;
    finalize(&gateway, &failed).await.assert_problem(422, "verification_failed");
    renew(&gateway, &failed).await.assert_problem(410, "upload_expired");
}
