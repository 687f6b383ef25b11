//! What a promise about an upload becomes: signed headers, which the server compares with those of
//! the request, and `x-goog-…` ones that it also obeys.

use std::time::{Duration, SystemTime};

use super::GcsStore;
use super::v4::{Request, Unsigned};
use crate::domain::StoragePath;
use crate::storage::{PutGrant, SignedRequest, StorageError, StorageErrorKind};

impl GcsStore {
    pub(super) async fn grant_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        if grant.sha256.is_some() {
            let detail = "Google Cloud Storage does not check a SHA-256 of an upload";
            return Err(StorageError::new(StorageErrorKind::Unsupported, detail));
        }
        let range = grant.size.map(|size| format!("{size},{size}"));
        let media_type = grant.media_type.as_str();

        // In the order of their names.
        let mut signed = vec![("content-type", media_type)];
        let mut headers = vec![("Content-Type", media_type.to_owned())];
        if let Some(range) = &range {
            signed.push(("x-goog-content-length-range", range));
            headers.push(("x-goog-content-length-range", range.clone()));
        }
        if grant.prevent_overwrite {
            signed.push(("x-goog-if-generation-match", "0"));
            headers.push(("x-goog-if-generation-match", "0".to_owned()));
        }
        self.sign("PUT", grant.path, &signed, grant.expires_in, now, headers).await
    }

    pub(super) async fn grant_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.sign("GET", path, &[], expires_in, now, vec![]).await
    }

    async fn sign(
        &self,
        method: &str,
        path: &StoragePath,
        signed_headers: &[(&str, &str)],
        expires_in: Duration,
        now: SystemTime,
        headers: Vec<(&'static str, String)>,
    ) -> Result<SignedRequest, StorageError> {
        let Some(identity) = self.caller.identity()? else {
            let detail = "there is no key to sign with: name one in Storage.CredentialsFile";
            return Err(StorageError::new(StorageErrorKind::Credentials, detail));
        };
        let request = Request {
            method,
            endpoint: &self.address.endpoint,
            path: &self.address.path_of(path),
            headers: signed_headers,
            expires_in: identity.url_life(expires_in),
        };
        let unsigned =
            Unsigned::new(&request, identity.client_email(), now).map_err(|refusal| {
                StorageError::new(StorageErrorKind::Unsupported, refusal.to_string())
            })?;
        let signature = identity.sign(&unsigned).await?;
        let (url, expires_at) = unsigned.with_signature(&signature);
        Ok(SignedRequest { url, headers, expires_at })
    }
}
