//! Google Cloud Storage.
//!
//! Signing and tokens come from Google's own crates. The object calls are the XML API's, through
//! the gateway's own client: its answers carry the ETag that a CDN in front of the bucket shows,
//! and it obeys the same address policy and time limits as every upstream.
//!
//! | file | what it knows |
//! |---|---|
//! | `config.rs` | where the bucket is, who we are there, how long we wait |
//! | `credentials.rs` | a service account: its signatures and its tokens |
//! | `grants.rs` | signed URLs: what a promise becomes |
//! | `objects.rs` | the calls on objects |
//! | `listing.rs` | listing |
//! | `transport.rs` | one call: its token, its attempts, its answer |
//! | `retries.rs` | when to try again, and after how long |
//! | `errors.rs` | what a failed call means |

mod config;
mod credentials;
mod errors;
mod grants;
mod listing;
mod objects;
mod retries;
mod transport;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::call::within;
use super::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageError, StorageErrorKind, UploadedPart,
};
use crate::domain::{MediaType, Source, StoragePath};
use crate::upstream::Client;

pub use config::{GcsConfig, GcsTimeouts};
pub use credentials::ServiceAccount;

use config::Address;
use credentials::Identity;
use transport::XmlApi;

/// A bucket of Google Cloud Storage.
pub struct GcsStore {
    bucket: String,
    address: Address,
    call_limit: Duration,
    /// Who signs; nobody at an emulator without credentials.
    identity: Option<Identity>,
    api: XmlApi,
}

impl GcsStore {
    /// Makes a store. Nothing is asked of the server. The task that keeps a token fresh starts.
    ///
    /// # Errors
    /// A text for the author of the settings.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: GcsConfig, client: Client) -> Result<Self, String> {
        let address = Address::of(&config)?;
        let identity = config.service_account.as_ref().map(Identity::new).transpose()?;
        let tokens = identity.as_ref().map(Identity::tokens);
        let api = XmlApi::new(client, address.origin.clone(), tokens, config.timeouts);
        let GcsConfig { bucket, timeouts, .. } = config;
        Ok(Self { bucket, address, call_limit: timeouts.call, identity, api })
    }
}

impl std::fmt::Debug for GcsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GcsStore")
            .field("bucket", &self.bucket)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The protocol has multipart uploads of its own; this store does not offer them yet.
fn no_multipart<T>() -> Result<T, StorageError> {
    let detail = "multipart uploads are not available with Storage.Kind = \"gcs\"";
    Err(StorageError::new(StorageErrorKind::Unsupported, detail))
}

#[async_trait]
impl ObjectStore for GcsStore {
    fn source(&self) -> Source {
        Source::Gcs
    }

    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.grant_put(grant, now).await
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        within(self.call_limit, self.head_object(path)).await
    }

    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        within(self.call_limit, self.get_object(path, options)).await
    }

    async fn put(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        within(self.call_limit, self.put_object(path, content_type, body)).await
    }

    async fn delete(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        within(self.call_limit, self.delete_object(path, only)).await
    }

    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        within(self.call_limit, self.list_objects(prefix, from, limit)).await
    }

    async fn create_multipart(
        &self,
        _: &StoragePath,
        _: MediaType,
        _: bool,
    ) -> Result<MultipartId, StorageError> {
        no_multipart()
    }

    async fn sign_part(
        &self,
        _: &PartGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        no_multipart()
    }

    async fn list_parts(
        &self,
        _: &StoragePath,
        _: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        no_multipart()
    }

    async fn complete_multipart(
        &self,
        _: &StoragePath,
        _: &MultipartId,
        _: &[UploadedPart],
    ) -> Result<(), StorageError> {
        no_multipart()
    }

    async fn abort_multipart(&self, _: &StoragePath, _: &MultipartId) -> Result<(), StorageError> {
        no_multipart()
    }
}

#[cfg(test)]
mod tests;
