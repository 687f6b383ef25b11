//! The calls on single objects.

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
};
use http::{HeaderMap, Method};

use super::GcsStore;
use super::transport::{Call, Failed};
use crate::domain::{ETag, StoragePath};
use crate::storage::call::{
    check_version, date, extent, head_by_get, nonsense, number, read_headers, text,
};
use crate::storage::{GetOptions, ObjectMeta, ObjectRead, StorageError, StorageErrorKind};

/// Names one write of an object: it grows with every write.
const GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");
/// The length and encoding of what is stored, where an answer is not as it is stored.
const STORED_LENGTH: HeaderName = HeaderName::from_static("x-goog-stored-content-length");
const STORED_ENCODING: HeaderName = HeaderName::from_static("x-goog-stored-content-encoding");
/// Makes a call conditional on the generation.
const IF_GENERATION: &str = "x-goog-if-generation-match";

impl GcsStore {
    pub(super) async fn head_object(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        let call = Call::new(Method::HEAD, self.address.path_of(path));
        match self.api.send(call).await {
            Ok(response) => {
                let headers = response.headers();
                let stored = number(headers, &STORED_LENGTH);
                let size = stored.or_else(|| number(headers, &CONTENT_LENGTH));
                Ok(meta(headers, size.ok_or_else(|| nonsense("an object without a length"))?))
            }
            Err(Failed { status: Some(400 | 403 | 404), .. }) => {
                head_by_get(|options| async move { self.get_object(path, &options).await }).await
            }
            Err(failed) => Err(failed.error),
        }
    }

    pub(super) async fn get_object(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        let mut call = Call::new(Method::GET, self.address.path_of(path));
        call.headers.extend(read_headers(options)?);
        let response = self.api.send(call).await?;
        let (head, body) = response.into_parts();
        let headers = &head.headers;
        if is_unpacked(headers) {
            let detail = "the object was stored with a Content-Encoding, and the server unpacks it \
                          on its way: neither its length nor its ETag are those of what it sends";
            return Err(StorageError::new(StorageErrorKind::Unavailable, detail));
        }
        let (size, part) = extent(head.status, headers, options.range)?;
        let meta = meta(headers, size);
        check_version(&meta, options)?;
        Ok(ObjectRead { meta, part, body: body.into() })
    }

    pub(super) async fn put_object(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        let size = body.len() as u64;
        let mut call = Call::new(Method::PUT, self.address.path_of(path))
            .header("content-type", content_type)?;
        call.body = body;
        let response = self.api.send(call).await?;
        let headers = response.headers();
        Ok(ObjectMeta {
            size,
            content_type: Some(content_type.to_owned()),
            content_encoding: None,
            etag: text(headers, &ETAG).and_then(ETag::parse),
            last_modified: None,
            version: text(headers, &GENERATION).map(str::to_owned),
        })
    }

    /// Deletes an object. With `only`, on the condition that its generation is the one meant. In a
    /// bucket that keeps versions, the generation becomes a noncurrent one.
    pub(super) async fn delete_object(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        let mut call = Call::new(Method::DELETE, self.address.path_of(path));
        if let Some(only) = only {
            let generation = match self.generation_of(path, only).await {
                Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => return Ok(()),
                generation => generation?,
            };
            call = call.header(IF_GENERATION, &generation)?;
        }
        match self.api.send(call).await.map_err(StorageError::from) {
            Ok(_) | Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => Ok(()),
            Err(error) if error.kind == StorageErrorKind::PreconditionFailed => {
                // Nothing has no generation either.
                match self.head_object(path).await {
                    Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => Ok(()),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The generation of a version that is known. Of one that is known by its ETag alone, it is
    /// the object's own, if that has the same ETag.
    async fn generation_of(
        &self,
        path: &StoragePath,
        only: &ObjectMeta,
    ) -> Result<String, StorageError> {
        if let Some(generation) = &only.version {
            return Ok(generation.clone());
        }
        let unknown = |detail| StorageError::new(StorageErrorKind::Unsupported, detail);
        if only.etag.is_none() {
            return Err(unknown("the version to delete has neither a generation nor an ETag"));
        }
        let current = self.head_object(path).await?;
        if current.etag != only.etag {
            let detail = "the object is another version by now";
            return Err(StorageError::new(StorageErrorKind::PreconditionFailed, detail));
        }
        current.version.ok_or_else(|| unknown("the server tells no generation"))
    }
}

/// Whether the body is something else than what is stored ("decompressive transcoding").
fn is_unpacked(headers: &HeaderMap) -> bool {
    stored_encoding(headers).is_some() && !headers.contains_key(CONTENT_ENCODING)
}

/// The encoding of what is stored, whatever is done to it on the way.
fn stored_encoding(headers: &HeaderMap) -> Option<&str> {
    text(headers, &STORED_ENCODING).filter(|encoding| *encoding != "identity")
}

fn meta(headers: &HeaderMap, size: u64) -> ObjectMeta {
    let owned = |name: &HeaderName| text(headers, name).map(str::to_owned);
    let stored = stored_encoding(headers).map(str::to_owned);
    ObjectMeta {
        size,
        content_type: owned(&CONTENT_TYPE),
        content_encoding: stored.or_else(|| owned(&CONTENT_ENCODING)),
        etag: text(headers, &ETAG).and_then(ETag::parse),
        last_modified: date(headers, &LAST_MODIFIED),
        version: owned(&GENERATION),
    }
}
