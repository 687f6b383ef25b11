//! The calls on single objects, and listing.

use std::time::SystemTime;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;

use super::S3Store;
use super::errors::storage_error;
use crate::domain::{ContentRange, ETag, StoragePath};
use crate::storage::call::{
    MAX_KEYS, check_part, check_version, head_by_get, listed_name, nonsense, page,
};
use crate::storage::{
    GetOptions, ListPage, Listed, ObjectMeta, ObjectRead, StorageError, StorageErrorKind,
};

/// The version id of objects that were written while their bucket kept no versions. Each write
/// replaces the one before under the same id, so it identifies nothing.
const NULL_VERSION: &str = "null";

/// What names the one version that a deletion is about.
enum OnlyVersion {
    Id(String),
    Tag(ETag),
}

impl S3Store {
    pub(super) async fn head_object(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        let sent = self.sdk.head_object().bucket(&self.bucket).key(path.as_str()).send().await;
        let output = match sent {
            Ok(output) => output,
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                return match status {
                    Some(400 | 401 | 403 | 404) => {
                        head_by_get(|options| async move { self.get_object(path, &options).await })
                            .await
                    }
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
            version: self.version(output.version_id),
        })
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
            version: self.version(output.version_id),
        };
        check_version(&meta, options)?;
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
            version: self.version(output.version_id),
        })
    }

    /// Deletes an object. Where the bucket keeps versions, `only` names the one that goes, and an
    /// older one may come to light; without `only` a delete marker hides them all.
    ///
    /// Without versions, `If-Match` makes the deletion conditional. A server that ignores it would
    /// delete whatever it has, so the object is looked at first. Where `If-Match` is not honoured,
    /// that look is all there is, and leaves the moment in between.
    pub(super) async fn delete_object(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        let mut call = self.sdk.delete_object().bucket(&self.bucket).key(path.as_str());
        if let Some(only) = only {
            match self.only_version(path, only).await {
                Ok(OnlyVersion::Id(id)) => call = call.version_id(id),
                Ok(OnlyVersion::Tag(etag)) if self.provider.honours_if_match_on_delete() => {
                    call = call.if_match(etag.as_str());
                }
                Ok(OnlyVersion::Tag(_)) => {}
                Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match call.send().await.map_err(|error| storage_error(&error)) {
            Ok(_) | Err(StorageError { kind: StorageErrorKind::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How to name the one version that is to go. Amazon's servers refuse both at once.
    async fn only_version(
        &self,
        path: &StoragePath,
        only: &ObjectMeta,
    ) -> Result<OnlyVersion, StorageError> {
        if let Some(id) = self.version(only.version.clone()) {
            return Ok(OnlyVersion::Id(id));
        }
        if only.etag.is_none() {
            let detail = "the version to delete has neither a version id nor an ETag";
            return Err(StorageError::new(StorageErrorKind::Unsupported, detail));
        }
        match self.head_object(path).await? {
            ObjectMeta { etag, .. } if etag != only.etag => {
                let detail = "the object is another version by now";
                Err(StorageError::new(StorageErrorKind::PreconditionFailed, detail))
            }
            // The id that belongs to the tag: it names this write and no other.
            ObjectMeta { version: Some(id), .. } => Ok(OnlyVersion::Id(id)),
            ObjectMeta { etag, .. } => {
                Ok(OnlyVersion::Tag(etag.expect("it equals one that is there")))
            }
        }
    }

    /// What identifies a version, of what the server calls its id.
    fn version(&self, id: Option<String>) -> Option<String> {
        id.filter(|id| id != NULL_VERSION && self.provider.deletes_by_version())
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
                let name = object.key.ok_or_else(|| nonsense("a listed object without a key"))?;
                Ok(Listed {
                    path: listed_name(&name, encoded)?,
                    size: length(object.size)?,
                    etag: object.e_tag.as_deref().and_then(ETag::parse),
                    last_modified: object.last_modified.and_then(time),
                })
            })
            .collect::<Result<_, StorageError>>()?;
        page(objects, output.is_truncated.unwrap_or(false), output.next_continuation_token)
    }
}

fn length(given: Option<i64>) -> Result<u64, StorageError> {
    given
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| nonsense("an object without a length"))
}

fn time(given: DateTime) -> Option<SystemTime> {
    SystemTime::try_from(given).ok()
}
