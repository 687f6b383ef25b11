//! What a source says of an object, and the shape of its answer.

use std::time::SystemTime;

use super::{Caching, ContentRange, ETag, Validators};

/// What storage says of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The length of the whole object in bytes, also where only a part of it was asked for.
    pub size: u64,
    /// The stored `Content-Type`.
    pub content_type: Option<String>,
    /// The stored `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The entity tag.
    pub etag: Option<ETag>,
    /// When it was written, to the second.
    pub last_modified: Option<SystemTime>,
    /// The version (S3) or generation (GCS), where the provider tells.
    pub version: Option<String>,
}

/// What an answer to a read says of the object, wherever it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Representation {
    /// The length of the whole object in bytes, where the source tells.
    pub size: Option<u64>,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
    /// `ETag`
    pub etag: Option<ETag>,
    /// `Last-Modified`
    pub last_modified: Option<SystemTime>,
    /// `Age`: for how many seconds caches have had it.
    pub age: Option<u64>,
    /// How long it may be kept, as the source says; stores are not asked for it.
    pub caching: Caching,
}

/// The shape of a source's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The whole object.
    Whole,
    /// The part that was asked for.
    Part(ContentRange),
    /// It is one of the versions that were not wanted.
    NotModified,
    /// The range lies outside of an object of this size, where the source tells.
    Unsatisfiable(Option<u64>),
}

impl Representation {
    /// What conditions are evaluated against.
    #[must_use]
    pub fn validators(&self) -> Validators<'_> {
        Validators { etag: self.etag.as_ref(), last_modified: self.last_modified }
    }
}

impl From<ObjectMeta> for Representation {
    fn from(meta: ObjectMeta) -> Self {
        Self {
            size: Some(meta.size),
            content_type: meta.content_type,
            content_encoding: meta.content_encoding,
            etag: meta.etag,
            last_modified: meta.last_modified,
            age: None,
            caching: Caching::default(),
        }
    }
}
