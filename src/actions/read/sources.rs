//! The two sources of a read, asked the same way and answering in the same shape.

use crate::cdn::{Cdn, CdnFailure, CdnQuestion};
use crate::domain::{FallbackReason, Representation, Shape, StoragePath};
use crate::storage::{GetOptions, ObjectBody, ObjectStore, StorageError, StorageErrorKind};
use crate::upstream;

use super::settle::Question;
use super::{ReadRequest, Unfit};

/// The answer of a source.
pub(super) struct Answer {
    pub(super) shape: Shape,
    pub(super) object: Representation,
    pub(super) bytes: Bytes,
}

/// The bytes of an answer.
pub(super) enum Bytes {
    /// None: only the head was asked for.
    None,
    /// From the CDN.
    Cdn(upstream::Body),
    /// From storage.
    Storage(ObjectBody),
}

/// Asks the CDN.
pub(super) async fn cdn(
    cdn: &Cdn,
    path: &StoragePath,
    request: &ReadRequest,
    question: Question,
) -> Result<Answer, CdnFailure> {
    let asked = CdnQuestion {
        path,
        head_only: question.head_only,
        range: request.range.filter(|_| question.with_range),
        if_none_match: request.conditions.unwanted_tags(),
    };
    let answer = cdn.ask(&asked).await?;
    Ok(Answer { shape: answer.shape, object: answer.object, bytes: Bytes::Cdn(answer.body) })
}

/// Asks storage.
pub(super) async fn storage(
    store: &dyn ObjectStore,
    path: &StoragePath,
    request: &ReadRequest,
    question: Question,
) -> Result<Answer, StorageError> {
    if question.head_only {
        let object = store.head(path).await?.into();
        return Ok(Answer { shape: Shape::Whole, object, bytes: Bytes::None });
    }
    let range = request.range.filter(|_| question.with_range);
    match store.get(path, &GetOptions { range, ..GetOptions::default() }).await {
        Ok(read) => {
            let shape = read.part.map_or(Shape::Whole, Shape::Part);
            let bytes = Bytes::Storage(read.body);
            Ok(Answer { shape, object: read.meta.into(), bytes })
        }
        Err(StorageError { kind: StorageErrorKind::RangeNotSatisfiable { size }, .. })
            if range.is_some() =>
        {
            let object = Representation { size, ..Representation::default() };
            Ok(Answer { shape: Shape::Unsatisfiable(size), object, bytes: Bytes::None })
        }
        Err(error) => Err(error),
    }
}

impl From<Unfit> for CdnFailure {
    fn from(Unfit(why): Unfit) -> Self {
        Self { reason: FallbackReason::Protocol, detail: why.to_owned() }
    }
}

impl From<Unfit> for StorageError {
    fn from(Unfit(why): Unfit) -> Self {
        Self::new(StorageErrorKind::Unavailable, why)
    }
}
