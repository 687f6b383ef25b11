//! What is kept of an object, and under which key.

use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use moka::Equivalent;

use super::life::{Life, Use};
use crate::domain::{ETag, Representation};
use crate::zero_copy::Shared;

/// What an entry costs besides the object and its key: the cache's own books (343 bytes were
/// measured for moka), the structures here, and its header fields as they are sent.
const ENTRY_BYTES: usize = 1024;

/// The object that is looked for.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub struct Sought<'a> {
    /// Which sources it comes from: another number for another app, bucket or CDN.
    pub sources: u64,
    /// Its key, decoded.
    pub key: &'a str,
}

/// The same, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    sources: u64,
    key: Box<str>,
}

impl Key {
    fn as_sought(&self) -> Sought<'_> {
        Sought { sources: self.sources, key: &self.key }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_sought().hash(state);
    }
}

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_sought()
    }
}

impl Sought<'_> {
    pub(super) fn to_key(self) -> Key {
        Key { sources: self.sources, key: self.key.into() }
    }
}

/// An object in memory. Nothing of it changes.
#[derive(Debug)]
pub struct Kept {
    /// What its source says of it, but for its age.
    pub object: Representation,
    /// All of its bytes.
    pub bytes: Shared,
    headers: OnceLock<Box<[(HeaderName, HeaderValue)]>>,
}

impl Kept {
    /// An object and its bytes.
    #[must_use]
    pub fn new(object: Representation, bytes: Shared) -> Self {
        Self { object: Representation { age: None, ..object }, bytes, headers: OnceLock::new() }
    }

    /// Its header fields, which are made once.
    pub fn headers(
        &self,
        make: impl FnOnce(&Representation) -> Box<[(HeaderName, HeaderValue)]>,
    ) -> &[(HeaderName, HeaderValue)] {
        self.headers.get_or_init(|| make(&self.object))
    }

    /// The same bytes, as their source describes them when it finds that they still hold. What it
    /// does not say again stays (RFC 9111 §3.2).
    fn described_anew(self: &Arc<Self>, now: &Representation) -> Arc<Self> {
        let was = &self.object;
        let object = Representation {
            content_type: now.content_type.clone().or_else(|| was.content_type.clone()),
            last_modified: now.last_modified.or(was.last_modified),
            caching: now.caching,
            ..was.clone()
        };
        if object == *was {
            Arc::clone(self)
        } else {
            Arc::new(Self::new(object, self.bytes.clone()))
        }
    }

    fn weight(&self) -> usize {
        let Representation { content_type, content_encoding, etag, .. } = &self.object;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let tag = etag.as_ref().map_or(0, |etag| etag.as_str().len());
        self.bytes.weight() + text(content_type) + text(content_encoding) + tag
    }
}

/// An object in memory, and how long it may be served.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The object.
    pub kept: Arc<Kept>,
    /// When the source was asked for it.
    asked: Instant,
    /// How old it was then.
    age: Duration,
    life: Life,
}

impl Entry {
    /// An object whose source was asked at `asked`, and said of it that it was of this age.
    #[must_use]
    pub fn new(kept: Arc<Kept>, asked: Instant, age: Duration, life: Life) -> Self {
        Self { kept, asked, age, life }
    }

    /// The same, after its source was asked again and found that it still holds.
    #[must_use]
    pub fn renewed(&self, now: &Representation, asked: Instant, age: Duration, life: Life) -> Self {
        Self { kept: self.kept.described_anew(now), asked, age, life }
    }

    /// Its tag.
    #[must_use]
    pub fn etag(&self) -> Option<&ETag> {
        self.kept.object.etag.as_ref()
    }

    /// How old it is. The time that its source took to answer counts (RFC 9111 §4.2.3).
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.asked)
    }

    /// What may be done with it.
    #[must_use]
    pub fn use_at(&self, now: Instant) -> Use {
        self.life.at(self.age(now))
    }

    /// What it takes in memory, in bytes.
    pub(super) fn weight(&self, key: &Key) -> u32 {
        let bytes = ENTRY_BYTES + mem::size_of::<Self>() + key.key.len() + self.kept.weight();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}
