//! Which source comes next: a pure function of what has been seen so far.

use crate::domain::{Error, FallbackReason, FallbackResult};
use crate::storage::StorageErrorKind;

/// What has been seen of the object's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordSeen {
    /// The read goes on without.
    Unneeded,
    /// It has not been asked.
    Unasked,
    /// It says that the object is ready.
    Ready,
    /// It says so still, or again, after storage had another object: of another version.
    ReadyAnew,
    /// It says that the object is not to be served.
    NotReady,
    /// It did not answer.
    NoAnswer,
}

/// What has been seen of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemorySeen {
    /// Nothing is kept there, or the read is to go past it.
    Unneeded,
    /// It has not been asked.
    Unasked,
    /// It leaves the read to the sources.
    Passed,
}

/// What has been seen of the CDN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CdnSeen {
    /// The app has none: reading from storage is no fallback.
    Absent,
    /// It has not been asked.
    Unasked,
    /// It is asked only if storage fails: this read belongs to the share that keeps the fallback in
    /// use.
    Spared,
    /// It gave an answer that fits.
    Answered,
    /// It failed.
    Failed(FallbackReason),
}

/// What has been seen of storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StorageSeen {
    /// It has not been asked.
    Unasked,
    /// It gave an answer that fits.
    Answered,
    /// It has another object than the record says.
    Changed,
    /// It failed, or has no such object.
    Failed(Error),
}

/// All that has been seen for one read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) record: RecordSeen,
    pub(super) memory: MemorySeen,
    pub(super) cdn: CdnSeen,
    pub(super) storage: StorageSeen,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the record.
    AskRecord,
    /// Ask it again, because storage has another object than it said.
    AskRecordAnew,
    /// Ask memory, which answers by itself or passes.
    AskMemory,
    /// Ask the CDN.
    AskCdn,
    /// Ask storage.
    AskStorage,
    /// Give the CDN's answer.
    AnswerFromCdn,
    /// Give storage's answer.
    AnswerFromStorage,
    /// Give up.
    Refuse(Error),
}

impl Seen {
    /// The beginning of a read.
    pub(super) fn new(has_cdn: bool, needs_record: bool, has_memory: bool) -> Self {
        let record = if needs_record { RecordSeen::Unasked } else { RecordSeen::Unneeded };
        let memory = if has_memory { MemorySeen::Unasked } else { MemorySeen::Unneeded };
        let cdn = if has_cdn { CdnSeen::Unasked } else { CdnSeen::Absent };
        Self { record, memory, cdn, storage: StorageSeen::Unasked }
    }
}

impl StorageSeen {
    /// What an answer is, and the answer.
    pub(super) fn of<T>(answer: Result<T, Self>) -> (Self, Option<T>) {
        match answer {
            Ok(answer) => (Self::Answered, Some(answer)),
            Err(seen) => (seen, None),
        }
    }

    /// What became of a read that only storage was to answer.
    pub(super) fn result(&self) -> FallbackResult {
        match self {
            Self::Answered => FallbackResult::Served,
            Self::Failed(error) => FallbackResult::of_refusal(error),
            Self::Changed | Self::Unasked => FallbackResult::Failed,
        }
    }
}

/// Decides the next step.
pub(super) fn next(seen: &Seen) -> Step {
    match (seen.record, &seen.storage) {
        (RecordSeen::Unasked, _) => return Step::AskRecord,
        (RecordSeen::NotReady, _) => return Step::Refuse(Error::NotFound),
        (RecordSeen::NoAnswer, _) => return Step::Refuse(Error::RecordsUnavailable),
        (RecordSeen::Ready, StorageSeen::Changed) => return Step::AskRecordAnew,
        (RecordSeen::Unneeded | RecordSeen::Ready | RecordSeen::ReadyAnew, _) => {}
    }
    if seen.memory == MemorySeen::Unasked {
        return Step::AskMemory;
    }
    match (seen.cdn, &seen.storage) {
        (CdnSeen::Unasked, _) => Step::AskCdn,
        (CdnSeen::Answered, _) => Step::AnswerFromCdn,
        (CdnSeen::Spared | CdnSeen::Failed(_) | CdnSeen::Absent, StorageSeen::Unasked) => {
            Step::AskStorage
        }
        // What was to prove that the fallback works must not cost a read.
        (CdnSeen::Spared, StorageSeen::Failed(_)) => Step::AskCdn,
        (_, StorageSeen::Answered) => Step::AnswerFromStorage,
        // An old verdict is not served on new bytes.
        (_, StorageSeen::Changed) => Step::Refuse(Error::NotFound),
        (_, StorageSeen::Failed(error)) => Step::Refuse(error.clone()),
    }
}

