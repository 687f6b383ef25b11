//! What a promise about an upload becomes: signed headers, which S3 compares with those of the
//! request. As query parameters it would ignore them.

use std::time::{Duration, SystemTime};

use super::S3Store;
use super::sigv4::Presign;
use crate::domain::StoragePath;
use crate::storage::{PartGrant, PutGrant, SignedRequest, StorageError, StorageErrorKind};

/// The highest part number of the protocol.
const MAX_PART_NUMBER: u16 = 10_000;

/// Says the SHA-256 of a body, in base64.
const CHECKSUM: &str = "x-amz-checksum-sha256";

impl S3Store {
    pub(super) fn grant_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.check_promises(grant)?;
        let size = grant.size.map(|size| size.to_string());
        let checksum = grant.sha256.map(aws_smithy_types::base64::encode);

        let media_type = grant.media_type.as_str();

        // In the order of their names.
        let mut signed = Vec::with_capacity(4);
        let mut headers = Vec::with_capacity(3);
        if let Some(size) = &size {
            // HTTP clients set it themselves, and browsers let no script do so.
            signed.push(("content-length", size.as_str()));
        }
        signed.push(("content-type", media_type));
        headers.push(("Content-Type", media_type.to_owned()));
        if grant.prevent_overwrite {
            signed.push(("if-none-match", "*"));
            headers.push(("If-None-Match", "*".to_owned()));
        }
        if let Some(checksum) = &checksum {
            signed.push((CHECKSUM, checksum));
            headers.push((CHECKSUM, checksum.clone()));
        }
        let request = Presign { headers: &signed, ..self.bare("PUT", grant.expires_in) };
        self.sign(request, grant.path, now, headers)
    }

    pub(super) fn grant_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.sign(self.bare("GET", expires_in), path, now, vec![])
    }

    /// Refuses what the provider would ignore, or answer with an error.
    fn check_promises(&self, grant: &PutGrant<'_>) -> Result<(), StorageError> {
        let title = self.provider.title();
        let refuse = |detail| Err(StorageError::new(StorageErrorKind::Unsupported, detail));
        if grant.sha256.is_some() && !self.provider.checks_sha256() {
            return refuse(format!("{title} is not known to check a SHA-256 of an upload"));
        }
        if grant.prevent_overwrite && !self.provider.keeps_what_exists() {
            return refuse(format!("{title} is not known to keep what exists"));
        }
        Ok(())
    }

    pub(super) fn grant_part(
        &self,
        grant: &PartGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        if !(1..=MAX_PART_NUMBER).contains(&grant.number) {
            let detail = format!("parts are numbered from 1 to {MAX_PART_NUMBER}");
            return Err(StorageError::new(StorageErrorKind::Unsupported, detail));
        }
        let number = grant.number.to_string();
        let size = grant.size.to_string();
        let checksum = grant.sha256.map(aws_smithy_types::base64::encode);
        let query = [("partNumber", number.as_str()), ("uploadId", grant.upload.0.as_str())];

        // In the order of their names.
        let mut signed = vec![("content-length", size.as_str())];
        let mut headers = Vec::new();
        if let Some(checksum) = &checksum {
            signed.push((CHECKSUM, checksum));
            headers.push((CHECKSUM, checksum.clone()));
        }
        let bare = self.bare("PUT", grant.expires_in);
        let request = Presign { query: &query, headers: &signed, ..bare };
        self.sign(request, grant.path, now, headers)
    }

    /// A request to this server that lacks its path, and has neither query nor headers.
    fn bare<'a>(&'a self, method: &'a str, expires_in: Duration) -> Presign<'a> {
        let (scheme, host) = (self.address.scheme, self.address.host());
        Presign { method, scheme, host, path: "", query: &[], headers: &[], expires_in }
    }

    fn sign(
        &self,
        request: Presign<'_>,
        path: &StoragePath,
        now: SystemTime,
        headers: Vec<(&'static str, String)>,
    ) -> Result<SignedRequest, StorageError> {
        let (presigner, expires_in) = self.signer.presigner(request.expires_in, now)?;
        let request = Presign { path: &self.address.path_of(path), expires_in, ..request };
        let signed = presigner.presign(&request, now).map_err(|refusal| {
            StorageError::new(StorageErrorKind::Unsupported, refusal.to_string())
        })?;
        Ok(SignedRequest { url: signed.url, headers, expires_at: signed.expires_at })
    }
}
