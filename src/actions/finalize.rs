//! Finalizing an upload: storage is asked what really arrived, and the record moves on.
//!
//! Nothing that the client said is believed here. The verdict belongs to the very bytes it was
//! given for: the bytes are read under `If-Match` of the tag that the head showed, and a refused
//! object is deleted only if it is still that version.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use crate::apps::App;
use crate::domain::{
    Declared, Error, MediaType, ObjectMeta, RangeRequest, Stored, UploadId, UploadRecord,
    UploadState, VerificationFailure,
};
use crate::records::Transition;
use crate::storage::{BodyError, GetOptions, ObjectBody, StorageError, StorageErrorKind};

use super::read::refusal_of;
use super::{Services, records_failed, upload};

/// How much of an object is read to recognise it and to find its dimensions. Cameras put previews
/// and colour profiles before them; 256 KiB is beyond what they are seen to use.
const HEADER_BYTES: u64 = 256 * 1024;

/// How often a finalize that loses a race looks again. Every loss means that somebody else made
/// progress, and the machine has two steps.
const MAX_ATTEMPTS: usize = 3;

/// Finalizes an upload. Safe to repeat: a verdict that was given is given again.
///
/// # Errors
/// [`Error::NotUploaded`] before the file arrived, [`Error::VerificationFailed`] with the reason,
/// [`Error::UploadNotFound`], [`Error::UploadExpired`], and the failures of storage and records.
pub async fn finalize(
    app: &App,
    services: &Services,
    id: UploadId,
    token: &str,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    for _ in 0..MAX_ATTEMPTS {
        match attempt(app, services, id, token, now).await {
            // Somebody else moved it on: whoever looks again finds that verdict.
            Err(Error::Conflict) => {}
            verdict => return verdict,
        }
    }
    Err(Error::Conflict)
}

async fn attempt(
    app: &App,
    services: &Services,
    id: UploadId,
    token: &str,
    now: SystemTime,
) -> Result<UploadRecord, Error> {
    let record = upload::find(app, services, id, token).await?;
    match record.state {
        UploadState::Ready => return Ok(record),
        UploadState::Failed => {
            let reason = record.reason.unwrap_or(VerificationFailure::Content);
            return Err(Error::VerificationFailed(reason));
        }
        UploadState::Deleted => return Err(Error::UploadExpired),
        UploadState::Pending | UploadState::Uploaded | UploadState::Orphaned => {}
    }
    let seen = match inspect(app, &record).await {
        Err(Error::NotUploaded) => return Err(why_missing(app, services, token, &record).await),
        inspected => inspected?,
    };
    let steps = Steps { app, services, id, now };
    let mut state = record.state;
    if state != UploadState::Uploaded {
        steps.go(&mut state, UploadState::Uploaded, None, &seen).await?;
    }
    match judge(app, &record.declared, &seen) {
        Ok(()) => steps.go(&mut state, UploadState::Ready, None, &seen).await?,
        Err(reason) => {
            steps.go(&mut state, UploadState::Failed, Some(reason), &seen).await?;
            remove_refused(app, &record, &seen.meta).await;
            return Err(Error::VerificationFailed(reason));
        }
    }
    upload::find(app, services, id, token).await
}

/// Why there is no object: it has not arrived, or it was refused and deleted by somebody who
/// finalized the same upload meanwhile. Then that verdict is the answer.
async fn why_missing(app: &App, services: &Services, token: &str, record: &UploadRecord) -> Error {
    match upload::find(app, services, record.key.id(), token).await {
        Ok(found) if found.state == record.state => Error::NotUploaded,
        Ok(_) => Error::Conflict,
        Err(error) => error,
    }
}

/// What storage showed.
struct Seen {
    meta: ObjectMeta,
    header: Bytes,
}

/// Looks at the object: its head, then its first bytes, of the same version.
async fn inspect(app: &App, record: &UploadRecord) -> Result<Seen, Error> {
    let path = app.key_prefix.path_of_minted(&record.key);
    let failed = |error: StorageError| match error.kind {
        StorageErrorKind::NotFound => Error::NotUploaded,
        // Overwritten between the two looks: whoever asks again sees the newer one.
        StorageErrorKind::PreconditionFailed => Error::Conflict,
        kind => {
            tracing::error!(app = %app.name, %error, "storage failed while an upload was verified");
            refusal_of(kind)
        }
    };
    let meta = app.store.head(&path).await.map_err(failed)?;
    if meta.size == 0 {
        return Ok(Seen { meta, header: Bytes::new() });
    }
    let options = GetOptions {
        range: Some(RangeRequest::Between(0, HEADER_BYTES.min(meta.size) - 1)),
        if_match: meta.etag.clone(),
        ..GetOptions::default()
    };
    let read = app.store.get(&path, &options).await.map_err(failed)?;
    if read.meta.etag != meta.etag {
        return Err(Error::Conflict);
    }
    let header = first_bytes(read.body).await.map_err(|error| {
        failed(StorageError::new(StorageErrorKind::Unavailable, error.to_string()))
    })?;
    Ok(Seen { meta, header })
}

