//! Amazon S3, and the servers that speak its protocol.
//!
//! | file | what it knows |
//! |---|---|
//! | `provider.rs` | who speaks the protocol, and how much of it |
//! | `access.rs` | what an app's file says of it |
//! | `config.rs` | where the bucket is, how long we wait |
//! | `credentials.rs` | who we are there: a key of the app's, or what the process has |
//! | `sigv4.rs` | presigned URLs and reads: the signature |
//! | `grants.rs` | presigned URLs: what a promise becomes |
//! | `objects.rs`, `multipart.rs` | the calls: reads by `storage/server.rs`, all else through the SDK |
//! | `transport.rs` | the SDK's way to the network |
//! | `errors.rs` | what a failed call means |

mod access;
mod config;
mod credentials;
mod errors;
mod grants;
mod multipart;
mod objects;
mod provider;
mod sigv4;
mod transport;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::call::within;
use super::server::Server;
use super::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageError, UploadedPart,
};
use crate::domain::{MediaType, Source, StoragePath};
use crate::upstream::Client;

pub use access::S3Access;
pub use config::{S3Config, S3Timeouts};
pub use credentials::{AccessKey, ProcessCredentials, S3Credentials};
pub use provider::{Provider, Regions};
pub use transport::Transport;

use config::Address;
use credentials::Signer;

/// A bucket of an S3 server.
///
/// It lies in memory as it stands here: first what signing needs, which is most of what a store does.
#[repr(C)]
pub struct S3Store {
    address: Address,
    /// Signs what clients send, and reads.
    signer: Signer,
    provider: Provider,
    source: Source,
    bucket: String,
    timeouts: S3Timeouts,
    /// Where reads go.
    server: Server,
    sdk: aws_sdk_s3::Client,
}

impl S3Store {
    /// Makes a store. Nothing is asked of the server.
    ///
    /// # Errors
    /// A text for the author of the settings.
    pub fn new(config: S3Config, client: Client) -> Result<Self, String> {
        let address = Address::of(&config)?;
        let of_attempt = config.timeouts.of_attempt();
        let server = Server::new(client.clone(), address.origin.clone(), of_attempt);
        let sdk = config.sdk_client(&address, client)?;
        let S3Config { bucket, provider, region, credentials, source, timeouts, .. } = config;
        let signer = Signer::new(credentials, region);
        Ok(Self { bucket, provider, source, address, timeouts, signer, server, sdk })
    }
}

impl std::fmt::Debug for S3Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Store")
            .field("bucket", &self.bucket)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn source(&self) -> Source {
        self.source
    }

    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.grant_put(grant, now)
    }

    async fn sign_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.grant_get(path, expires_in, now)
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        within(self.timeouts.call, self.head_object(path)).await
    }

    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        within(self.timeouts.call, self.get_object(path, options)).await
    }

    async fn put(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        within(self.timeouts.call, self.put_object(path, content_type, body)).await
    }

    async fn delete(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        within(self.timeouts.call, self.delete_object(path, only)).await
    }

    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        within(self.timeouts.call, self.list_objects(prefix, from, limit)).await
    }

    async fn create_multipart(
        &self,
        path: &StoragePath,
        media_type: MediaType,
        checksums: bool,
    ) -> Result<MultipartId, StorageError> {
        within(self.timeouts.call, self.begin_upload(path, media_type, checksums)).await
    }

    async fn sign_part(
        &self,
        grant: &PartGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.grant_part(grant, now)
    }

    async fn list_parts(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        within(self.timeouts.call, self.list_upload_parts(path, upload)).await
    }

    async fn complete_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
        parts: &[UploadedPart],
    ) -> Result<(), StorageError> {
        within(self.timeouts.complete, self.complete_upload(path, upload, parts)).await
    }

    async fn abort_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<(), StorageError> {
        within(self.timeouts.call, self.abort_upload(path, upload)).await
    }
}

#[cfg(test)]
mod tests;
