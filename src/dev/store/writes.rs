//! Writing and deleting objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition, Metadata, PutObjectInput,
    PutObjectOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::checksums::Declared;
use super::index::{Replace, StoredHeaders, StoredObject};
use super::{Core, internal};
use crate::domain::hex;

/// The type of an object that was stored without one.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>
pub(super) const DEFAULT_TYPE: &str = "binary/octet-stream";

/// `PutObject`.
pub(super) async fn put(
    core: &Arc<Core>,
    request: S3Request<PutObjectInput>,
) -> S3Result<PutObjectOutput> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    refuse_unsupported(&headers)?;
    let replace = replace(input.if_match, input.if_none_match)?;
    let stored_headers = StoredHeaders {
        content_type: Some(input.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        content_encoding: without_framing(input.content_encoding),
        content_language: input.content_language,
        content_disposition: input.content_disposition,
        cache_control: input.cache_control,
        metadata: metadata(input.metadata),
    };
    let bucket = input.bucket.clone();
    core.with_index(move |index, _| index.require_bucket(&bucket)).await?;
    let declared = Declared::parse(&headers, input.content_length, trailing_headers)?;
    let received = declared.receive(&core.blobs, input.body).await?;
    let object = StoredObject {
        blob: received.draft.name().to_owned(),
        size: received.size,
        etag: hex(&received.md5),
        sha256: received.sha256,
        modified_at: SystemTime::now(),
        headers: stored_headers,
    };
    let (etag, sha256) = (object.etag.clone(), object.sha256.clone());
    let draft = received.draft;
    core.with_index(move |index, blobs| {
        blobs.sync_names().map_err(internal)?;
        let replaced = index.put(&input.bucket, &input.key, &object, &replace)?;
        draft.keep();
        blobs.remove(replaced);
        Ok(())
    })
    .await?;
    Ok(PutObjectOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_sha256: sha256,
        ..PutObjectOutput::default()
    })
}

/// `DeleteObject`. One that does not exist is a success.
pub(super) async fn delete(
    core: &Arc<Core>,
    input: DeleteObjectInput,
) -> S3Result<DeleteObjectOutput> {
    refuse_version(input.version_id.as_deref())?;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(s3_error!(NotImplemented, "Of the conditions of a delete, use If-Match."));
    }
    core.with_index(move |index, blobs| {
        let freed = index.delete(&input.bucket, &input.key, input.if_match.as_ref())?;
        blobs.remove(freed);
        Ok(())
    })
    .await?;
    Ok(DeleteObjectOutput::default())
}

/// What a write may replace, from its conditions.
pub(super) fn replace(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Replace> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Replace::Anything),
        (None, Some(ETagCondition::Any)) => Ok(Replace::Nothing),
        (Some(version), None) => Ok(Replace::Only(version)),
        _ => Err(s3_error!(
            NotImplemented,
            "Of the conditions of a write, use either `If-None-Match: *` or `If-Match`."
        )),
    }
}

/// Versions other than the only one there is.
pub(super) fn refuse_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "This store keeps no versions.")),
    }
}

/// Refuses requests for what would be silently missing from the object.
pub(super) fn refuse_unsupported(headers: &http::HeaderMap) -> S3Result<()> {
    const UNSUPPORTED: [&str; 7] = [
        "x-amz-server-side-encryption",
        "x-amz-object-lock",
        "x-amz-tagging",
        "x-amz-grant",
        "x-amz-website-redirect-location",
        "x-amz-write-offset-bytes",
        "x-amz-copy-source",
    ];
    let names = headers.keys().map(http::HeaderName::as_str);
    let private = headers.get("x-amz-acl").is_none_or(|acl| acl == "private");
    let unsupported = |name: &&str| {
        UNSUPPORTED.iter().any(|prefix| name.starts_with(prefix))
            || (*name == "x-amz-acl" && !private)
            || *name == "expires"
    };
    match names.into_iter().find(unsupported) {
        None => Ok(()),
        Some(name) => {
            Err(s3_error!(NotImplemented, "The development store does not support {name}."))
        }
    }
}

/// User metadata, in an order of its own.
pub(super) fn metadata(metadata: Option<Metadata>) -> BTreeMap<String, String> {
    metadata.unwrap_or_default().into_iter().collect()
}

/// A `Content-Encoding` without `aws-chunked`, which frames the request and is no property of the
/// object.
fn without_framing(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}
