//! What really lies in storage: the object's head, its first bytes, and what they are worth by the
//! app's policy. Nothing that the client said is believed here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::apps::App;
use crate::domain::{
    Declared, Error, MediaType, ObjectMeta, RangeRequest, Stored, UploadRecord, VerificationFailure,
};
use crate::storage::{BodyError, GetOptions, ObjectBody, StorageError, StorageErrorKind};

use super::read::refusal_of;

/// How much of an object is read to recognise it and to find its dimensions. Cameras put previews
/// and colour profiles before them; 256 KiB is beyond what they are seen to use.
const HEADER_BYTES: u64 = 256 * 1024;

/// How long those bytes may take, once storage has begun to answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What storage showed.
pub(super) struct Seen {
    pub(super) meta: ObjectMeta,
    header: Bytes,
}

impl Seen {
    /// What is recorded of it.
    pub(super) fn stored(&self) -> Stored {
        let meta = &self.meta;
        let media_type = meta.content_type.as_deref().and_then(MediaType::parse);
        Stored {
            size: meta.size,
            content_type: meta.content_type.clone(),
            etag: meta.etag.clone(),
            version: meta.version.clone(),
            dimensions: media_type.and_then(|media_type| dimensions(media_type, &self.header)),
        }
    }
}

/// The head of an upload's object; `None` if there is none.
pub(super) async fn head(app: &App, record: &UploadRecord) -> Result<Option<ObjectMeta>, Error> {
    let path = app.key_prefix.path_of_minted(&record.key);
    match app.store.head(&path).await {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind == StorageErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(app, &error)),
    }
}

/// Reads the first bytes of an object, of the version that the head showed. `None` if it is gone.
pub(super) async fn inspect(
    app: &App,
    record: &UploadRecord,
    meta: ObjectMeta,
) -> Result<Option<Seen>, Error> {
    if meta.size == 0 {
        return Ok(Some(Seen { meta, header: Bytes::new() }));
    }
    let path = app.key_prefix.path_of_minted(&record.key);
    let options = GetOptions {
        range: Some(RangeRequest::Between(0, HEADER_BYTES.min(meta.size) - 1)),
        if_match: meta.etag.clone(),
        ..GetOptions::default()
    };
    let read = match app.store.get(&path, &options).await {
        Ok(read) => read,
        Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(app, &error)),
    };
    if read.meta.etag != meta.etag {
        return Err(Error::Conflict);
    }
    match timeout(HEADER_TIMEOUT, first_bytes(read.body)).await {
        Ok(Ok(header)) => Ok(Some(Seen { meta, header })),
        Ok(Err(error)) => {
            let error = StorageError::new(StorageErrorKind::Unavailable, error.to_string());
            Err(failed(app, &error))
        }
        Err(_) => {
            let detail = "the first bytes did not arrive in time";
            Err(failed(app, &StorageError::new(StorageErrorKind::Timeout, detail)))
        }
    }
}

/// What the caller is told when storage fails; the cause goes to the log, here.
pub(super) fn failed(app: &App, error: &StorageError) -> Error {
    match error.kind {
        // Overwritten between the two looks: whoever asks again sees the newer one.
        StorageErrorKind::PreconditionFailed => Error::Conflict,
        kind => {
            tracing::error!(app = %app.name, %error, "storage failed while an upload was verified");
            refusal_of(kind)
        }
    }
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
pub(super) fn judge(
    app: &App,
    declared: &Declared,
    seen: &Seen,
) -> Result<(), VerificationFailure> {
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
