//! What the sweeper can come to: the closed sets that it is counted under.

/// What a look at an upload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookOutcome {
    /// The object had no verdict that covers it, and is ready.
    Ready,
    /// The object had no verdict that covers it, and is refused.
    Failed,
    /// There is no object, and none is expected any more.
    Orphaned,
    /// An object that should have been gone was deleted.
    Removed,
    /// Everything is as it should be.
    Unchanged,
    /// The object of a ready upload is gone, and the gateway did not delete it.
    Missing,
    /// Somebody else was at it at the same time.
    Contended,
    /// Storage did not answer, or did not do what it was asked.
    StorageFailed,
    /// The record store did not.
    RecordsFailed,
}

impl LookOutcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::Failed,
        Self::Orphaned,
        Self::Removed,
        Self::Unchanged,
        Self::Missing,
        Self::Contended,
        Self::StorageFailed,
        Self::RecordsFailed,
    ];

    /// The label in metrics and in the output of `safelight sweep`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Orphaned => "orphaned",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
            Self::Missing => "missing",
            Self::Contended => "contended",
            Self::StorageFailed => "storage_failed",
            Self::RecordsFailed => "records_failed",
        }
    }

    /// Whether the look has to be taken again because something is broken.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::StorageFailed | Self::RecordsFailed)
    }
}

/// What comparing a bucket with the records found about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discrepancy {
    /// The gateway minted its key, and there is no record.
    Unrecorded,
    /// Its record says that it never came, or has no verdict.
    Unfinished,
    /// It had no record; now it has one, and is ready.
    Adopted,
    /// Its record said that it never came, or had no verdict; now it is ready.
    Verified,
    /// It would have been adopted or verified, but the app's policy refuses it. It stays as it is.
    Refused,
}

impl Discrepancy {
    /// Every one of them.
    pub const ALL: [Self; 5] =
        [Self::Unrecorded, Self::Unfinished, Self::Adopted, Self::Verified, Self::Refused];

    /// The label in metrics and in the output of `safelight sweep`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unrecorded => "unrecorded",
            Self::Unfinished => "unfinished",
            Self::Adopted => "adopted",
            Self::Verified => "verified",
            Self::Refused => "refused",
        }
    }
}
