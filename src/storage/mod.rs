//! Object storage: the trait that every provider implements, and what a provider may answer.
//!
//! One file a provider. The conformance suite in `tests/` runs against each of them.

mod body;
mod call;
mod gcs;
mod kind;
mod renewal;
mod retries;
mod s3;
mod server;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::{ContentRange, ETag, MediaType, RangeRequest, Source, StoragePath};

pub use crate::domain::{MultipartId, ObjectMeta};
pub use body::{BodyError, ObjectBody};
pub use gcs::{
    GOOGLE_STORAGE, GcsAccess, GcsAccount, GcsConfig, GcsCredentials, GcsProcessCredentials,
    GcsStore, GcsSurroundings, GcsTimeouts, ServiceAccount,
};
pub use kind::{FileContext, Kind, Means, StorageKind};
pub use s3::{
    AccessKey, ProcessCredentials, Provider, Regions, S3Access, S3Config, S3Credentials, S3Store,
    S3Timeouts, Transport as AwsTransport,
};

/// A permission to PUT one object, with everything that the provider is to enforce.
#[derive(Debug, Clone)]
pub struct PutGrant<'a> {
    /// Where the object goes.
    pub path: &'a StoragePath,
    /// The only `Content-Type` that is accepted.
    pub media_type: MediaType,
    /// The only length that is accepted, in bytes.
    pub size: Option<u64>,
    /// The only content that is accepted.
    pub sha256: Option<[u8; 32]>,
    /// Whether an object that exists already is kept.
    pub prevent_overwrite: bool,
    /// How long the permission holds, from the time of signing. Whole seconds. Shorter where the
    /// credentials that sign end before.
    pub expires_in: Duration,
}

/// A permission to PUT one part of a multipart upload, with everything that the provider is to
/// enforce.
#[derive(Debug, Clone, Copy)]
pub struct PartGrant<'a> {
    /// Where the assembled object goes.
    pub path: &'a StoragePath,
    /// The multipart upload.
    pub upload: &'a MultipartId,
    /// 1 to 10,000.
    pub number: u16,
    /// The only length that is accepted, in bytes.
    pub size: u64,
    /// The only content that is accepted: for every part or for none, as the upload was begun.
    pub sha256: Option<[u8; 32]>,
    /// How long the permission holds, as for a [`PutGrant`].
    pub expires_in: Duration,
}

/// A request that its holder may send to the provider without further credentials.
#[derive(Clone)]
pub struct SignedRequest {
    /// The URL, with the signature in its query.
    pub url: String,
    /// The headers that the holder must send, beyond `Host` and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// When the permission ends.
    pub expires_at: SystemTime,
}

/// A signed URL is a bearer token: it is not for logs.
impl std::fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedRequest")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What part of an object is asked for, and under which conditions.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// The range; the whole object without one.
    pub range: Option<RangeRequest>,
    /// Only this version: anything else is [`StorageErrorKind::PreconditionFailed`].
    pub if_match: Option<ETag>,
    /// Not these versions: they are [`StorageErrorKind::NotModified`].
    pub if_none_match: Vec<ETag>,
}

/// An object, or a part of one, on its way.
pub struct ObjectRead {
    /// What the provider says of it.
    pub meta: ObjectMeta,
    /// The part that `body` holds; `None` for the whole object.
    pub part: Option<ContentRange>,
    /// The bytes.
    pub body: ObjectBody,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its full name in the bucket.
    pub path: StoragePath,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag.
    pub etag: Option<ETag>,
    /// When it was written.
    pub last_modified: Option<SystemTime>,
}

/// A page of a listing, in the order of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<Listed>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<String>,
}

/// A part of a multipart upload that the provider has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// 1 to 10,000.
    pub number: u16,
    /// Its size in bytes; 0 where the caller does not know it.
    pub size: u64,
    /// Its entity tag.
    pub etag: ETag,
    /// Its SHA-256, where the provider was given one and tells.
    pub sha256: Option<[u8; 32]>,
}

/// A failure of a storage call: a kind to decide by, and a detail for the log.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?}: {detail}")]
pub struct StorageError {
    /// What it means.
    pub kind: StorageErrorKind,
    /// What the provider said. For the log, never for a client.
    pub detail: String,
}

