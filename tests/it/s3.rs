//! What only S3 has: the difference between a missing object, a missing bucket and bad credentials.

use bytes::Bytes;
use safelight::domain::StoragePath;
use safelight::storage::{GetOptions, ObjectStore as _, S3Config, StorageErrorKind};

use crate::harness::dead_ends;
use crate::harness::seaweed::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Seaweed, open, with_key};

/// The kinds of failure of a HEAD and of a GET.
async fn failures(config: S3Config) -> [StorageErrorKind; 2] {
    let store = open(config);
    let path = StoragePath::from_listing("no/such/object.jpg");
    let head = store.head(&path).await.expect_err("there is nothing to be found");
    let get = store.get(&path, &GetOptions::default()).await.err().expect("nor here");
    [head.kind, get.kind]
}

#[tokio::test]
async fn a_missing_object_is_not_found() {
    let kinds = failures(Seaweed::shared().await.config()).await;
    assert_eq!(kinds, [StorageErrorKind::NotFound; 2]);
}

#[tokio::test]
async fn a_missing_bucket_is_no_missing_object() {
    let config = S3Config { bucket: "no-such-bucket".into(), ..Seaweed::shared().await.config() };
    assert_eq!(failures(config).await, [StorageErrorKind::Unavailable; 2]);
}

#[tokio::test]
async fn bad_credentials_are_no_missing_object() {
    let good = Seaweed::shared().await.config();
    let wrong_secret = with_key(&good, ACCESS_KEY_ID, "another");
    assert_eq!(failures(wrong_secret).await, [StorageErrorKind::Credentials; 2]);
    let wrong_id = with_key(&good, "AKIDNOBODY", SECRET_ACCESS_KEY);
    assert_eq!(failures(wrong_id).await, [StorageErrorKind::Credentials; 2]);
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable() {
    let endpoint = Some(url::Url::parse(&dead_ends::nobody()).unwrap());
    let store = open(S3Config { endpoint, ..Seaweed::shared().await.config() });
    let path = StoragePath::from_listing("a.jpg");
    let error = store.put(&path, "image/jpeg", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unavailable, "{}", error.detail);
}

#[tokio::test]
async fn the_versioned_bucket_of_the_tests_keeps_versions() {
    let store = open(Seaweed::shared().await.versioned_config());
    let path = StoragePath::from_listing("versions/a.jpg");
    let first = store.put(&path, "image/jpeg", Bytes::from_static(b"1")).await.unwrap();
    let second = store.put(&path, "image/jpeg", Bytes::from_static(b"2")).await.unwrap();
    assert!(first.version.is_some() && first.version != second.version);
    assert_eq!(store.head(&path).await.unwrap().version, second.version);

    store.delete(&path, Some(&second)).await.unwrap();
    assert_eq!(store.head(&path).await.unwrap().version, first.version, "the older one is back");
    store.delete(&path, None).await.unwrap();
    let hidden = store.head(&path).await.unwrap_err();
    assert_eq!(hidden.kind, StorageErrorKind::NotFound);
}
