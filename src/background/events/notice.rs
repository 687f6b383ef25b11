//! From the bytes of an event to what it says. Pure: every form is read here, and nothing is asked.
//!
//! | form | sent by | its keys |
//! |---|---|---|
//! | `Records` of S3 | S3 to SQS, MinIO | URL-encoded as forms are: `+` is a space; some encode `/` too |
//! | the same in `Message`, as text | S3 through SNS | the same |
//! | `detail` of EventBridge | S3 through EventBridge | plain |
//! | attributes of Pub/Sub | Google Cloud Storage | plain |
//! | an entry of a file system | SeaweedFS | plain, under `/buckets/{bucket}/` |

use std::time::SystemTime;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::domain::{ETag, EventSource};

/// The largest document that is read, in bytes. Amazon's and Google's own have one to three KiB.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// How deep an event may be wrapped: S3's own, or EventBridge's, in one SNS notification.
const MAX_WRAPPINGS: usize = 1;

/// What an event says of one object. Nothing of it is known to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectNotice {
    /// The bucket.
    pub bucket: String,
    /// The full name of the object in its bucket, decoded.
    pub key: String,
    /// What happened.
    pub kind: Kind,
    /// The entity tag, where it is the one that reading the object shows.
    pub etag: Option<ETag>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The S3 version or GCS generation.
    pub version: Option<String>,
    /// What orders the events of one key: greater is later, compared as text of equal length.
    pub sequencer: Option<String>,
    /// When it happened.
    pub at: Option<SystemTime>,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was written, whichever way.
    Created,
    /// It was deleted, or its last version was hidden.
    Removed,
    /// Something else, which says nothing of its bytes.
    Other,
}

/// Why a document is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too large.
    #[error("the event has more than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
    /// It is no JSON, no UTF-8, or a field has a value of another type.
    #[error("the event is not the JSON that it should be, at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is JSON of no form that is known from this sender.
    #[error("the event has no form that is known from this sender")]
    UnknownForm,
}

/// Reads a document of a source. A document may tell of several objects, or of none: a test that
/// the sender makes.
///
/// # Errors
/// [`Malformed`].
pub fn parse(source: EventSource, document: &[u8]) -> Result<Vec<ObjectNotice>, Malformed> {
    let document = read(document)?;
    match source {
        EventSource::Sqs => from_amazon(document, MAX_WRAPPINGS),
        EventSource::PubSub => {
            let attributes = document.message.and_then(|message| message.attributes);
            Ok(vec![attributes.ok_or(Malformed::UnknownForm)?.notice()?])
        }
        EventSource::Webhook => match (&document.event_type, &document.key) {
            (Some(event_type), Some(key)) => {
                let is_directory = document.message.as_ref().is_some_and(Message::is_directory);
                Ok(seaweed_notice(event_type, key, is_directory).into_iter().collect())
            }
            _ => from_amazon(document, 0),
        },
    }
}

fn read(document: &[u8]) -> Result<Document, Malformed> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(Malformed::TooLarge);
    }
    // The parser would not look at the bytes of fields that nobody reads (RFC 8259 §8.1).
    let text = std::str::from_utf8(document).map_err(|error| {
        let before = &document[..error.valid_up_to()];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Malformed::NotJson { line, column: before.len() - line_start + 1 }
    })?;
    serde_json::from_str(text)
        .map_err(|error| Malformed::NotJson { line: error.line(), column: error.column() })
}

fn from_amazon(document: Document, wrappings: usize) -> Result<Vec<ObjectNotice>, Malformed> {
    if let Some(records) = document.records {
        return records.into_iter().map(S3Record::notice).collect();
    }
    if document.event.as_deref() == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if document.source.as_deref() == Some("aws.s3") {
        let (kind, detail) =
            document.detail_type.zip(document.detail).ok_or(Malformed::UnknownForm)?;
        return Ok(vec![detail.notice(&kind, document.time.as_deref())]);
    }
    match (document.r#type.as_deref(), document.wrapped) {
        (Some("Notification"), Some(wrapped)) if wrappings > 0 => {
            from_amazon(read(wrapped.as_bytes())?, wrappings - 1)
        }
        _ => Err(Malformed::UnknownForm),
    }
}

/// What any document may have at its top, of all forms together.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Records")]
    records: Option<Vec<S3Record>>,
    /// S3's test event.
    #[serde(rename = "Event")]
    event: Option<String>,
    /// SNS.
    #[serde(rename = "Type")]
    r#type: Option<String>,
    #[serde(rename = "Message")]
    wrapped: Option<String>,
    /// EventBridge.
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    time: Option<String>,
    detail: Option<BridgeDetail>,
    /// SeaweedFS.
    event_type: Option<String>,
    key: Option<String>,
    /// Pub/Sub, and SeaweedFS.
    message: Option<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Record {
    event_name: Option<String>,
    event_time: Option<String>,
    s3: Option<S3Entity>,
}

