//! An object store in memory, which holds uploads to everything that was signed. It does what a
//! store must (the conformance suite runs against it), and fails when a test wants it to:
//!
//! ```ignore
//! let store = MemoryStore::start().await.with_fault(|call| match call {
//!     Call { operation: Operation::Delete, moment: Moment::Before, .. } => Err(Kind::Timeout),
//!     _ => Ok(()),
//! });
//! ```

mod contents;
mod front;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use safelight::domain::{ContentRange, MediaType, Source, StoragePath};
use safelight::storage::{
    GetOptions, ListPage, MultipartId, ObjectBody, ObjectMeta, ObjectRead, ObjectStore, PartGrant,
    PutGrant, SignedRequest, StorageError, StorageErrorKind as Kind, UploadedPart,
};

use contents::Contents;
use front::Front;

/// The longest life of a signed URL, as in every real store.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// The store. Its clones are the same store, each with the fault that it was given.
#[derive(Clone)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    front: Arc<Front>,
    fault: Option<Arc<Fault>>,
}

type Fault = dyn Fn(Call<'_>) -> Result<(), Kind> + Send + Sync;

/// A call that is being made.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub operation: Operation,
    pub moment: Moment,
    /// The object, or the prefix of a listing.
    pub path: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    SignPut,
    SignGet,
    Head,
    Get,
    Put,
    Delete,
    List,
    CreateMultipart,
    SignPart,
    ListParts,
    CompleteMultipart,
    AbortMultipart,
}

/// Where in a call a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has been done, and an error keeps it so.
    Before,
    /// It has been done; an error is an answer that got lost.
    After,
}

impl MemoryStore {
    /// An empty store, whose signed URLs work as long as the test's runtime lives.
    pub async fn start() -> Self {
        let contents = Arc::default();
        let front = Front::serve(Arc::clone(&contents)).await;
        Self { contents, front: Arc::new(front), fault: None }
    }

    /// The same store, which asks `fault` before and after each of its calls. A fault may also use
    /// another clone of the store, to change what lies in it between two calls. Clients with signed
    /// URLs meet no faults.
    pub fn with_fault(
        self,
        fault: impl Fn(Call<'_>) -> Result<(), Kind> + Send + Sync + 'static,
    ) -> Self {
        Self { fault: Some(Arc::new(fault)), ..self }
    }

    /// Writes an object at once, past all faults.
    pub fn place(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> ObjectMeta {
        self.contents().put(path, Some(content_type.to_owned()), body.into())
    }

    /// What lies in the store, in the order of names.
    pub fn names(&self) -> Vec<String> {
        self.contents().objects.keys().cloned().collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test panics while it holds the store")
    }

    /// One call: whatever happens to the contents happens at once.
    fn call<T>(
        &self,
        operation: Operation,
        path: &str,
        act: impl FnOnce(&mut Contents) -> Result<T, Kind>,
    ) -> Result<T, StorageError> {
        let strike = |moment| match &self.fault {
            None => Ok(()),
            Some(fault) => fault(Call { operation, moment, path }).map_err(|kind| {
                StorageError::new(kind, format!("{operation:?} of {path:?} fails on purpose"))
            }),
        };
        strike(Moment::Before)?;
        let done = act(&mut self.contents());
        strike(Moment::After)?;
        done.map_err(|kind| StorageError::new(kind, format!("{operation:?} of {path:?}")))
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn source(&self) -> Source {
        Source::Embedded
    }

    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        let path = grant.path.as_str();
        self.call(Operation::SignPut, path, |_| Ok(self.front.sign_put(grant, now)))
    }

    async fn sign_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.call(Operation::SignGet, path.as_str(), |_| {
            if !(Duration::from_secs(1)..=LONGEST_LIFE).contains(&expires_in) {
                return Err(Kind::Unsupported);
            }
            Ok(self.front.sign_get(path, now + expires_in))
        })
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        let path = path.as_str();
        self.call(Operation::Head, path, |contents| Ok(contents.object(path)?.meta.clone()))
    }

    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        let path = path.as_str();
        self.call(Operation::Get, path, |contents| {
            let object = contents.object(path)?;
            object.check(options)?;
            let meta = object.meta.clone();
            let part = options.range.map(|range| {
                let unsatisfiable = Kind::RangeNotSatisfiable { size: Some(meta.size) };
                let range = range.resolve(meta.size).ok_or(unsatisfiable)?;
                Ok(ContentRange { range, total: meta.size })
            });
            let part = part.transpose()?;
            let body = part.map_or_else(|| object.body.clone(), |part| object.part(part.range));
            let body = Full::new(body).map_err(|never| match never {});
            Ok(ObjectRead { meta, part, body: ObjectBody::new(body) })
        })
    }

    async fn put(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        let path = path.as_str();
        self.call(Operation::Put, path, |contents| {
            Ok(contents.put(path, Some(content_type.to_owned()), body))
        })
    }

    async fn delete(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        let path = path.as_str();
        self.call(Operation::Delete, path, |contents| contents.delete(path, only))
    }

    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        self.call(Operation::List, prefix, |contents| Ok(contents.list(prefix, from, limit)))
    }

    async fn create_multipart(
        &self,
        path: &StoragePath,
        media_type: MediaType,
        checksums: bool,
    ) -> Result<MultipartId, StorageError> {
        let path = path.as_str();
        self.call(Operation::CreateMultipart, path, |contents| {
            Ok(contents.begin(path, media_type.as_str(), checksums))
        })
    }

    async fn sign_part(
        &self,
        grant: &PartGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        let path = grant.path.as_str();
        self.call(Operation::SignPart, path, |_| Ok(self.front.sign_part(grant, now)))
    }

    async fn list_parts(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        let path = path.as_str();
        self.call(Operation::ListParts, path, |contents| {
            Ok(contents.upload(path, &upload.0)?.listed())
        })
    }

    async fn complete_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
        parts: &[UploadedPart],
    ) -> Result<(), StorageError> {
        let path = path.as_str();
        self.call(Operation::CompleteMultipart, path, |contents| {
            contents.complete(path, &upload.0, parts)
        })
    }

    async fn abort_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<(), StorageError> {
        self.call(Operation::AbortMultipart, path.as_str(), |contents| {
            contents.uploads.remove(&upload.0);
            Ok(())
        })
    }
}
