//! What only Google Cloud Storage has: generations, its own refusals, and what it cannot promise.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use safelight::domain::{MediaType, Secret, StoragePath};
use safelight::storage::{
    GcsConfig, GcsCredentials, GetOptions, MultipartId, ObjectStore as _, PartGrant, PutGrant,
    ServiceAccount, StorageErrorKind as Kind,
};
use url::Url;

use crate::harness::fake_gcs::{FakeGcs, KEY_FILE, open};
use crate::harness::gateway::{Setup, TestGateway};
use crate::harness::plain_client::Plain;
use crate::harness::{dead_ends, fake_gcs, photos};

const QUARTER_HOUR: Duration = Duration::from_secs(900);

fn grant(path: &StoragePath) -> PutGrant<'_> {
    PutGrant {
        path,
        media_type: MediaType::Jpeg,
        size: None,
        sha256: None,
        prevent_overwrite: false,
        expires_in: QUARTER_HOUR,
    }
}

/// The kinds of failure of a HEAD and of a GET.
async fn failures(config: GcsConfig) -> [Kind; 2] {
    let store = open(config);
    let path = StoragePath::from_listing("no/such/object.jpg");
    let head = store.head(&path).await.expect_err("there is nothing to be found");
    let get = store.get(&path, &GetOptions::default()).await.err().expect("nor here");
    [head.kind, get.kind]
}

