//! Multipart uploads.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use md5::{Digest as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ListPartsInput, ListPartsOutput, Part, StorageClass,
    Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::blobs::{Draft, random_name};
use super::checksums::Declared;
use super::index::{StoredHeaders, StoredObject};
use super::uploads::{StoredPart, UploadRef};
use super::writes::{DEFAULT_TYPE, metadata, refuse_unsupported, replace};
use super::{Core, internal};
use crate::domain::hex;

/// The smallest part but the last one, in bytes: 5 MiB; the largest part number; the most parts of
/// one page. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MIN_PART: u64 = 5 << 20;
const MAX_PART_NUMBER: i32 = 10_000;
const MAX_PARTS_LISTED: i32 = 1000;

/// `CreateMultipartUpload`.
pub(super) async fn create(
    core: &Arc<Core>,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let S3Request { input, headers, .. } = request;
    refuse_unsupported(&headers)?;
    let upload = UploadRef {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        id: random_name().map_err(internal)?,
    };
    let id = upload.id.clone();
    let stored_headers = StoredHeaders {
        content_type: Some(input.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        content_encoding: input.content_encoding,
        content_language: input.content_language,
        content_disposition: input.content_disposition,
        cache_control: input.cache_control,
        metadata: metadata(input.metadata),
    };
    core.with_index(move |index, _| index.begin_upload(&upload, &stored_headers)).await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..CreateMultipartUploadOutput::default()
    })
}

/// `UploadPart`. A part with the same number is replaced.
pub(super) async fn upload_part(
    core: &Arc<Core>,
    request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    refuse_unsupported(&headers)?;
    let number = input.part_number;
    if !(1..=MAX_PART_NUMBER).contains(&number) {
        return Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive"
        ));
    }
    let upload = UploadRef { bucket: input.bucket, key: input.key, id: input.upload_id };
    let known = upload.clone();
    core.with_index(move |index, _| index.upload(&known)).await?;
    let declared = Declared::parse(&headers, input.content_length, trailing_headers)?;
    let received = declared.receive(&core.blobs, input.body).await?;
    let part = StoredPart {
        number,
        blob: received.draft.name().to_owned(),
        size: received.size,
        etag: hex(&received.md5),
        modified_at: SystemTime::now(),
    };
    let (etag, draft) = (part.etag.clone(), received.draft);
    core.with_index(move |index, blobs| {
        blobs.sync_names().map_err(internal)?;
        let replaced = index.put_part(&upload, &part)?;
        draft.keep();
        blobs.remove(replaced);
        Ok(())
    })
    .await?;
    Ok(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_sha256: received.sha256,
        ..UploadPartOutput::default()
    })
}

/// `ListParts`, in the order of their numbers.
pub(super) async fn list_parts(
    core: &Arc<Core>,
    input: ListPartsInput,
) -> S3Result<ListPartsOutput> {
    let limit = input.max_parts.unwrap_or(MAX_PARTS_LISTED).min(MAX_PARTS_LISTED);
    let wanted = usize::try_from(limit)
        .map_err(|_| s3_error!(InvalidArgument, "max-parts must not be negative."))?;
    let after = input.part_number_marker.unwrap_or(0);
    let upload = UploadRef {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        id: input.upload_id.clone(),
    };
    // One more than is wanted tells whether there are more.
    let mut found =
        core.with_index(move |index, _| index.parts(&upload, after, wanted + 1)).await?;
    let truncated = found.len() > wanted;
    found.truncate(wanted);
    let next = found.last().map(|part| part.number).filter(|_| truncated);
    let parts = found.into_iter().map(|part| {
        Ok(Part {
            part_number: Some(part.number),
            size: Some(i64::try_from(part.size).map_err(internal)?),
            e_tag: Some(ETag::Strong(part.etag)),
            last_modified: Some(Timestamp::from(part.modified_at)),
            ..Part::default()
        })
    });
    Ok(ListPartsOutput {
        parts: Some(parts.collect::<S3Result<_>>()?),
        is_truncated: Some(truncated),
        next_part_number_marker: next,
        part_number_marker: Some(after),
        max_parts: Some(limit),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    })
}

