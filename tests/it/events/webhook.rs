//! Events that a store sends to the gateway itself, with a shared secret.

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use safelight::domain::StoragePath;
use safelight::storage::{ObjectStore as _, S3Config};
use serde_json::{Value, json};

use super::{counted, state_of};
use crate::harness::gateway::{
    Grant, PUBLIC_BASE, Setup, TestGateway, app_file, eventually, mint_key, offline_app_file,
};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::raw::Raw;
use crate::harness::relay::Relay;
use crate::harness::seaweed::{Seaweed, open};

const SECRET: &str = "a-webhook-secret-of-the-tests-0123456789";
const PATH: &str = "/darkroom/_events/webhook";

fn settings() -> String {
    format!("[Events.Push.Webhook]\nSecret = \"{SECRET}\"\n")
}

fn on(storage: &S3Config) -> Setup {
    Setup::with_app("shop", app_file(storage, "", "")).and_settings(&settings())
}

async fn shop() -> TestGateway {
    on(&Seaweed::shared().await.config()).start().await
}

/// An event in the form of S3.
fn event(name: &str, bucket: &str, key: &str, etag: &str) -> Value {
    json!({"Records": [{"eventName": name, "eventTime": "2026-11-21T10:00:00.000Z", "s3": {
        "bucket": {"name": bucket}, "object": {"key": key, "eTag": etag.trim_matches('"')}}}]})
}

/// That an upload's object has arrived, as its store would tell.
fn created(grant: &Grant, etag: &str) -> Value {
    event("ObjectCreated:Put", "media", &format!("images/{}", grant.key()), etag)
}

fn request(gateway: &TestGateway, event: &Value) -> Plain {
    gateway
        .request(Method::POST, PATH)
        .with_header("Authorization", Some(&format!("Bearer {SECRET}")))
        .with_body(event.to_string())
}

async fn send(gateway: &TestGateway, event: &Value) -> Answer {
    request(gateway, event).send().await
}

/// The event must be taken, and come to this outcome.
async fn assert_outcome(gateway: &TestGateway, event: &Value, outcome: &str) {
    let before = counted(gateway, "webhook", outcome).await;
    let answer = send(gateway, event).await;
    assert_eq!(answer.status, 204, "{event}: {}", answer.text());
    assert_eq!(counted(gateway, "webhook", outcome).await, before + 1.0, "{event}");
}

/// Uploads, and gives the ETag that storage showed for it.
async fn put(grant: &Grant, bytes: &[u8]) -> String {
    let answer = grant.put(bytes).send().await;
    answer.assert_success();
    answer.header("etag").to_owned()
}

/// SeaweedFS itself tells, with everything that it tells of besides.
#[tokio::test]
async fn seaweed_tells_and_the_upload_is_ready() {
    let mut relay = Relay::start().await;
    let seaweed = Seaweed::with_webhook(&relay.url, SECRET).await;
    let gateway = on(&seaweed.config()).start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let told = format!("/buckets/media/images/{}", grant.key());
    loop {
        let sent = relay.next().await;
        sent.to(format!("{}{PATH}", gateway.base)).send().await.assert_success();
        let document: Value = serde_json::from_slice(&sent.body).unwrap();
        if document["key"] == told.as_str() {
            break;
        }
    }
    assert_eq!(state_of(&gateway, &grant).await, "ready");
    assert_eq!(counted(&gateway, "webhook", "verified").await, 1.0);
}

#[tokio::test]
async fn without_a_finalize_an_event_makes_it_ready() {
    let gateway = shop().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let etag = put(&grant, JPEG.bytes).await;
    assert_outcome(&gateway, &created(&grant, &etag), "verified").await;
    let status = gateway.status("shop", &grant).await;
    assert_eq!((&status["state"], &status["etag"]), (&json!("ready"), &json!(etag)));

    let refused = gateway.uploaded("shop", "a.jpg", b"no photo").await;
    assert_outcome(&gateway, &created(&refused, ""), "verified").await;
    assert_eq!(gateway.status("shop", &refused).await["reason"], "content");
}