#[tokio::test]
async fn a_missing_object_a_missing_bucket_and_a_stranger_are_told_apart() {
    let gcs = FakeGcs::shared().await;
    assert_eq!(failures(gcs.config().await).await, [Kind::NotFound; 2]);
    let elsewhere = GcsConfig { bucket: "no-such-bucket".into(), ..gcs.config().await };
    assert_eq!(failures(elsewhere).await, [Kind::Unavailable; 2]);
    let stranger = KEY_FILE.replace("gateway@", "stranger@");
    let account = ServiceAccount::parse(Secret::new(stranger)).unwrap();
    let stranger =
        GcsConfig { credentials: GcsCredentials::Account(account), ..gcs.config().await };
    assert_eq!(failures(stranger).await, [Kind::Credentials; 2]);
    let nobody = GcsConfig { credentials: GcsCredentials::Anonymous, ..gcs.config().await };
    assert_eq!(failures(nobody).await, [Kind::Credentials; 2]);
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable() {
    let endpoint = Url::parse(&dead_ends::nobody()).unwrap();
    let config = FakeGcs::shared().await.config().await;
    let store = open(GcsConfig { endpoint: Some(endpoint), ..config });
    let path = StoragePath::from_listing("a.jpg");
    let error = store.put(&path, "image/jpeg", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable, "{}", error.detail);
}

#[tokio::test]
async fn every_write_has_a_generation() {
    let store = open(FakeGcs::shared().await.config().await);
    let path = StoragePath::from_listing("generations/a.jpg");
    let put =
        |body: &'static str| store.put(&path, "image/jpeg", Bytes::from_static(body.as_bytes()));
    let (first, second) = (put("same").await.unwrap(), put("same").await.unwrap());
    assert_eq!(first.etag, second.etag);
    assert!(first.version.is_some() && first.version != second.version);
    assert_eq!(store.head(&path).await.unwrap().version, second.version);

    // The same bytes, and still another write.
    let refused = store.delete(&path, Some(&first)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::PreconditionFailed);
    // A version that is known by its ETag alone.
    let by_etag = safelight::storage::ObjectMeta { version: None, ..second };
    store.delete(&path, Some(&by_etag)).await.unwrap();
    assert_eq!(store.head(&path).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn an_expired_url_is_refused() {
    let path = StoragePath::from_listing("expired/a.jpg");
    let clock_ahead = QUARTER_HOUR + Duration::from_secs(1);
    let late = FakeGcs::shared().await.config_ahead_by(clock_ahead).await;
    let signed = open(late).sign_put(&grant(&path), SystemTime::now()).await.unwrap();
    Plain::put(&signed, "hello").send().await.assert_refused_with(&[400], "an expired URL");

    let just = FakeGcs::shared().await.config_ahead_by(QUARTER_HOUR - Duration::from_secs(60));
    let signed = open(just.await).sign_put(&grant(&path), SystemTime::now()).await.unwrap();
    Plain::put(&signed, "hello").send().await.assert_success();
}

#[tokio::test]
async fn what_cannot_be_promised_is_refused() {
    let config = FakeGcs::shared().await.config().await;
    let store = open(config.clone());
    let path = StoragePath::from_listing("refused/a.jpg");
    let now = SystemTime::now();
    for (why, grant) in [
        ("a checksum", PutGrant { sha256: Some([0; 32]), ..grant(&path) }),
        ("eight days", PutGrant { expires_in: Duration::from_secs(8 * 86_400), ..grant(&path) }),
        ("the past", PutGrant { expires_in: Duration::ZERO, ..grant(&path) }),
    ] {
        let error = store.sign_put(&grant, now).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported, "{why}");
    }
    let anonymous = open(GcsConfig { credentials: GcsCredentials::Anonymous, ..config });
    let error = anonymous.sign_put(&grant(&path), now).await.unwrap_err();
    assert_eq!(error.kind, Kind::Credentials);

    let upload = MultipartId("u".into());
    let created = store.create_multipart(&path, MediaType::Jpeg, false).await.map(|_| ());
    let part = PartGrant {
        path: &path,
        upload: &upload,
        number: 1,
        size: 1,
        sha256: None,
        expires_in: QUARTER_HOUR,
    };
    let signed = store.sign_part(&part, now).await.map(|_| ());
    let listed = store.list_parts(&path, &upload).await.map(|_| ());
    let completed = store.complete_multipart(&path, &upload, &[]).await;
    let aborted = store.abort_multipart(&path, &upload).await;
    for outcome in [created, signed, listed, completed, aborted] {
        assert_eq!(outcome.map_err(|error| error.kind), Err(Kind::Unsupported));
    }
}

/// The tag of an object is that of its bytes, and a verdict is about one writing of them.
#[tokio::test]
async fn a_ready_object_is_known_by_its_generation() {
    let gateway = gateway("ServeOnlyReady = true").await;
    let photo = photos::JPEG;
    let grant = gateway.uploaded("shop", photo.file, photo.bytes).await;
    gateway.get(grant.public_url()).await.assert_problem(404, "not_found");
    gateway.request(Method::POST, grant.text("finalizeURL")).send().await.assert_success();
    let answer = gateway.get(grant.public_url()).await;
    assert!(answer.status == 200 && answer.body == photo.bytes, "{}", answer.status);

    let store = open(FakeGcs::shared().await.config().await);
    let object = Url::parse(grant.text("uploadURL")).unwrap().path().to_owned();
    let (_, object) = object[1..].split_once('/').expect("bucket and object");
    let path = StoragePath::from_listing(object);
    let before = store.head(&path).await.unwrap();
    let bytes = Bytes::from_static(photo.bytes);
    let after = store.put(&path, photo.content_type, bytes).await.unwrap();
    assert_eq!(before.etag, after.etag);
    for method in [Method::GET, Method::HEAD] {
        let answer = gateway.request(method.clone(), grant.public_url()).send().await;
        assert_eq!(answer.status, 404, "{method}");
    }
}

async fn gateway(upload: &str) -> TestGateway {
    let endpoint = FakeGcs::shared().await.config().await.endpoint.unwrap();
    let file = format!(
        "AllowPublicUpload = true\n{}[Upload]\nPreventOverwrite = true\n{upload}\n",
        fake_gcs::storage_section(&endpoint)
    );
    Setup::with_app("shop", file).and_secret("shop/key.json", KEY_FILE).start().await
}

#[tokio::test]
async fn promises_to_clients_are_headers_that_they_send() {
    let gateway = gateway("").await;
    let photo = photos::ALL.first().expect("there are photos");
    let body = serde_json::json!({"file": photo.file, "size": photo.bytes.len()});
    let answer = gateway.presign("shop", "owner-1", body).await;
    answer.assert_success();
    let data = answer.json()["data"].clone();
    let size = photo.bytes.len();
    let expected = serde_json::json!({
        "Content-Type": photo.content_type,
        "x-goog-content-length-range": format!("{size},{size}"),
        "x-goog-if-generation-match": "0",
    });
    assert_eq!(data["headers"], expected);
    let grant = crate::harness::gateway::Grant(data);
    let longer = [photo.bytes, b"!"].concat();
    grant.put(&longer).send().await.assert_refused_with(&[400], "a longer file");
    grant.put(photo.bytes).send().await.assert_success();
    grant.put(photo.bytes).send().await.assert_refused_with(&[412], "the same URL again");

    let sum = "0".repeat(64);
    let body = serde_json::json!({"file": photo.file, "sha256": sum});
    let refused = gateway.presign("shop", "owner-1", body).await;
    refused.assert_problem(400, "unsupported_constraint");
}
