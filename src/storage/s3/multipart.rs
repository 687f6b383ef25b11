//! The calls on multipart uploads. Their parts are uploaded by clients, with presigned URLs.

use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_smithy_types::base64;

use super::S3Store;
use super::errors::storage_error;
use crate::domain::{ETag, MediaType, StoragePath};
use crate::storage::call::nonsense;
use crate::storage::{MultipartId, StorageError, StorageErrorKind, UploadedPart};

impl S3Store {
    pub(super) async fn begin_upload(
        &self,
        path: &StoragePath,
        media_type: MediaType,
        checksums: bool,
    ) -> Result<MultipartId, StorageError> {
        if checksums && !self.provider.checks_sha256() {
            let title = self.provider.title();
            let detail = format!("{title} is not known to check a SHA-256 of a part");
            return Err(StorageError::new(StorageErrorKind::Unsupported, detail));
        }
        let output = self
            .sdk
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(path.as_str())
            .content_type(media_type.as_str())
            // Amazon takes a checksum with a part only if it was told here, and then wants one with
            // every part, and all of them again with the completion.
            .set_checksum_algorithm(checksums.then_some(ChecksumAlgorithm::Sha256))
            .send()
            .await
            .map_err(|error| storage_error(&error))?;
        let id = output.upload_id.filter(|id| !id.is_empty());
        id.map(MultipartId).ok_or_else(|| nonsense("a multipart upload without an id"))
    }

    pub(super) async fn list_upload_parts(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        let mut parts = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let output = self
                .sdk
                .list_parts()
                .bucket(&self.bucket)
                .key(path.as_str())
                .upload_id(&upload.0)
                .set_part_number_marker(marker.clone())
                .send()
                .await
                .map_err(|error| storage_error(&error))?;
            for part in output.parts.unwrap_or_default() {
                parts.push((part.last_modified, uploaded_part(&part)?));
            }
            if !output.is_truncated.unwrap_or(false) {
                break;
            }
            let advanced = |next: &String| {
                let number = |marker: Option<&String>| marker.and_then(|m| m.parse::<u32>().ok());
                number(Some(next)) > number(marker.as_ref())
            };
            // Without progress this would never end.
            let next = output.next_part_number_marker.filter(advanced);
            marker = Some(next.ok_or_else(|| nonsense("the same page of parts twice"))?);
        }
        Ok(latest(parts))
    }

    pub(super) async fn complete_upload(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
        parts: &[UploadedPart],
    ) -> Result<(), StorageError> {
        // The protocol has no such request, and servers differ in what they say to it.
        if parts.is_empty() {
            return Err(StorageError::new(StorageErrorKind::WrongParts, "a list of no parts"));
        }
        let listed = parts.iter().map(completed_part).collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(listed)).build();
        // The head of the answer may come only when the object is assembled.
        let patient = TimeoutConfig::builder().read_timeout(self.timeouts.complete).build();
        self.sdk
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(path.as_str())
            .upload_id(&upload.0)
            .multipart_upload(list)
            .customize()
            .config_override(Config::builder().timeout_config(patient))
            .send()
            .await
            .map_err(|error| storage_error(&error))?;
        Ok(())
    }

    pub(super) async fn abort_upload(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<(), StorageError> {
        let sent = self
            .sdk
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(path.as_str())
            .upload_id(&upload.0)
            .send()
            .await
            .map_err(|error| storage_error(&error));
        match sent {
            Ok(_) | Err(StorageError { kind: StorageErrorKind::NoSuchUpload, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A part as a completion names it: with its checksum, where it has one.
fn completed_part(part: &UploadedPart) -> CompletedPart {
    CompletedPart::builder()
        .part_number(part.number.into())
        .e_tag(part.etag.as_str())
        .set_checksum_sha256(part.sha256.map(base64::encode))
        .build()
}

/// Sorts parts by number, and keeps the last of those that were sent more than once: some servers
/// list them all. Of two that differ and were written in the same second, nobody can tell which one
/// was meant: both are kept, and a completion with both is refused as wrong.
fn latest(mut parts: Vec<(Option<DateTime>, UploadedPart)>) -> Vec<UploadedPart> {
    parts.sort_by_key(|(written, part)| (part.number, *written));
    let mut kept: Vec<(Option<DateTime>, UploadedPart)> = Vec::with_capacity(parts.len());
    for (written, part) in parts {
        let replaces = |(known_at, known): &mut (Option<DateTime>, UploadedPart)| {
            known.number == part.number && (*known_at < written || known.etag == part.etag)
        };
        while kept.pop_if(replaces).is_some() {}
        kept.push((written, part));
    }
    kept.into_iter().map(|(_, part)| part).collect()
}

fn uploaded_part(part: &aws_sdk_s3::types::Part) -> Result<UploadedPart, StorageError> {
    let number = part.part_number.and_then(|number| u16::try_from(number).ok());
    let size = part.size.and_then(|size| u64::try_from(size).ok());
    let etag = part.e_tag.as_deref().and_then(ETag::parse);
    let sha256 = part.checksum_sha256.as_deref().and_then(|text| base64::decode(text).ok());
    let sha256 = sha256.and_then(|digest| digest.try_into().ok());
    match (number, size, etag) {
        (Some(number), Some(size), Some(etag)) => Ok(UploadedPart { number, size, etag, sha256 }),
        _ => Err(nonsense("a part without number, size or ETag")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_part_goes_from_the_list_to_the_completion() {
        let digest = base64::encode([7; 32]);
        let listed = aws_sdk_s3::types::Part::builder().part_number(3).size(5).e_tag("\"p\"");
        let with = uploaded_part(&listed.clone().checksum_sha256(&digest).build()).unwrap();
        assert_eq!(with.sha256, Some([7; 32]));
        assert_eq!(completed_part(&with).checksum_sha256(), Some(digest.as_str()));
        let without = uploaded_part(&listed.build()).unwrap();
        assert_eq!(completed_part(&without).checksum_sha256(), None);
    }

    #[test]
    fn the_last_of_the_parts_with_one_number_counts() {
        let part = |number, tag: &str| UploadedPart {
            number,
            size: 1,
            etag: ETag::parse(tag).unwrap(),
            sha256: None,
        };
        let at = |second, number, tag| (Some(DateTime::from_secs(second)), part(number, tag));
        let sent = vec![
            at(9, 3, "x"),
            at(5, 1, "new"),
            at(4, 1, "old"),
            at(4, 1, "older"),
            // The same bytes, sent again.
            at(7, 2, "same"),
            at(7, 2, "same"),
            // Different bytes in one second.
            at(9, 3, "y"),
        ];
        let expected = [part(1, "new"), part(2, "same"), part(3, "x"), part(3, "y")];
        assert_eq!(latest(sent), expected);
    }
}
