//! Storage as it is for whoever may not do everything.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use safelight::apps::{App, Workshop};
use safelight::doctor::{Check, Examination};
use safelight::domain::{MediaType, Source, StoragePath};
use safelight::gateway::Configuration;
use safelight::metrics::Metrics;
use safelight::storage::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageError, StorageErrorKind, UploadedPart,
};
use safelight::upstream::Client;

use super::{Rows, app_on, assert_nothing_left, objects};
use crate::harness::seaweed::{Seaweed, open};

/// Storage as it is for whoever may not list, or may not delete.
struct Denying {
    store: Arc<dyn ObjectStore>,
    denies_list: bool,
    denies_delete: bool,
}

fn denied() -> StorageError {
    StorageError::new(StorageErrorKind::AccessDenied, "403 AccessDenied")
}

#[async_trait]
impl ObjectStore for Denying {
    fn source(&self) -> Source {
        self.store.source()
    }
    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.store.sign_put(grant, now).await
    }
    async fn sign_get(
        &self,
        _: &StoragePath,
        _: Duration,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        unreachable!("nobody is sent to the store")
    }
    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        self.store.head(path).await.map_err(|error| match error.kind {
            StorageErrorKind::NotFound => denied(),
            _ => error,
        })
    }
    async fn get(&self, path: &StoragePath, o: &GetOptions) -> Result<ObjectRead, StorageError> {
        self.store.get(path, o).await
    }
    async fn put(&self, _: &StoragePath, _: &str, _: Bytes) -> Result<ObjectMeta, StorageError> {
        unreachable!("what is written is written as clients do")
    }
    async fn delete(&self, path: &StoragePath, o: Option<&ObjectMeta>) -> Result<(), StorageError> {
        if self.denies_delete { Err(denied()) } else { self.store.delete(path, o).await }
    }
    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        if self.denies_list { Err(denied()) } else { self.store.list(prefix, from, limit).await }
    }
    async fn create_multipart(
        &self,
        _: &StoragePath,
        _: MediaType,
        _: bool,
    ) -> Result<MultipartId, StorageError> {
        unreachable!("the probe is small")
    }
    async fn sign_part(
        &self,
        _: &PartGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        unreachable!("the probe is small")
    }
    async fn list_parts(
        &self,
        _: &StoragePath,
        _: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        unreachable!("the probe is small")
    }
    async fn complete_multipart(
        &self,
        _: &StoragePath,
        _: &MultipartId,
        _: &[UploadedPart],
    ) -> Result<(), StorageError> {
        unreachable!("the probe is small")
    }
    async fn abort_multipart(&self, _: &StoragePath, _: &MultipartId) -> Result<(), StorageError> {
        unreachable!("the probe is small")
    }
}

/// Examines an app whose key may not do everything. Gives what the examination found, what it left
/// in the bucket, and what it says when it cleans up.
async fn examined(
    prefix: &str,
    denies_list: bool,
    denies_delete: bool,
) -> (Rows, Vec<String>, Result<(), String>) {
    let storage = Seaweed::shared().await.config();
    let Configuration { settings, mut apps, .. } = app_on(&storage, prefix, "", "").configuration();
    let client = Client::new(settings.server.address_policy.clone()).unwrap();
    let workshop = Workshop {
        client: &client,
        metrics: &Metrics::new(),
        public_base_url: &settings.server.public_base_url,
        loop_token: &HeaderValue::from_static("a-mark"),
        embedded: None,
        process: None,
        google: None,
        apps: 1,
    };
    let mut app = App::build(apps.remove(0), &workshop).unwrap();
    app.store = Arc::new(Denying { store: app.store, denies_list, denies_delete });
    let mut examination = Examination::new(&app, &client, &storage.bucket, None).unwrap();
    let rows = Rows::from(examination.run().await);
    let left = objects(&storage, prefix).await;
    let cleaned = examination.clean_up().await;
    let store = open(storage);
    for name in &left {
        store.delete(&StoragePath::from_listing(name), None).await.unwrap();
    }
    (rows, left, cleaned)
}

#[tokio::test]
async fn a_listing_that_is_not_allowed_is_told_as_what_hides_missing_objects() {
    let (rows, left, _) = examined("unlisted/", true, false).await;
    rows.assert_only_fail(&[Check::List, Check::Missing]);
    let fix = "allow s3:ListBucket on arn:aws:s3:::media to the access key";
    rows.assert_failed(Check::List, "403", fix);
    rows.assert_failed(Check::Missing, "403", fix);
    rows.assert_failed(Check::Missing, "403", "502 instead of 404");
    assert_nothing_left(&left);
}

#[tokio::test]
async fn a_condition_on_the_prefix_is_told_by_listings_that_are_allowed() {
    let (rows, left, _) = examined("prefixed/", false, false).await;
    rows.assert_only_fail(&[Check::Missing]);
    rows.assert_failed(Check::Missing, "403", "condition (s3:prefix)");
    assert_nothing_left(&left);
}

#[tokio::test]
async fn what_may_not_be_deleted_is_named_object_by_object() {
    let (rows, left, cleaned) = examined("undeleted/", true, true).await;
    rows.assert_only_fail(&[Check::List, Check::Missing, Check::Delete]);
    rows.assert_failed(Check::Delete, "403", "allow s3:DeleteObject");
    assert_eq!(left.len(), 3, "the probe and two with a declaration: {left:?}");
    let cleaned = cleaned.unwrap_err();
    for name in &left {
        rows.assert_failed(Check::Delete, "403", name);
        assert!(cleaned.contains(name), "{cleaned}");
    }
}