/// `CompleteMultipartUpload`: joins the parts that the client names into one blob, and makes it the
/// object.
pub(super) async fn complete(
    core: &Arc<Core>,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let replace = replace(input.if_match, input.if_none_match)?;
    let upload = UploadRef { bucket: input.bucket, key: input.key, id: input.upload_id };
    let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let known = upload.clone();
    let (headers, stored) = core
        .with_index(move |index, _| {
            Ok((index.upload(&known)?, index.parts(&known, 0, usize::MAX)?))
        })
        .await?;
    let parts = matching(&named, &stored)?;
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if input.mpu_object_size.is_some_and(|declared| u64::try_from(declared) != Ok(size)) {
        return Err(s3_error!(InvalidRequest, "The object is not as large as was declared."));
    }
    let draft = join(core, &parts).await?;
    let object = StoredObject {
        blob: draft.name().to_owned(),
        size,
        etag: etag_of(&parts),
        sha256: None,
        modified_at: SystemTime::now(),
        headers,
    };
    let etag = object.etag.clone();
    let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
    core.with_index(move |index, blobs| {
        blobs.sync_names().map_err(internal)?;
        let freed = index.complete_upload(&upload, &parts, &object, &replace)?;
        draft.keep();
        blobs.remove(freed);
        Ok(())
    })
    .await?;
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(ETag::Strong(etag)),
        ..CompleteMultipartUploadOutput::default()
    })
}

/// `AbortMultipartUpload`.
pub(super) async fn abort(
    core: &Arc<Core>,
    input: AbortMultipartUploadInput,
) -> S3Result<AbortMultipartUploadOutput> {
    let upload = UploadRef { bucket: input.bucket, key: input.key, id: input.upload_id };
    core.with_index(move |index, blobs| {
        blobs.remove(index.abort_upload(&upload)?);
        Ok(())
    })
    .await?;
    Ok(AbortMultipartUploadOutput::default())
}

/// The stored parts that the client's list names, if the list is right.
fn matching(named: &[CompletedPart], stored: &[StoredPart]) -> S3Result<Vec<StoredPart>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let ascending = named.windows(2).all(|pair| pair[0].part_number < pair[1].part_number);
    if !ascending {
        return Err(s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ));
    }
    let parts = named.iter().map(|part| {
        let etag = part.e_tag.as_ref().map(ETag::value);
        let found = stored
            .binary_search_by_key(&part.part_number, |stored| Some(stored.number))
            .map(|at| &stored[at]);
        match found {
            Ok(found) if etag == Some(&found.etag) => Ok(found.clone()),
            _ => Err(s3_error!(
                InvalidPart,
                "One or more of the specified parts could not be found. The part may not have been \
                 uploaded, or the specified entity tag may not match the part's entity tag."
            )),
        }
    });
    let parts: Vec<_> = parts.collect::<S3Result<_>>()?;
    if parts.iter().rev().skip(1).any(|part| part.size < MIN_PART) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size: every part but the \
             last must have 5 MiB."
        ));
    }
    Ok(parts)
}

/// Joins parts into one new blob.
async fn join(core: &Arc<Core>, parts: &[StoredPart]) -> S3Result<Draft> {
    let mut draft = core.blobs.create().await.map_err(internal)?;
    for part in parts {
        let name = part.blob.clone();
        let source = core.with_index(move |_, blobs| Ok(blobs.read(&name))).await?;
        let source = source.map_err(|error| match error.kind() {
            // Its row is gone as well by now.
            io::ErrorKind::NotFound => {
                s3_error!(InvalidPart, "A part was replaced or removed during the completion.")
            }
            _ => internal(error),
        })?;
        draft.append(source).await.map_err(internal)?;
    }
    draft.sync().await.map_err(internal)?;
    Ok(draft)
}

/// The entity tag of an assembled object: the MD5 of the parts' MD5s, and how many they are.
fn etag_of(parts: &[StoredPart]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        let digits = part.etag.as_bytes().chunks_exact(2);
        let bytes = digits.map(|pair| nibble(pair[0]) << 4 | nibble(pair[1]));
        md5.update(bytes.collect::<Vec<u8>>());
    }
    let digest: [u8; 16] = md5.finalize().into();
    format!("{}-{}", hex(&digest), parts.len())
}

/// The value of a lower-case hexadecimal digit.
const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.wrapping_sub(b'a').wrapping_add(10),
    }
}