/// What a failed storage call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// There is no such object.
    NotFound,
    /// The object is one of those that `if_none_match` names.
    NotModified,
    /// The object is not the one that was asked for.
    PreconditionFailed,
    /// The range lies outside of the object.
    RangeNotSatisfiable {
        /// The size of the object, where the provider told.
        size: Option<u64>,
    },
    /// The provider refuses without saying whether there is such an object.
    AccessDenied,
    /// The provider does not accept our credentials or signature: no statement about the object.
    Credentials,
    /// The parts are not those of the multipart upload.
    WrongParts,
    /// There is no such multipart upload (any more).
    NoSuchUpload,
    /// The provider cannot do this.
    Unsupported,
    /// No answer in time.
    Timeout,
    /// More is to be signed than this machine can sign in time.
    Overloaded,
    /// No connection, a 5xx, a throttle, or an answer that makes no sense.
    Unavailable,
}

impl StorageError {
    /// A failure with its detail for the log.
    #[must_use]
    pub fn new(kind: StorageErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// A bucket (or a part of one) of some provider.
///
/// Every call has its own time limit inside and ends with [`StorageErrorKind::Timeout`] when it
/// runs out; dropping the future of a call cancels it.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Which provider this is.
    fn source(&self) -> Source;

    /// Signs a PUT. Makes no network call, but where the key is the provider's own (GCS without a
    /// key file).
    ///
    /// # Errors
    /// [`StorageErrorKind::Unsupported`] for a constraint that the provider cannot enforce: it is
    /// never dropped silently.
    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError>;

    /// Signs a GET of an object, which need not exist. The holder may ask for ranges and set
    /// conditions: no header but `Host` is signed. The permission holds for `expires_in` from
    /// `now`, in whole seconds; shorter where the credentials that sign end before. Makes a network
    /// call where [`sign_put`](Self::sign_put) does.
    ///
    /// # Errors
    /// [`StorageErrorKind::Unsupported`] for a life that the provider does not know.
    async fn sign_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError>;

    /// Asks for an object's metadata.
    ///
    /// # Errors
    /// Any [`StorageErrorKind`] of an object call.
    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError>;

    /// Opens an object for reading.
    ///
    /// # Errors
    /// Any [`StorageErrorKind`] of an object call.
    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError>;

    /// Writes a small object from memory. For probes and tests: uploads never pass through here.
    ///
    /// # Errors
    /// Any [`StorageErrorKind`] of an object call.
    async fn put(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError>;

    /// Deletes an object; one that does not exist is a success. With `only`, the object is deleted
    /// only if it still is that version (S3: `If-Match`, or the version; GCS: the generation).
    ///
    /// # Errors
    /// [`StorageErrorKind::PreconditionFailed`] if it is another version by now.
    async fn delete(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError>;

    /// Lists objects whose names begin with `prefix`, in order, at most `limit` (up to 1,000), from
    /// where the last page said.
    ///
    /// # Errors
    /// Any [`StorageErrorKind`] of an object call.
    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError>;

    /// Begins a multipart upload. With `checksums`, every part must come with its SHA-256; without,
    /// none may.
    ///
    /// # Errors
    /// [`StorageErrorKind::Unsupported`] where the provider has none.
    async fn create_multipart(
        &self,
        path: &StoragePath,
        media_type: MediaType,
        checksums: bool,
    ) -> Result<MultipartId, StorageError>;

    /// Signs the PUT of one part. Makes no network call on the hot path.
    ///
    /// # Errors
    /// [`StorageErrorKind::Unsupported`] where the provider has none.
    async fn sign_part(
        &self,
        grant: &PartGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError>;

    /// Lists all parts that the provider has, in the order of their numbers.
    ///
    /// # Errors
    /// [`StorageErrorKind::NoSuchUpload`] after completion or abortion.
    async fn list_parts(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError>;

    /// Assembles the object from its parts.
    ///
    /// # Errors
    /// [`StorageErrorKind::WrongParts`] for a list that does not match what the provider has.
    async fn complete_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
        parts: &[UploadedPart],
    ) -> Result<(), StorageError>;

    /// Gives a multipart upload up; one that does not exist is a success.
    ///
    /// # Errors
    /// Any [`StorageErrorKind`] of an object call.
    async fn abort_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<(), StorageError>;
}
