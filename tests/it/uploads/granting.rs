//! What a grant says, and that the server holds its holder to it.

use std::time::{Duration, SystemTime};

use http::Method;
use safelight::domain::MediaType;
use safelight::storage::{ObjectStore as _, PutGrant, StorageErrorKind};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{bucket, path_of, records, shop, status, stored};
use crate::harness::gateway::{Grant, PUBLIC_BASE, TestGateway};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::Plain;

/// How S3 says no to a request that its signature does not cover; 405 to a method that objects do
/// not have.
const NOT_SIGNED: &[u16] = &[400, 403, 405];

/// How S3 says that the object exists already.
const EXISTS: &[u16] = &[409, 412];

async fn granted(gateway: &TestGateway, body: Value) -> Grant {
    let answer = gateway.presign("shop", "owner-1", body).await;
    answer.assert_success();
    Grant(answer.json()["data"].clone())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unix_seconds(rfc3339: &str) -> i64 {
    let time: jiff::Timestamp = rfc3339.parse().unwrap_or_else(|e| panic!("{rfc3339}: {e}"));
    time.as_second()
}

#[tokio::test]
async fn the_answer_field_by_field() {
    let gateway = shop("[Upload]\nURLExpiry = \"10m\"").await.start().await;
    let before = jiff::Timestamp::now().as_second();
    let answer =
        gateway.presign("shop", "owner-1", json!({"file": "Profile Photo (1).JPEG"})).await;
    let after = jiff::Timestamp::now().as_second();

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let document = answer.json();
    assert_eq!(document["success"], true);
    let mut fields: Vec<_> = document["data"].as_object().unwrap().keys().cloned().collect();
    fields.sort_unstable();
    let expected = [
        "expiresAt",
        "finalizeURL",
        "headers",
        "key",
        "method",
        "publicURL",
        "uploadID",
        "uploadToken",
        "uploadURL",
    ];
    assert_eq!(fields, expected);

    let grant = Grant(document["data"].clone());
    let (id, rest) = grant.key().split_at(26);
    assert!(id.bytes().all(|b| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&b)), "{id}");
    assert_eq!(rest, "-profile-photo-1.jpeg");
    assert_eq!(grant.text("uploadID"), id);
    let app = format!("{PUBLIC_BASE}/darkroom/shop");
    assert_eq!(grant.public_url(), format!("{app}/v2/images/{}", grant.key()));
    let token = grant.text("uploadToken");
    let finalize_url = format!("{app}/v1/uploads/{id}/finalize?token={token}");
    assert_eq!(grant.text("finalizeURL"), finalize_url);
    assert_eq!(grant.text("method"), "PUT");
    assert_eq!(grant.0["headers"], json!({"Content-Type": "image/jpeg"}));
    let expires = unix_seconds(grant.text("expiresAt"));
    assert!((before + 600..=after + 600).contains(&expires), "{}", grant.text("expiresAt"));
    assert!(grant.text("expiresAt").ends_with('Z'));

    let upload = url::Url::parse(grant.text("uploadURL")).unwrap();
    assert_eq!(upload.path(), format!("/media/images/{}", grant.key()));
    let query: Vec<_> = upload.query_pairs().collect();
    assert!(query.contains(&("X-Amz-Expires".into(), "600".into())), "{query:?}");
    assert_eq!(records(&gateway), 1);
}

#[tokio::test]
async fn what_is_declared_becomes_a_signed_header() {
    let gateway = shop("[Upload]\nPreventOverwrite = true").await.start().await;
    let sum = sha256(PNG.bytes);
    let grant = granted(
        &gateway,
        json!({
            "file": "a.png",
            "contentType": "image/png",
            "size": PNG.bytes.len(),
            "sha256": hex(&sum).to_uppercase(),
            "a field of tomorrow": true,
        }),
    )
    .await;
    let headers = json!({
        "Content-Type": "image/png",
        "x-amz-checksum-sha256": aws_smithy_types::base64::encode(sum),
        "If-None-Match": "*",
    });
    // Never `Content-Length`: clients set it, and browsers let no script do so.
    assert_eq!(grant.0["headers"], headers);
    let url = grant.text("uploadURL");
    let signed = "SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256";
    assert!(url.contains(signed), "{url}");
    assert!(
        !url.to_ascii_lowercase().contains("checksum-sha256="),
        "a checksum in the query: {url}"
    );
    grant.put(PNG.bytes).send().await.assert_success();
}

#[tokio::test]
async fn two_grants_for_one_file_are_two_images() {
    let gateway = shop("").await.start().await;
    let one = gateway.granted("shop", "a.jpg").await;
    let other = gateway.granted("shop", "a.jpg").await;
    for field in ["key", "uploadID", "uploadToken", "publicURL", "uploadURL"] {
        assert_ne!(one.text(field), other.text(field), "{field}");
    }
}

#[tokio::test]
async fn names_are_kept_only_where_the_app_says_so() {
    let storage = crate::harness::seaweed::Seaweed::shared().await.config();
    let file = crate::harness::gateway::app_file(&storage, "KeepNames = false", "");
    let gateway = crate::harness::gateway::Setup::with_app("shop", file).start().await;
    let grant = gateway.granted("shop", "Grace Hopper.jpg").await;
    assert_eq!(&grant.key()[26..], "-image.jpg");
}

