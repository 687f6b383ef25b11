//! The calls on single objects, and listing.

use std::time::SystemTime;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::S3Store;
use super::errors::{nonsense, storage_error};
use crate::domain::{ByteRange, ContentRange, ETag, RangeRequest, StoragePath};
use crate::storage::{
    GetOptions, ListPage, Listed, ObjectMeta, ObjectRead, StorageError, StorageErrorKind,
};

/// The largest page of a listing, by the protocol.
const MAX_KEYS: u16 = 1_000;

/// The version id of objects that were written while their bucket kept no versions. Each write
/// replaces the one before under the same id, so it identifies nothing.
const NULL_VERSION: &str = "null";

impl S3Store {
    pub(super) async fn head_object(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        let sent = self.sdk.head_object().bucket(&self.bucket).key(path.as_str()).send().await;
        let output = match sent {
            Ok(output) => output,
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                return match status {
                    // The failure of a HEAD has no body and so no code: it does not say whether
                    // the object, the bucket or the credentials are meant.
                    Some(400 | 403 | 404) => self.head_by_get(path).await,
                    _ => Err(storage_error(&error)),
                };
            }
        };
        Ok(ObjectMeta {
            size: length(output.content_length())?,
            content_type: output.content_type,
            content_encoding: output.content_encoding,
            etag: output.e_tag.as_deref().and_then(ETag::parse),
            last_modified: output.last_modified.and_then(time),
            version: output.version_id.and_then(version),
        })
    }

    /// Asks for an object's metadata with a GET of its first byte, for the code of the error.
    async fn head_by_get(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        let first_byte =
            GetOptions { range: Some(RangeRequest::Between(0, 0)), ..GetOptions::default() };
        match self.get_object(path, &first_byte).await {
            Ok(read) => Ok(read.meta),
            Err(StorageError { kind: StorageErrorKind::RangeNotSatisfiable { .. }, .. }) => {
                // An empty object: it is there now, though it was not a moment ago.
                self.get_object(path, &GetOptions::default()).await.map(|read| read.meta)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get_object(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        let none_of: Vec<&str> = options.if_none_match.iter().map(ETag::as_str).collect();
        let output = self
            .sdk
            .get_object()
            .bucket(&self.bucket)
            .key(path.as_str())
            .set_range(options.range.map(|range| range.to_string()))
            .set_if_match(options.if_match.as_ref().map(|etag| etag.as_str().to_owned()))
            .set_if_none_match((!none_of.is_empty()).then(|| none_of.join(", ")))
            .send()
            .await
            .map_err(|error| storage_error(&error))?;

        let part = output.content_range.as_deref().and_then(ContentRange::parse);
        let sent = length(output.content_length)?;
        check_part(part, sent, options.range)?;
        let meta = ObjectMeta {
            size: part.map_or(sent, |part| part.total),
            content_type: output.content_type,
            content_encoding: output.content_encoding,
            etag: output.e_tag.as_deref().and_then(ETag::parse),
            last_modified: output.last_modified.and_then(time),
            version: output.version_id.and_then(version),
        };
        // Some servers ignore the conditions.
        if options.if_match.is_some() && options.if_match != meta.etag {
            let detail = "the server ignored If-Match and sent another version";
            return Err(StorageError::new(StorageErrorKind::PreconditionFailed, detail));
        }
        if let Some(etag) = &meta.etag
            && options.if_none_match.iter().any(|known| known.matches_weakly(etag))
        {
            let detail = "the server ignored If-None-Match and sent a version that is known";
            return Err(StorageError::new(StorageErrorKind::NotModified, detail));
        }
        Ok(ObjectRead { meta, part, body: Box::pin(output.body.into_inner()) })
    }

    pub(super) async fn put_object(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        let size = body.len() as u64;
        let output = self
            .sdk
            .put_object()
            .bucket(&self.bucket)
            .key(path.as_str())
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|error| storage_error(&error))?;
        Ok(ObjectMeta {
            size,
            content_type: Some(content_type.to_owned()),
            content_encoding: None,
            etag: output.e_tag.as_deref().and_then(ETag::parse),
            last_modified: None,
            version: output.version_id.and_then(version),
        })
    }

    /// Deletes an object. Where the bucket keeps versions, `only` names the one that goes, and an
    /// older one may come to light; without `only` a delete marker hides them all.
    ///
    /// Where it does not, `If-Match` makes the deletion conditional: Amazon's servers and SeaweedFS
    /// honour it. A server that ignores it there would delete whatever it has, so the object is
    /// looked at first, which on such a server leaves the moment in between.
    pub(super) async fn delete_object(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        let mut call = self.sdk.delete_object().bucket(&self.bucket).key(path.as_str());
        match only {
            None => {}
            Some(ObjectMeta { version: Some(version), .. }) => call = call.version_id(version),
            Some(ObjectMeta { etag: Some(etag), .. }) => {
                match self.head_object(path).await {
                    Ok(current) if current.etag.as_ref() == Some(etag) => {}
                    Ok(_) => {
                        let detail = "the object is another version by now";
                        return Err(StorageError::new(
                            StorageErrorKind::PreconditionFailed,
                            detail,
                        ));
                    }
                    Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => return Ok(()),
                    Err(error) => return Err(error),
                }
                call = call.if_match(etag.as_str());
            }
            Some(_) => {
                let detail = "the version to delete has neither a version id nor an ETag";
                return Err(StorageError::new(StorageErrorKind::Unsupported, detail));
            }
        }
        match call.send().await.map_err(|error| storage_error(&error)) {
            Ok(_) | Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list_objects(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        let output = self
            .sdk
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_continuation_token(from.map(str::to_owned))
            .max_keys(limit.clamp(1, MAX_KEYS).into())
            // XML cannot carry every character that a key can.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| storage_error(&error))?;
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let objects = output
            .contents
            .unwrap_or_default()
            .into_iter()
            .map(|object| {
                Ok(Listed {
                    path: listed_name(object.key.as_deref(), encoded)?,
                    size: length(object.size)?,
                    etag: object.e_tag.as_deref().and_then(ETag::parse),
                    last_modified: object.last_modified.and_then(time),
                })
            })
            .collect::<Result<_, StorageError>>()?;
        let next = output.is_truncated.unwrap_or(false).then_some(output.next_continuation_token);
        match next {
            Some(None) => {
                Err(nonsense("a page that is not the last one, without the next one's token"))
            }
            next => Ok(ListPage { objects, next: next.flatten() }),
        }
    }
}

/// Whether the part that came is the part that was asked for.
fn check_part(
    part: Option<ContentRange>,
    sent: u64,
    asked: Option<RangeRequest>,
) -> Result<(), StorageError> {
    let Some(part) = part else { return Ok(()) };
    let expected: Option<ByteRange> = asked.and_then(|range| range.resolve(part.total));
    if expected != Some(part.range) || part.range.len() != sent {
        return Err(nonsense("a 206 with another part than the one that was asked for"));
    }
    Ok(())
}

/// A key of a listing. With `encoding-type=url` it is encoded as in an HTML form.
fn listed_name(key: Option<&str>, encoded: bool) -> Result<StoragePath, StorageError> {
    let key = key.ok_or_else(|| nonsense("a listed object without a key"))?;
    if !encoded {
        return Ok(StoragePath::from_listing(key));
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| nonsense("a listed key that is not UTF-8"))?;
    Ok(StoragePath::from_listing(&decoded))
}

fn length(given: Option<i64>) -> Result<u64, StorageError> {
    given
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| nonsense("an object without a length"))
}

fn time(given: DateTime) -> Option<SystemTime> {
    SystemTime::try_from(given).ok()
}

fn version(id: String) -> Option<String> {
    (id != NULL_VERSION).then_some(id)
}
