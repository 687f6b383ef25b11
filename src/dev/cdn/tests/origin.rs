//! An origin in memory, which counts what it is asked for and fails on request.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::dev::cdn::whole;
use crate::domain::{ContentRange, ETag, MediaType, Source, StoragePath};
use crate::storage::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageError, StorageErrorKind, UploadedPart,
};

#[derive(Default)]
pub(super) struct Origin {
    objects: Mutex<BTreeMap<String, Bytes>>,
    failure: Mutex<Option<StorageErrorKind>>,
    gets: AtomicUsize,
}

impl Origin {
    pub(super) fn put(&self, name: &str, body: &str) {
        self.objects.lock().unwrap().insert(name.to_owned(), Bytes::from(body.to_owned()));
    }

    /// Makes every read fail.
    pub(super) fn fail(&self, kind: Option<StorageErrorKind>) {
        *self.failure.lock().unwrap() = kind;
    }

    /// How many GETs came.
    pub(super) fn gets(&self) -> usize {
        self.gets.load(Ordering::SeqCst)
    }

    fn look_up(&self, path: &StoragePath) -> Result<(ObjectMeta, Bytes), StorageError> {
        if let Some(kind) = *self.failure.lock().unwrap() {
            return Err(StorageError::new(kind, "as ordered"));
        }
        let objects = self.objects.lock().unwrap();
        let bytes = objects
            .get(path.as_str())
            .ok_or_else(|| StorageError::new(StorageErrorKind::NotFound, "nothing"))?;
        let meta = ObjectMeta {
            size: bytes.len() as u64,
            content_type: Some("image/jpeg".to_owned()),
            etag: ETag::parse(&format!("tag-of-{}", bytes.len())),
            last_modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
            ..ObjectMeta::default()
        };
        Ok((meta, bytes.clone()))
    }
}

fn not_asked() -> StorageError {
    StorageError::new(StorageErrorKind::Unsupported, "a CDN only reads")
}

#[async_trait::async_trait]
impl ObjectStore for Origin {
    fn source(&self) -> Source {
        Source::S3
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        self.look_up(path).map(|(meta, _)| meta)
    }

    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let (meta, bytes) = self.look_up(path)?;
        let Some(range) = options.range else {
            return Ok(ObjectRead { meta, part: None, body: whole(bytes) });
        };
        let Some(range) = range.resolve(meta.size) else {
            let kind = StorageErrorKind::RangeNotSatisfiable { size: Some(meta.size) };
            return Err(StorageError::new(kind, "outside"));
        };
        let at = |n: u64| usize::try_from(n).unwrap();
        let body = whole(bytes.slice(at(range.start)..=at(range.end)));
        Ok(ObjectRead { part: Some(ContentRange { range, total: meta.size }), meta, body })
    }

    async fn sign_put(
        &self,
        _: &PutGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        Err(not_asked())
    }

    async fn sign_get(
        &self,
        _: &StoragePath,
        _: Duration,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        Err(not_asked())
    }

    async fn put(&self, _: &StoragePath, _: &str, _: Bytes) -> Result<ObjectMeta, StorageError> {
        Err(not_asked())
    }

    async fn delete(&self, _: &StoragePath, _: Option<&ObjectMeta>) -> Result<(), StorageError> {
        Err(not_asked())
    }

    async fn list(&self, _: &str, _: Option<&str>, _: u16) -> Result<ListPage, StorageError> {
        Err(not_asked())
    }

    async fn create_multipart(
        &self,
        _: &StoragePath,
        _: MediaType,
        _: bool,
    ) -> Result<MultipartId, StorageError> {
        Err(not_asked())
    }

    async fn sign_part(
        &self,
        _: &PartGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        Err(not_asked())
    }

    async fn list_parts(
        &self,
        _: &StoragePath,
        _: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        Err(not_asked())
    }

    async fn complete_multipart(
        &self,
        _: &StoragePath,
        _: &MultipartId,
        _: &[UploadedPart],
    ) -> Result<(), StorageError> {
        Err(not_asked())
    }

    async fn abort_multipart(&self, _: &StoragePath, _: &MultipartId) -> Result<(), StorageError> {
        Err(not_asked())
    }
}
