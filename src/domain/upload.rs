//! The record of an upload and its state machine.

use std::time::SystemTime;

use super::{AppName, ETag, MediaType, MintedKey, OwnerId, VerificationFailure};

/// Where an upload is in its life.
///
/// ```text
/// pending ──▶ uploaded ──▶ ready ──▶ deleted
///    │            │  ▲                  ▲
///    │            ▼  │                  │  (from every state)
///    │         failed│ ─────────────────┘
///    └──▶ orphaned ──┘   (on late evidence)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadState {
    /// A URL was signed; nothing is known of an object.
    Pending,
    /// The object is in storage; no verdict yet.
    Uploaded,
    /// The object was verified.
    Ready,
    /// The object was verified and refused.
    Failed,
    /// The upload never came.
    Orphaned,
    /// Deleted; final.
    Deleted,
}

/// A transition that the state machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload does not go from {} to {}", from.as_str(), to.as_str())]
pub struct InvalidTransition {
    /// The state it is in.
    pub from: UploadState,
    /// The state it was to go to.
    pub to: UploadState,
}

impl UploadState {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Uploaded, Self::Ready, Self::Failed, Self::Orphaned, Self::Deleted];

    /// The name in answers, in metrics and in the record store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Uploaded => "uploaded",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Orphaned => "orphaned",
            Self::Deleted => "deleted",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the state machine has this transition.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use UploadState::{Deleted, Failed, Orphaned, Pending, Ready, Uploaded};
        match (self, to) {
            (Pending, Uploaded | Orphaned | Deleted)
            | (Uploaded, Ready | Failed | Deleted)
            | (Orphaned, Uploaded | Deleted)
            | (Ready | Failed, Deleted) => true,
            // Other bytes under an old verdict (a signed URL outlives it) are verified again.
            (Ready | Failed, Uploaded) => true,
            _ => false,
        }
    }

    /// Checks a transition.
    ///
    /// # Errors
    /// [`InvalidTransition`] if the machine does not have it.
    pub const fn transition(self, to: Self) -> Result<(), InvalidTransition> {
        if self.may_become(to) { Ok(()) } else { Err(InvalidTransition { from: self, to }) }
    }
}

/// What a client declared, before any byte was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The media type.
    pub media_type: MediaType,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The SHA-256 of the content.
    pub sha256: Option<[u8; 32]>,
}

/// What storage says of the object that a verdict was given for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The size in bytes.
    pub size: u64,
    /// The stored `Content-Type`.
    pub content_type: Option<String>,
    /// The entity tag.
    pub etag: Option<ETag>,
    /// The S3 version or GCS generation.
    pub version: Option<String>,
    /// Width and height in pixels, where the header told.
    pub dimensions: Option<(u32, u32)>,
}

/// One upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// The app.
    pub app: AppName,
    /// The owner.
    pub owner: OwnerId,
    /// The key; its id is the upload's id.
    pub key: MintedKey,
    /// The state.
    pub state: UploadState,
    /// Why it failed.
    pub reason: Option<VerificationFailure>,
    /// What the client declared.
    pub declared: Declared,
    /// What storage has.
    pub stored: Option<Stored>,
    /// When the upload was authorised.
    pub created_at: SystemTime,
    /// When the signed URL ends.
    pub url_expires_at: SystemTime,
    /// Until when the upload may be renewed or resumed.
    pub session_expires_at: SystemTime,
    /// When the state last changed.
    pub updated_at: SystemTime,
}

/// The bearer token of one upload: an HMAC over app, id and owner. Nothing of it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadToken(pub String);

impl std::fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UploadToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_exactly_these_transitions() {
        use UploadState::{Deleted, Failed, Orphaned, Pending, Ready, Uploaded};
        let legal = [
            (Pending, Uploaded),
            (Pending, Orphaned),
            (Pending, Deleted),
            (Uploaded, Ready),
            (Uploaded, Failed),
            (Uploaded, Deleted),
            (Orphaned, Uploaded),
            (Orphaned, Deleted),
            (Ready, Uploaded),
            (Ready, Deleted),
            (Failed, Uploaded),
            (Failed, Deleted),
        ];
        for from in UploadState::ALL {
            for to in UploadState::ALL {
                let expected = legal.contains(&(from, to));
                assert_eq!(from.may_become(to), expected, "{from:?} to {to:?}");
                assert_eq!(from.transition(to).is_ok(), expected);
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for state in UploadState::ALL {
            assert_eq!(UploadState::parse(state.as_str()), Some(state));
        }
        assert_eq!(UploadState::parse("Ready"), None);
    }
}
