//! The two sources of a read, asked the same way and answering in the same shape.

use crate::cdn::{Cdn, CdnFailure, CdnQuestion};
use crate::domain::{FallbackReason, Representation, Shape, StoragePath, Stored};
use crate::storage::{GetOptions, ObjectBody, ObjectStore, StorageError, StorageErrorKind};
use crate::traces::Spanned;
use crate::upstream;

use super::settle::Question;
use super::{ReadRequest, Unfit};

/// The answer of a source.
pub(super) struct Answer {
    pub(super) shape: Shape,
    pub(super) object: Representation,
    pub(super) bytes: Bytes,
    /// Whether `object` is the source's own word, tag included, and not the record's: a body goes on
    /// from elsewhere only if its source has shown what it is.
    pub(super) is_own_word: bool,
}

/// The bytes of an answer.
pub(super) enum Bytes {
    /// None: only the head was asked for.
    None,
    /// From the CDN.
    Cdn(Spanned<upstream::Body>),
    /// From storage.
    Storage(ObjectBody),
}

/// Asks the CDN.
pub(super) async fn cdn(
    cdn: &Cdn,
    path: &StoragePath,
    request: &ReadRequest,
    question: Question,
    recorded: Option<&Stored>,
) -> Result<Answer, CdnFailure> {
    let asked = CdnQuestion {
        path,
        head_only: question.head_only,
        range: request.range.filter(|_| question.with_range),
        if_none_match: request.conditions.unwanted_tags(),
        recorded,
    };
    let answer = cdn.ask(&asked).await?;
    Ok(Answer::new(answer.shape, answer.object, Bytes::Cdn(answer.body)).by(recorded))
}

/// Asks storage.
pub(super) async fn storage(
    store: &dyn ObjectStore,
    path: &StoragePath,
    request: &ReadRequest,
    question: Question,
    recorded: Option<&Stored>,
) -> Result<Answer, StorageError> {
    if question.head_only {
        let meta = store.head(path).await?;
        is_recorded(recorded.is_none_or(|recorded| recorded.covers(&meta)))?;
        return Ok(Answer::new(Shape::Whole, meta.into(), Bytes::None).by(recorded));
    }
    let range = request.range.filter(|_| question.with_range);
    let if_match = recorded.and_then(|recorded| recorded.etag.clone());
    match store.get(path, &GetOptions { range, if_match, ..GetOptions::default() }).await {
        Ok(read) => {
            is_recorded(recorded.is_none_or(|recorded| recorded.covers(&read.meta)))?;
            let shape = read.part.map_or(Shape::Whole, Shape::Part);
            Ok(Answer::new(shape, read.meta.into(), Bytes::Storage(read.body)).by(recorded))
        }
        Err(StorageError { kind: StorageErrorKind::RangeNotSatisfiable { size }, .. })
            if range.is_some() =>
        {
            let sizes = recorded.map(|recorded| recorded.size).zip(size);
            is_recorded(sizes.is_none_or(|(recorded, shown)| recorded == shown))?;
            let object = Representation { size, ..Representation::default() };
            Ok(Answer::new(Shape::Unsatisfiable(size), object, Bytes::None).by(recorded))
        }
        Err(error) => Err(error),
    }
}

/// Not even a store that ignores `If-Match` gets another object past the record.
fn is_recorded(same: bool) -> Result<(), StorageError> {
    let detail = "the object is not the one that was verified";
    let error = || StorageError::new(StorageErrorKind::PreconditionFailed, detail);
    if same { Ok(()) } else { Err(error()) }
}

impl Answer {
    fn new(shape: Shape, object: Representation, bytes: Bytes) -> Self {
        Self { shape, object, bytes, is_own_word: true }
    }

    /// Describes the object as its record does, where there is one.
    fn by(mut self, recorded: Option<&Stored>) -> Self {
        if let Some(recorded) = recorded {
            let object = &mut self.object;
            self.is_own_word = object.etag == recorded.etag;
            object.size = Some(recorded.size);
            object.content_type.clone_from(&recorded.content_type);
            object.content_encoding = None;
            object.etag.clone_from(&recorded.etag);
        }
        self
    }
}

impl From<Unfit> for CdnFailure {
    fn from(Unfit(why): Unfit) -> Self {
        Self::new(FallbackReason::Protocol, why)
    }
}

impl From<Unfit> for StorageError {
    fn from(Unfit(why): Unfit) -> Self {
        Self::new(StorageErrorKind::Unavailable, why)
    }
}