#[tokio::test]
async fn the_server_refuses_any_other_request_than_the_signed_one() {
    let gateway = shop("").await.start().await;
    let size = JPEG.bytes.len();
    let grant = granted(&gateway, json!({"file": "a.jpg", "size": size})).await;
    let other_key = gateway.granted("shop", "a.jpg").await;
    let put = || grant.put(JPEG.bytes);
    let bend = |change: &dyn Fn(&mut Plain)| {
        let mut request = put();
        change(&mut request);
        let bent = request.url != put().url || request.method != Method::PUT;
        assert!(bent, "the URL has nothing of what was to be changed: {}", request.url);
        request
    };
    let url = grant.text("uploadURL");
    let tampered = match url.strip_suffix('0') {
        Some(rest) => format!("{rest}1"),
        None => format!("{}0", &url[..url.len() - 1]),
    };
    for (why, request) in [
        ("another type", put().with_header("Content-Type", Some("text/html"))),
        ("no type", put().with_header("Content-Type", None)),
        ("a longer file", put().with_body([JPEG.bytes, b"x"].concat())),
        ("a shorter file", put().with_body(&JPEG.bytes[..size - 1])),
        ("no file", put().with_body("")),
        ("another method: POST", bend(&|r| r.method = Method::POST)),
        ("another method: GET", bend(&|r| r.method = Method::GET)),
        ("another method: DELETE", bend(&|r| r.method = Method::DELETE)),
        ("another key", bend(&|r| r.url = r.url.replace(grant.key(), other_key.key()))),
        ("a longer life", bend(&|r| r.url = r.url.replace("Expires=900", "Expires=86400"))),
        ("another signature", bend(&|r| r.url.clone_from(&tampered))),
        ("no signature", bend(&|r| r.url.truncate(r.url.find('?').unwrap()))),
    ] {
        request.send().await.assert_refused_with(NOT_SIGNED, why);
        for key in [grant.key(), other_key.key()] {
            assert_eq!(stored(key).await, Err(StorageErrorKind::NotFound), "{why}");
        }
    }
    put().send().await.assert_success();
    assert_eq!(stored(grant.key()).await.unwrap().size, size as u64);

    // What was granted is a PUT: it opens nothing that is there.
    for method in [Method::GET, Method::DELETE] {
        let request = bend(&|r| {
            r.method = method.clone();
            r.body.clear();
        });
        request.send().await.assert_refused_with(NOT_SIGNED, method.as_str());
    }
    assert_eq!(stored(grant.key()).await.unwrap().size, size as u64);
}

#[tokio::test]
async fn the_server_refuses_an_expired_url() {
    let gateway = shop("").await.start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    // The grant that the gateway would have given an hour ago, for the very same key.
    let path = path_of(grant.key());
    let put = PutGrant {
        path: &path,
        media_type: MediaType::Jpeg,
        size: None,
        sha256: None,
        prevent_overwrite: false,
        expires_in: Duration::from_secs(900),
    };
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let expired = bucket().await.sign_put(&put, an_hour_ago).await.unwrap();
    let answer = Plain::put(&expired, JPEG.bytes).send().await;
    answer.assert_refused_with(NOT_SIGNED, "an expired URL");
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound));
    grant.put(JPEG.bytes).send().await.assert_success();
}

#[tokio::test]
async fn the_server_writes_once_where_the_app_prevents_overwriting() {
    let gateway = shop("[Upload]\nPreventOverwrite = true").await.start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    let without = grant.put(JPEG.bytes).with_header("If-None-Match", None).send().await;
    without.assert_refused_with(NOT_SIGNED, "a PUT without the condition");
    grant.put(JPEG.bytes).send().await.assert_success();
    let first = stored(grant.key()).await.unwrap();
    let again = grant.put(b"other bytes").send().await;
    again.assert_refused_with(EXISTS, "the second PUT");
    assert_eq!(stored(grant.key()).await.unwrap(), first);
}

#[tokio::test]
async fn the_server_refuses_other_bytes_than_the_declared_checksums() {
    let gateway = shop("").await.start().await;
    let sum = hex(&sha256(JPEG.bytes));
    let grant = granted(&gateway, json!({"file": "a.jpg", "sha256": sum})).await;
    let mut other = JPEG.bytes.to_vec();
    *other.last_mut().unwrap() ^= 1;
    let own_sum = aws_smithy_types::base64::encode(sha256(&other));
    for (why, request) in [
        ("other bytes", grant.put(&other)),
        (
            "other bytes with their own checksum",
            grant.put(&other).with_header("x-amz-checksum-sha256", Some(&own_sum)),
        ),
        ("no checksum", grant.put(&other).with_header("x-amz-checksum-sha256", None)),
    ] {
        request.send().await.assert_refused_with(NOT_SIGNED, why);
        assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound), "{why}");
    }
    grant.put(JPEG.bytes).send().await.assert_success();
}

#[tokio::test]
async fn either_spelling_of_the_owner_is_one() {
    let gateway = shop("").await.start().await;
    let path = "/darkroom/shop/v1/images/presigned-urls";
    for spellings in [&["X_Owner_Id"][..], &["X-Owner-Id"], &["x_owner_id", "x-owner-id"]] {
        let mut request = gateway.request(Method::POST, path).with_body(r#"{"file":"a.jpg"}"#);
        for spelling in spellings {
            request = request.with_header(spelling, Some("owner-1"));
        }
        request.send().await.assert_success();
    }
}

#[tokio::test]
async fn a_fresh_upload_is_pending() {
    let gateway = shop("").await.start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    let expected = json!({
        "uploadID": grant.text("uploadID"),
        "key": grant.key(),
        "publicURL": grant.public_url(),
        "state": "pending",
        "expiresAt": grant.text("expiresAt"),
    });
    assert_eq!(status(&gateway, &grant).await, expected);
}