/// A secret may come in a header of its own, from what cannot set `Authorization`.
#[tokio::test]
async fn the_secret_in_a_header_of_its_own() {
    let gateway = shop().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let answer = gateway
        .request(Method::POST, PATH)
        .with_header("X-Safelight-Webhook-Secret", Some(SECRET))
        .with_body(created(&grant, "").to_string());
    assert_eq!(answer.send().await.status, 204);
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

/// Once the object is gone, an answer other than `missing` proves that storage was not asked.
#[tokio::test]
async fn doubled_and_late_events_ask_nobody() {
    let storage = Seaweed::shared().await.config();
    let gateway = on(&storage).start().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let etag = put(&grant, JPEG.bytes).await;
    let event = created(&grant, &etag);
    let answers = join_all((0..8).map(|_| send(&gateway, &event))).await;
    assert!(answers.iter().all(|answer| answer.status == 204), "eight at once");
    let entered = "safelight_uploads_total{app=\"shop\",state=\"ready\"}";
    assert_eq!(gateway.metrics().await.value(entered), 1.0);

    let path = StoragePath::from_listing(&format!("images/{}", grant.key()));
    open(storage).delete(&path, None).await.unwrap();
    assert_outcome(&gateway, &event, "duplicate").await;
    assert_outcome(&gateway, &created(&grant, "another"), "missing").await;
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

/// Before the object is there, after it was removed, and in the wrong order.
#[tokio::test]
async fn early_and_reordered_events_change_nothing() {
    let gateway = shop().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    assert_outcome(&gateway, &created(&grant, ""), "missing").await;
    assert_eq!(state_of(&gateway, &grant).await, "pending");

    let etag = put(&grant, JPEG.bytes).await;
    let key = format!("images/{}", grant.key());
    let removed = event("ObjectRemoved:Delete", "media", &key, "");
    assert_outcome(&gateway, &removed, "ignored").await;
    assert_eq!(state_of(&gateway, &grant).await, "pending");
    assert_outcome(&gateway, &created(&grant, &etag), "verified").await;
    assert_outcome(&gateway, &removed, "ignored").await;
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

/// The upload URL is used again: the old verdict does not cover the new bytes.
#[tokio::test]
async fn other_bytes_under_a_verdict_are_verified_again() {
    let gateway = shop().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let first = put(&grant, JPEG.bytes).await;
    assert_outcome(&gateway, &created(&grant, &first), "verified").await;
    let second = put(&grant, b"no photo at all").await;
    // The late event of the first bytes still finds them recorded; that of the second does not.
    assert_outcome(&gateway, &created(&grant, &first), "duplicate").await;
    assert_outcome(&gateway, &created(&grant, &second), "verified").await;
    let status = gateway.status("shop", &grant).await;
    assert_eq!((&status["state"], &status["reason"]), (&json!("failed"), &json!("content")));
    assert_eq!(gateway.get(grant.public_url()).await.status, 404, "the object is gone");
}

#[tokio::test]
async fn events_about_what_is_not_ours() {
    let gateway = shop().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let key = grant.key();
    let forged = mint_key("another-app", std::time::SystemTime::now(), JPEG.file);
    let unrecorded = mint_key("shop", std::time::SystemTime::now(), JPEG.file);
    let upper = key.to_ascii_uppercase();
    for (bucket, name) in [
        ("other", format!("images/{key}")),
        ("Media", format!("images/{key}")),
        ("media", key.to_owned()),
        ("media", format!("images2/{key}")),
        ("media", format!("images{key}")),
        ("media", format!("/images/{key}")),
        ("media", format!("images//{key}")),
        ("media", format!("images/x/../{key}")),
        ("media", format!("images/{upper}")),
        ("media", format!("images/{key}.png")),
        ("media", format!("images/{forged}")),
        ("media", format!("images/{unrecorded}")),
        ("media", "images/%FF%FE".to_owned()),
        ("media", "images/holiday+photos/%25.jpg".to_owned()),
        ("media", String::new()),
    ] {
        assert_outcome(&gateway, &event("ObjectCreated:Put", bucket, &name, ""), "unknown").await;
    }
    assert_eq!(state_of(&gateway, &grant).await, "pending");
    // What some senders encode besides.
    let encoded = format!("images%2F{key}");
    assert_outcome(&gateway, &event("ObjectCreated:Put", "media", &encoded, ""), "verified").await;
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

#[tokio::test]
async fn one_document_may_tell_of_several() {
    let gateway = shop().await;
    let jpeg = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let png = gateway.uploaded("shop", PNG.file, PNG.bytes).await;
    let record = |grant: &Grant| created(grant, "")["Records"][0].clone();
    let stranger = event("ObjectCreated:Put", "other", "x", "")["Records"][0].clone();
    let all = json!({"Records": [record(&jpeg), stranger, record(&png)]});
    assert_eq!(send(&gateway, &all).await.status, 204);
    for grant in [jpeg, png] {
        assert_eq!(state_of(&gateway, &grant).await, "ready");
    }
    assert_eq!(counted(&gateway, "webhook", "unknown").await, 1.0);
}

#[tokio::test]
async fn whoever_does_not_know_the_secret_changes_nothing() {
    let gateway = shop().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let event = created(&grant, "");
    let longer = format!("Bearer {SECRET}x");
    let shorter = format!("Bearer {}", &SECRET[1..]);
    let basic = format!("Basic {SECRET}");
    let wrong = [
        None,
        Some(""),
        Some("Bearer "),
        Some(SECRET),
        Some(&*longer),
        Some(&*shorter),
        Some(&*basic),
    ];
    for (refused, authorization) in (1_u32..).zip(wrong) {
        let answer = request(&gateway, &event).with_header("Authorization", authorization);
        let answer = answer.send().await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(counted(&gateway, "webhook", "unauthenticated").await, f64::from(refused));
    }
    // Nor is a word of what is sent read before.
    let junk = gateway.request(Method::POST, PATH).with_body("{");
    junk.send().await.assert_problem(401, "unauthenticated");
    assert_eq!(state_of(&gateway, &grant).await, "pending");
    assert_eq!(counted(&gateway, "webhook", "malformed").await, 0.0);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_so() {
    let gateway = shop().await;
    let whole = event("ObjectCreated:Put", "media", "images/x", "").to_string();
    for body in ["", "{}", "[]", "null", &whole[..whole.len() - 2], "{\"Records\":{}}"] {
        let answer = request(&gateway, &Value::Null).with_body(body.to_owned()).send().await;
        answer.assert_problem(400, "invalid_json");
    }
    assert_eq!(counted(&gateway, "webhook", "malformed").await, 6.0);
    let large = " ".repeat(256 * 1024 + 1);
    let answer = request(&gateway, &Value::Null).with_body(large).send().await;
    answer.assert_problem(413, "body_too_large");
    for test in [json!({"Records": []}), json!({"Event": "s3:TestEvent"})] {
        assert_outcome(&gateway, &test, "ignored").await;
    }
}

#[tokio::test]
async fn while_storage_or_records_fail_nothing_is_acknowledged() {
    let offline = Setup::with_app("shop", offline_app_file("", "")).and_settings(&settings());
    let gateway = offline.start().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let lost = event("ObjectCreated:Put", "nowhere", grant.key(), "");
    send(&gateway, &lost).await.assert_problem(502, "storage_failed");
    assert_eq!(counted(&gateway, "webhook", "retry").await, 1.0);
    assert_eq!(state_of(&gateway, &grant).await, "pending");

    let gateway = shop().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let holder = rusqlite::Connection::open(gateway.records_file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    send(&gateway, &created(&grant, "")).await.assert_problem(503, "records_unavailable");
    holder.execute_batch("ROLLBACK").unwrap();
    assert_outcome(&gateway, &created(&grant, ""), "verified").await;
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

/// Senders that hold their place without finishing what they send: the next is told to come again.
#[tokio::test]
async fn more_than_can_be_handled_at_a_time_come_again() {
    let gateway = shop().await;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {SECRET}\r\n\
         Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    let mut holding = Vec::new();
    for _ in 0..64 {
        let mut sender = Raw::connect(&gateway.base).await;
        sender.send(&head).await;
        // The body is asked for by whoever has a place.
        assert_eq!(sender.head().await.expect("an answer").status, 100);
        holding.push(sender);
    }
    let answer = send(&gateway, &json!({"Records": []})).await;
    answer.assert_problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(counted(&gateway, "webhook", "overloaded").await, 1.0);
    drop(holding);
    eventually("a place", async || {
        (send(&gateway, &json!({"Records": []})).await.status == 204).then_some(())
    })
    .await;
}

#[tokio::test]
async fn where_nobody_may_push_there_is_nothing() {
    let storage = Seaweed::shared().await.config();
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let answer = gateway.request(Method::POST, PATH).with_body("{}").send().await;
    answer.assert_problem(404, "unknown_route");
    let text = gateway.metrics().await.0;
    assert!(!text.contains("safelight_events_total{"), "series of what is not configured");

    let gateway = on(&storage).start().await;
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        let answer = gateway.request(method, PATH).send().await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "POST");
    }
    let other = gateway.request(Method::POST, "/darkroom/_events/pubsub").send().await;
    other.assert_problem(404, "unknown_route");
    assert!(gateway.base != PUBLIC_BASE);
    let text = gateway.metrics().await.0;
    assert!(!text.contains("source=\"pubsub\"") && text.contains("source=\"webhook\"} 0"));
}

/// An object that another program wrote under a key of ours is verified like any other.
#[tokio::test]
async fn what_others_wrote_is_not_believed_either() {
    let storage = Seaweed::shared().await.config();
    let gateway = on(&storage).start().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let path = StoragePath::from_listing(&format!("images/{}", grant.key()));
    let page = Bytes::from_static(b"<script>alert(1)</script>");
    open(storage).put(&path, "image/jpeg", page).await.unwrap();
    assert_outcome(&gateway, &created(&grant, ""), "verified").await;
    assert_eq!(state_of(&gateway, &grant).await, "failed");
}