#[derive(Deserialize)]
struct S3Entity {
    bucket: Bucket,
    object: S3Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Object {
    key: String,
    size: Option<u64>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

impl S3Record {
    fn notice(self) -> Result<ObjectNotice, Malformed> {
        let (name, s3) = self.event_name.zip(self.s3).ok_or(Malformed::UnknownForm)?;
        // MinIO has the prefix in its records too.
        let name = name.strip_prefix("s3:").unwrap_or(&name);
        let kind = match name.split(':').next().unwrap_or_default() {
            "ObjectCreated" => Kind::Created,
            "ObjectRemoved" | "LifecycleExpiration" => Kind::Removed,
            _ => Kind::Other,
        };
        let S3Object { key, size, e_tag, version_id, sequencer } = s3.object;
        Ok(ObjectNotice {
            bucket: s3.bucket.name,
            key: form_decoded(&key),
            kind,
            etag: e_tag.as_deref().and_then(ETag::parse),
            size,
            version: version_of(version_id),
            sequencer,
            at: self.event_time.as_deref().and_then(time),
        })
    }
}

/// Decodes a key as a form's value is decoded. What is not UTF-8 then is no key of ours, and is
/// kept as one that no minted key equals.
fn form_decoded(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[derive(Deserialize)]
struct BridgeDetail {
    bucket: Bucket,
    object: BridgeObject,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BridgeObject {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

impl BridgeDetail {
    fn notice(self, kind: &str, at: Option<&str>) -> ObjectNotice {
        let kind = match kind {
            "Object Created" => Kind::Created,
            "Object Deleted" => Kind::Removed,
            _ => Kind::Other,
        };
        let BridgeObject { key, size, etag, version_id, sequencer } = self.object;
        ObjectNotice {
            bucket: self.bucket.name,
            key,
            kind,
            etag: etag.as_deref().and_then(ETag::parse),
            size,
            version: version_of(version_id),
            sequencer,
            at: at.and_then(time),
        }
    }
}

#[derive(Deserialize)]
struct Message {
    attributes: Option<PubSubAttributes>,
    new_entry: Option<SeaweedEntry>,
}

impl Message {
    fn is_directory(&self) -> bool {
        self.new_entry.as_ref().is_some_and(|entry| entry.is_directory)
    }
}

/// What Cloud Storage says beside the message, and without which there is no message. Its `data`,
/// which some subscriptions leave out, holds the same and an `etag` of another API than objects are
/// read by here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PubSubAttributes {
    event_type: Option<String>,
    bucket_id: Option<String>,
    object_id: Option<String>,
    object_generation: Option<String>,
    event_time: Option<String>,
}

impl PubSubAttributes {
    fn notice(self) -> Result<ObjectNotice, Malformed> {
        let named = self.event_type.zip(self.bucket_id).zip(self.object_id);
        let ((event_type, bucket), key) = named.ok_or(Malformed::UnknownForm)?;
        let kind = match event_type.as_str() {
            "OBJECT_FINALIZE" => Kind::Created,
            "OBJECT_DELETE" | "OBJECT_ARCHIVE" => Kind::Removed,
            _ => Kind::Other,
        };
        Ok(ObjectNotice {
            bucket,
            key,
            kind,
            etag: None,
            size: None,
            version: version_of(self.object_generation),
            sequencer: None,
            at: self.event_time.as_deref().and_then(time),
        })
    }
}

#[derive(Deserialize)]
struct SeaweedEntry {
    #[serde(default)]
    is_directory: bool,
}

/// `None` for what is no object in a bucket: folders, the server's own files.
fn seaweed_notice(event_type: &str, path: &str, is_directory: bool) -> Option<ObjectNotice> {
    let (bucket, key) = path.strip_prefix("/buckets/")?.split_once('/')?;
    if is_directory {
        return None;
    }
    let kind = match event_type {
        "create" | "update" => Kind::Created,
        "delete" => Kind::Removed,
        _ => Kind::Other,
    };
    Some(ObjectNotice {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        kind,
        etag: None,
        size: None,
        version: None,
        sequencer: None,
        at: None,
    })
}

/// `null` is what S3 calls the only version of a bucket that keeps none.
fn version_of(version: Option<String>) -> Option<String> {
    version.filter(|version| !version.is_empty() && version != "null")
}

fn time(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests;
