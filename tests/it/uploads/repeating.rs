//! Requests that are made again under the same `Idempotency-Key`.

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::{finalize, records, shop, status};
use crate::harness::gateway::{Grant, TestGateway, app_file};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::seaweed::Seaweed;

const SAME: [&str; 6] = ["key", "uploadID", "uploadToken", "publicURL", "finalizeURL", "method"];

fn request(gateway: &TestGateway, app: &str, owner: &str, body: &Value) -> Plain {
    gateway
        .request(Method::POST, &format!("/darkroom/{app}/v1/images/presigned-urls"))
        .with_header("X_Owner_Id", Some(owner))
        .with_header("Content-Type", Some("application/json"))
        .with_body(body.to_string())
}

async fn ask(gateway: &TestGateway, owner: &str, key: &str, body: &Value) -> Answer {
    request(gateway, "shop", owner, body).with_header("Idempotency-Key", Some(key)).send().await
}

fn grant(answer: &Answer) -> Grant {
    answer.assert_success();
    Grant(answer.json()["data"].clone())
}

#[tokio::test]
async fn a_request_that_is_made_again_is_the_same_upload() {
    let gateway = shop("").await.start().await;
    let body = json!({"file": JPEG.file, "size": JPEG.bytes.len(), "more": "ignored"});
    let first = grant(&ask(&gateway, "ann", "key-1", &body).await);
    let reordered = json!({"size": JPEG.bytes.len(), "file": JPEG.file});
    let second = grant(&ask(&gateway, "ann", "key-1", &reordered).await);
    for field in SAME {
        assert_eq!(second.text(field), first.text(field), "{field}");
    }
    assert_eq!(records(&gateway), 1);
    assert_eq!(status(&gateway, &first).await["expiresAt"], second.0["expiresAt"]);

    second.put(JPEG.bytes).send().await.assert_success();
    finalize(&gateway, &first).await.assert_success();
    let third = grant(&ask(&gateway, "ann", "key-1", &body).await);
    assert_eq!((third.text("uploadID"), third.text("state")), (first.text("uploadID"), "ready"));
    for field in ["uploadURL", "method", "headers", "expiresAt"] {
        assert!(third.0.get(field).is_none(), "there is nothing to upload any more: {field}");
    }
}

#[tokio::test]
async fn it_survives_a_restart() {
    let gateway = shop("").await.start().await;
    let body = json!({"file": JPEG.file});
    let first = grant(&ask(&gateway, "ann", "key-1", &body).await);
    let gateway = gateway.restart(shop("").await).await;
    let second = grant(&ask(&gateway, "ann", "key-1", &body).await);
    assert_eq!(second.text("uploadID"), first.text("uploadID"));
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let gateway = shop("").await.start().await;
    let body = json!({"file": JPEG.file, "size": 10});
    grant(&ask(&gateway, "ann", "key-1", &body).await);
    for other in [
        json!({"file": PNG.file, "size": 10}),
        json!({"file": JPEG.file, "size": 11}),
        json!({"file": JPEG.file}),
        json!({"file": JPEG.file, "size": 10, "contentType": "image/jpeg"}),
        json!({"file": JPEG.file, "size": 10, "sha256": "0".repeat(64)}),
    ] {
        let answer = ask(&gateway, "ann", "key-1", &other).await;
        answer.assert_problem(409, "idempotency_conflict");
    }
    assert_eq!(records(&gateway), 1);
    let refusals = "safelight_presigns_total{app=\"shop\",outcome=\"idempotency_conflict\"}";
    assert_eq!(gateway.metrics().await.value(refusals), 5.0);
}

#[tokio::test]
async fn a_key_is_one_owners_in_one_app() {
    let blog = app_file(&Seaweed::shared().await.config(), "", "").replace("images/", "blog/");
    let gateway = shop("").await.and_app("blog", blog).start().await;
    let body = json!({"file": JPEG.file});
    let in_blog = request(&gateway, "blog", "ann", &body).with_header("Idempotency-Key", Some("k"));
    let ids = [
        grant(&ask(&gateway, "ann", "k", &body).await),
        grant(&ask(&gateway, "bob", "k", &body).await),
        grant(&ask(&gateway, "ann", "K", &body).await),
        grant(&in_blog.send().await),
    ]
    .map(|grant| grant.text("uploadID").to_owned());
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 4, "{ids:?}");
}

#[tokio::test]
async fn many_at_once_are_one_upload() {
    let gateway = shop("").await.start().await;
    let body = json!({"file": JPEG.file});
    let answers = join_all((0..16).map(|_| ask(&gateway, "ann", "key-1", &body))).await;
    let ids: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| grant(answer).text("uploadID").to_owned()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(records(&gateway), 1);
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let gateway = shop("").await.start().await;
    let body = json!({"file": JPEG.file});
    for bad in ["", "two words", "\u{e9}", &"k".repeat(256)] {
        ask(&gateway, "ann", bad, &body).await.assert_problem(400, "invalid_request");
    }
    let twice = request(&gateway, "shop", "ann", &body)
        .with_header("Idempotency-Key", Some("one"))
        .and_header("Idempotency-Key", "two");
    twice.send().await.assert_problem(400, "invalid_request");
    assert_eq!(records(&gateway), 0);
}