/// What the client is told when storage fails. Only a provider's word that there is no object
/// makes a 404: broken credentials must never look like missing photos.
pub(in crate::actions) fn refusal_of(kind: StorageErrorKind) -> Error {
    match kind {
        StorageErrorKind::NotFound => Error::NotFound,
        StorageErrorKind::Timeout => Error::StorageTimeout,
        StorageErrorKind::Overloaded => Error::Overloaded,
        StorageErrorKind::NotModified
        | StorageErrorKind::PreconditionFailed
        | StorageErrorKind::RangeNotSatisfiable { .. }
        | StorageErrorKind::AccessDenied
        | StorageErrorKind::Credentials
        | StorageErrorKind::WrongParts
        | StorageErrorKind::NoSuchUpload
        | StorageErrorKind::Unsupported
        | StorageErrorKind::Unavailable => Error::StorageFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_sources() {
        use CdnSeen::{Absent, Answered, Failed, Spared, Unasked};
        let reason = FallbackReason::Timeout;
        let failed = || StorageSeen::Failed(Error::StorageFailed);
        let missing = || StorageSeen::Failed(Error::NotFound);
        for (cdn, storage, expected) in [
            (Unasked, StorageSeen::Unasked, Step::AskCdn),
            (Answered, StorageSeen::Unasked, Step::AnswerFromCdn),
            (Failed(reason), StorageSeen::Unasked, Step::AskStorage),
            (Absent, StorageSeen::Unasked, Step::AskStorage),
            (Spared, StorageSeen::Unasked, Step::AskStorage),
            (Spared, StorageSeen::Answered, Step::AnswerFromStorage),
            (Spared, failed(), Step::AskCdn),
            (Spared, missing(), Step::AskCdn),
            (Failed(reason), StorageSeen::Answered, Step::AnswerFromStorage),
            (Absent, StorageSeen::Answered, Step::AnswerFromStorage),
            (Failed(reason), missing(), Step::Refuse(Error::NotFound)),
            (Absent, missing(), Step::Refuse(Error::NotFound)),
            (Failed(reason), failed(), Step::Refuse(Error::StorageFailed)),
            (Absent, failed(), Step::Refuse(Error::StorageFailed)),
        ] {
            for record in [RecordSeen::Unneeded, RecordSeen::Ready, RecordSeen::ReadyAnew] {
                for memory in [MemorySeen::Unneeded, MemorySeen::Passed] {
                    let seen = Seen { record, memory, cdn, storage: storage.clone() };
                    assert_eq!(next(&seen), expected, "{seen:?}");
                }
            }
        }
    }

    #[test]
    fn the_record_comes_first_where_it_is_needed() {
        use RecordSeen::{NoAnswer, NotReady, Ready, ReadyAnew, Unasked, Unneeded};
        use StorageSeen::Changed;
        let gone = || Step::Refuse(Error::NotFound);
        let begun = StorageSeen::Unasked;
        let failed = CdnSeen::Failed(FallbackReason::Mismatch);
        for (record, cdn, storage, expected) in [
            (Unasked, CdnSeen::Unasked, begun.clone(), Step::AskRecord),
            (Unasked, CdnSeen::Absent, begun.clone(), Step::AskRecord),
            (NotReady, CdnSeen::Unasked, begun.clone(), gone()),
            (NotReady, CdnSeen::Absent, begun.clone(), gone()),
            (NotReady, failed, Changed, gone()),
            (NoAnswer, CdnSeen::Unasked, begun.clone(), Step::Refuse(Error::RecordsUnavailable)),
            (NoAnswer, failed, Changed, Step::Refuse(Error::RecordsUnavailable)),
            (Ready, failed, Changed, Step::AskRecordAnew),
            (Ready, CdnSeen::Absent, Changed, Step::AskRecordAnew),
            (ReadyAnew, failed, begun, Step::AskStorage),
            (ReadyAnew, failed, Changed, gone()),
            (ReadyAnew, CdnSeen::Absent, Changed, gone()),
            (Unneeded, CdnSeen::Absent, Changed, gone()),
        ] {
            let memory = MemorySeen::Passed;
            let seen = Seen { record, memory, cdn, storage };
            assert_eq!(next(&seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_read_begins_at_the_cdn_where_there_is_one() {
        assert_eq!(next(&Seen::new(true, false, false)), Step::AskCdn);
        assert_eq!(next(&Seen::new(false, false, false)), Step::AskStorage);
        assert_eq!(next(&Seen::new(true, true, true)), Step::AskRecord);
        assert_eq!(next(&Seen::new(true, false, true)), Step::AskMemory);
        assert_eq!(next(&Seen::new(false, false, true)), Step::AskMemory);
    }

    #[test]
    fn memory_is_asked_about_nothing_that_the_record_refuses() {
        for (record, expected) in [
            (RecordSeen::Unneeded, Step::AskMemory),
            (RecordSeen::Ready, Step::AskMemory),
            (RecordSeen::Unasked, Step::AskRecord),
            (RecordSeen::NotReady, Step::Refuse(Error::NotFound)),
            (RecordSeen::NoAnswer, Step::Refuse(Error::RecordsUnavailable)),
        ] {
            let seen = Seen { record, ..Seen::new(true, true, true) };
            assert_eq!(next(&seen), expected, "{record:?}");
        }
    }

    #[test]
    fn only_missing_objects_are_missing() {
        assert_eq!(refusal_of(StorageErrorKind::NotFound), Error::NotFound);
        assert_eq!(refusal_of(StorageErrorKind::AccessDenied), Error::StorageFailed);
        assert_eq!(refusal_of(StorageErrorKind::Credentials), Error::StorageFailed);
        assert_eq!(refusal_of(StorageErrorKind::Timeout), Error::StorageTimeout);
    }
}
