//! The calls on single objects, and listing. Reads go their own way; all else goes through the SDK.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::S3Store;
use super::errors::{refused, storage_error};
use super::sigv4::NOTHING;
use crate::domain::{ETag, StoragePath};
use crate::storage::call::{
    MAX_KEYS, check_version, date, extent, head_by_get, listed_name, nonsense, number, page,
    read_headers, text,
};
use crate::storage::server::document;
use crate::storage::{
    GetOptions, ListPage, Listed, ObjectMeta, ObjectRead, StorageError, StorageErrorKind,
};
use crate::traces::pass_on;
use crate::upstream::Body;

/// Names one write of an object, in a bucket that keeps versions.
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// How long credentials must be good for to sign a request that is sent now.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The headers of a read, with `Host`, its conditions and its range.
const MOST_HEADERS: usize = 9;

/// The version id of objects that were written while their bucket kept no versions. Each write
/// replaces the one before under the same id, so it identifies nothing.
const NULL_VERSION: &str = "null";

/// A read that failed, with the status of the last answer, if there was one.
struct Failed {
    status: Option<u16>,
    error: StorageError,
}

/// What names the one version that a deletion is about.
enum OnlyVersion {
    Id(String),
    Tag(ETag),
}

impl S3Store {
    pub(super) async fn head_object(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        match self.read(Method::HEAD, path, &GetOptions::default()).await {
            Ok(response) => {
                let headers = response.headers();
                let size = number(headers, &CONTENT_LENGTH);
                Ok(self.meta(headers, size.ok_or_else(|| nonsense("an object without a length"))?))
            }
            Err(Failed { status: Some(400 | 401 | 403 | 404), .. }) => {
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
        let read = self.read(Method::GET, path, options).await;
        let (head, body) = read.map_err(|failed| failed.error)?.into_parts();
        let (size, part) = extent(head.status, &head.headers, options.range)?;
        let meta = self.meta(&head.headers, size);
        check_version(&meta, options)?;
        Ok(ObjectRead { meta, part, body: body.into() })
    }

    /// Asks for an object without the SDK, whose layers cost more than the rest of a read needs. The
    /// answer is a success.
    async fn read(
        &self,
        method: Method,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<Response<Body>, Failed> {
        let unsent = |error| Failed { status: None, error };
        let request = self.read_request(&method, path, options, SystemTime::now());
        let mut request = request.map_err(unsent)?;
        // The signature is made by now, and leaves out what is added here.
        pass_on(request.headers_mut());
        let response = self.server.send(request).await.map_err(unsent)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let has_body = method != Method::HEAD && status != StatusCode::NOT_MODIFIED;
        // Without its document an answer still has its status.
        let document =
            if has_body { document(body).await.unwrap_or_default() } else { Bytes::new() };
        let error = refused(status, &head.headers, &document);
        Err(Failed { status: Some(status.as_u16()), error })
    }

    fn read_request(
        &self,
        method: &Method,
        path: &StoragePath,
        options: &GetOptions,
        now: SystemTime,
    ) -> Result<Request<Bytes>, StorageError> {
        let impossible = |error: &dyn std::fmt::Display| {
            let detail = format!("the request could not be made: {error}");
            StorageError::new(StorageErrorKind::Unavailable, detail)
        };
        let path = self.address.path_of(path);
        // The request is there before the credentials end, or it is refused.
        let (presigner, _) = self.signer.presigner(AT_ONCE, now)?;
        let signed = presigner.authorize(method.as_str(), self.address.host(), &path, now);
        let signed = signed.map_err(|error| impossible(&error))?;
        let secret = |value: &[u8]| {
            let mut value = HeaderValue::from_bytes(value).map_err(|error| impossible(&error))?;
            value.set_sensitive(true);
            Ok::<_, StorageError>(value)
        };
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = path.parse().map_err(|error| impossible(&error))?;
        let headers = request.headers_mut();
        headers.reserve(MOST_HEADERS);
        headers.extend(read_headers(options)?);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert("x-amz-content-sha256", HeaderValue::from_static(NOTHING));
        headers.insert("x-amz-date", secret(signed.date.as_bytes())?);
        if let Some(token) = &signed.token {
            headers.insert("x-amz-security-token", secret(token.expose())?);
        }
        headers.insert(AUTHORIZATION, secret(signed.authorization.as_bytes())?);
        Ok(request)
    }

    fn meta(&self, headers: &HeaderMap, size: u64) -> ObjectMeta {
        let owned = |name: &HeaderName| text(headers, name).map(str::to_owned);
        ObjectMeta {
            size,
            content_type: owned(&CONTENT_TYPE),
            content_encoding: owned(&CONTENT_ENCODING),
            etag: text(headers, &ETAG).and_then(ETag::parse),
            last_modified: date(headers, &LAST_MODIFIED),
            version: self.version(owned(&VERSION_ID)),
        }
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
