//! Google Cloud Storage.
//!
//! The object calls are the XML API's, through the gateway's own client: its answers carry the ETag
//! that a CDN in front of the bucket shows, and it obeys the same address policy and time limits as
//! every upstream. Google's own crate keeps the tokens of credentials that come in a file.
//!
//! | file | what it knows |
//! |---|---|
//! | `access.rs` | what an app's file says of it |
//! | `config.rs` | where the bucket is, who we are there, how long we wait |
//! | `credentials.rs` | a service account and its key |
//! | `adc.rs` | where a process finds its own credentials, and what a file of them may say |
//! | `process.rs` | the process's own credentials: found and renewed |
//! | `metadata.rs` | the metadata server, which hands them out |
//! | `identity.rs` | an account at work: what signs, and the tokens of calls |
//! | `sign_blob.rs` | signatures by Google, where no key is here |
//! | `v4.rs` | signed URLs: what is signed |
//! | `grants.rs` | signed URLs: what a promise becomes |
//! | `objects.rs` | the calls on objects |
//! | `listing.rs` | listing |
//! | `transport.rs` | one call: its token, its attempts, its answer |
//! | `errors.rs` | what a failed call means |

mod access;
mod adc;
mod config;
mod credentials;
mod errors;
mod grants;
mod identity;
mod listing;
mod metadata;
mod objects;
mod process;
mod sign_blob;
mod transport;
mod v4;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::call::within;
use super::server::Server;
use super::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageError, StorageErrorKind, UploadedPart,
};
use crate::domain::{MediaType, Source, StoragePath};
use crate::upstream::Client;

pub use access::{GcsAccess, GcsAccount};
pub use adc::GcsSurroundings;
pub use config::{GOOGLE_STORAGE, GcsConfig, GcsTimeouts};
pub use credentials::ServiceAccount;
pub use identity::GcsCredentials;
pub use process::GcsProcessCredentials;

use config::Address;
use identity::Caller;
use transport::XmlApi;

/// A bucket of Google Cloud Storage.
pub struct GcsStore {
    bucket: String,
    address: Address,
    call_limit: Duration,
    /// Who signs.
    caller: Caller,
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
        let caller = Caller::new(&config.credentials)?;
        let server = Server::new(client, address.origin.clone(), config.timeouts.of_attempt());
        let api = XmlApi::new(server, caller.clone());
        let GcsConfig { bucket, timeouts, .. } = config;
        Ok(Self { bucket, address, call_limit: timeouts.call, caller, api })
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
        within(self.call_limit, self.grant_put(grant, now)).await
    }

    async fn sign_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        within(self.call_limit, self.grant_get(path, expires_in, now)).await
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