/// Reads as much of a body as is looked at, also from a store that ignores ranges.
async fn first_bytes(mut body: ObjectBody) -> Result<Bytes, BodyError> {
    let limit = usize::try_from(HEADER_BYTES).expect("256 KiB fit");
    let mut header = BytesMut::new();
    while header.len() < limit
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            let wanted = data.len().min(limit - header.len());
            header.extend_from_slice(&data[..wanted]);
        }
    }
    Ok(header.freeze())
}

/// Judges what arrived by the app's policy and by what was declared.
fn judge(app: &App, declared: &Declared, seen: &Seen) -> Result<(), VerificationFailure> {
    let Seen { meta, header } = seen;
    let size_differs = declared.size.is_some_and(|size| size != meta.size);
    if meta.size == 0 || meta.size > app.upload.max_bytes || size_differs {
        return Err(VerificationFailure::Size);
    }
    if meta.content_encoding.as_deref().is_some_and(|coding| !coding.is_empty()) {
        return Err(VerificationFailure::Encoding);
    }
    let stored_type = meta.content_type.as_deref().and_then(MediaType::parse);
    if stored_type != Some(declared.media_type) {
        return Err(VerificationFailure::Type);
    }
    if !looks_like(declared.media_type, header) {
        return Err(VerificationFailure::Content);
    }
    match dimensions(declared.media_type, header) {
        Some((width, height)) => {
            let pixels = u64::from(width) * u64::from(height);
            if pixels == 0 || pixels > app.upload.max_pixels {
                return Err(VerificationFailure::Dimensions);
            }
            Ok(())
        }
        None if declared.media_type == MediaType::Svg => Ok(()),
        // An image whose header does not tell its size is not one that a browser would show.
        None => Err(VerificationFailure::Dimensions),
    }
}

/// Whether the first bytes are those of the type. HEIC and HEIF share a container, whose brand
/// only hints at the codec.
fn looks_like(media_type: MediaType, header: &[u8]) -> bool {
    let found = infer::get(header).map(|kind| kind.mime_type());
    match media_type {
        MediaType::Heic | MediaType::Heif => matches!(found, Some("image/heic" | "image/heif")),
        MediaType::Svg => {
            let text = String::from_utf8_lossy(&header[..header.len().min(4096)]);
            text.contains("<svg")
        }
        _ => found == Some(media_type.as_str()),
    }
}

fn dimensions(media_type: MediaType, header: &[u8]) -> Option<(u32, u32)> {
    if media_type == MediaType::Svg {
        return None;
    }
    let size = imagesize::blob_size(header).ok()?;
    Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?))
}

/// The transitions of one finalize.
struct Steps<'a> {
    app: &'a App,
    services: &'a Services,
    id: UploadId,
    now: SystemTime,
}

impl Steps<'_> {
    async fn go(
        &self,
        state: &mut UploadState,
        to: UploadState,
        reason: Option<VerificationFailure>,
        seen: &Seen,
    ) -> Result<(), Error> {
        let meta = &seen.meta;
        let media_type = meta.content_type.as_deref().and_then(MediaType::parse);
        let stored = Stored {
            size: meta.size,
            content_type: meta.content_type.clone(),
            etag: meta.etag.clone(),
            version: meta.version.clone(),
            dimensions: media_type.and_then(|media_type| dimensions(media_type, &seen.header)),
        };
        let change = Transition {
            app: self.app.name.clone(),
            id: self.id,
            from: *state,
            to,
            reason,
            stored: Some(stored),
            at: self.now,
        };
        self.services.records.transition(change).await.map_err(|e| records_failed(&e))?;
        self.app.metrics.upload(to);
        *state = to;
        Ok(())
    }
}

/// Deletes a refused object, if it is still the refused version. A failure leaves it in the bucket
/// under a record that says `failed`; it is logged, and the verdict stands.
async fn remove_refused(app: &App, record: &UploadRecord, meta: &ObjectMeta) {
    let path = app.key_prefix.path_of_minted(&record.key);
    if let Err(error) = app.store.delete(&path, Some(meta)).await {
        tracing::warn!(app = %app.name, id = %record.key.id(), %error, "a refused object stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_type() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x20\x08\x06\0\0\0";
        assert!(looks_like(MediaType::Png, png));
        assert!(!looks_like(MediaType::Jpeg, png));
        assert_eq!(dimensions(MediaType::Png, png), Some((16, 32)));
        assert!(looks_like(MediaType::Jpeg, b"\xff\xd8\xff\xe0\0\x10JFIF"));
        assert!(looks_like(MediaType::Webp, b"RIFF\x24\0\0\0WEBPVP8 "));
        assert!(looks_like(MediaType::Gif, b"GIF89a"));
        assert!(looks_like(MediaType::Avif, b"\0\0\0\x18ftypavif\0\0\0\0avifmif1"));
        assert!(looks_like(MediaType::Svg, b"<?xml version=\"1.0\"?><svg xmlns=\"\"/>"));
        for media_type in MediaType::ALL {
            assert!(!looks_like(media_type, b"<html><script>alert(1)</script>"), "{media_type:?}");
            assert!(!looks_like(media_type, b""), "{media_type:?}");
        }
    }
}
