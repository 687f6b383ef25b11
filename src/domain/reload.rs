//! What can become of an app's file while the gateway runs: the closed sets that it is counted
//! under.

/// What a reload of the apps' files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadOutcome {
    /// Something changed, and every file is in force.
    Ok,
    /// Nothing changed, and every file is in force.
    Unchanged,
    /// At least one file is refused; whatever else changed is in force.
    Refused,
    /// The directory cannot be read: everything goes on as it was.
    Failed,
}

/// How an app stands to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileState {
    /// The app is what its file says.
    Live,
    /// The file is refused. The app, if there was one, goes on as it was.
    Refused,
    /// The file is gone. The app goes on for a while.
    Missing,
}

impl ReloadOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unchanged, Self::Refused, Self::Failed];

    /// The label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl FileState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Live, Self::Refused, Self::Missing];

    /// The label in metrics and on the admin listener.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Refused => "refused",
            Self::Missing => "missing",
        }
    }
}
