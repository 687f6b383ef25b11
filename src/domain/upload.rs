//! The record of an upload and its state machine.

use std::time::{Duration, SystemTime};

use super::{AppName, ETag, MediaType, MintedKey, ObjectMeta, OwnerId, VerificationFailure};

/// How long after its last change an upload is looked at again that has arrived and has no verdict,
/// or whose object is to go: whoever was about to see to that has ended by then.
const VERDICT_OVERDUE: Duration = Duration::from_secs(60);

/// Where an upload is in its life.
///
/// ```text
/// pending ──▶ uploaded ◀─▶ ready ──▶ deleted
///    │          ▲  ▲                    ▲
///    │          │  └────▶ failed        │  (from every state)
///    │          ▼                       │
///    └────▶ orphaned   ─────────────────┘
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
            // Gone before there was a verdict: as if it had never come.
            | (Uploaded, Ready | Failed | Orphaned | Deleted)
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

impl Stored {
    /// Whether an object is the one that the verdict was given for. Providers without versions show
    /// none; without a tag nothing is proved.
    #[must_use]
    pub fn covers(&self, meta: &ObjectMeta) -> bool {
        let versions = self.version.as_ref().zip(meta.version.as_ref());
        self.size == meta.size
            && self.etag.is_some()
            && self.etag == meta.etag
            && versions.is_none_or(|(recorded, shown)| recorded == shown)
    }
}

/// The provider's name of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipartId(pub String);

/// How a file that comes in parts is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    /// The provider's name of it.
    pub id: MultipartId,
    /// The length of every part but the last, in bytes.
    pub part_size: u64,
    /// Whether storage wants the SHA-256 of every part.
    pub checksums: bool,
}

/// One upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// The app.
    pub app: AppName,
    /// The owner; `None` for an object that was found in the bucket without a record.
    pub owner: Option<OwnerId>,
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
    /// How it is cut, if it comes in parts.
    pub multipart: Option<Multipart>,
    /// When the upload was authorised.
    pub created_at: SystemTime,
    /// When the last of its signed URLs ends.
    pub url_expires_at: SystemTime,
    /// Until when the upload may be renewed or resumed.
    pub session_expires_at: SystemTime,
    /// When the record last changed.
    pub updated_at: SystemTime,
    /// How often the record has changed. A change names the revision that it was decided on, so
    /// that a state which was left and entered again is not taken for the same.
    pub revision: u32,
    /// When the sweeper is to look at the object; `None` if nothing can happen to it any more.
    pub look_at: Option<SystemTime>,
}

impl UploadRecord {
    /// When the sweeper is to look at the object of an upload that is (or comes to be) in `state`
    /// at `now`. A URL may be used until its end, and what was begun then takes up to `grace`.
    #[must_use]
    pub fn next_look(
        &self,
        state: UploadState,
        grace: Duration,
        now: SystemTime,
    ) -> Option<SystemTime> {
        match state {
            UploadState::Pending => Some(self.session_expires_at + grace),
            UploadState::Uploaded => Some(now + VERDICT_OVERDUE),
            UploadState::Ready | UploadState::Orphaned => self.last_look(grace, now),
            // The object goes after the record has said so; whether it went is looked at as well.
            UploadState::Failed => Some((self.url_expires_at + grace).max(now + VERDICT_OVERDUE)),
            // Somebody wants it gone: that look does not wait for the end of the URL.
            UploadState::Deleted => Some(now + VERDICT_OVERDUE),
        }
    }

    /// The look that is left to an upload of which all is known at `now`. A signed URL outlives the
    /// verdict: what it can still write is looked at once more.
    #[must_use]
    pub fn last_look(&self, grace: Duration, now: SystemTime) -> Option<SystemTime> {
        let end = self.url_expires_at + grace;
        (end > now).then_some(end)
    }
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
    use crate::domain::{CleanName, MintSecrets, Secret};

    #[test]
    fn the_machine_has_exactly_these_transitions() {
        use UploadState::{Deleted, Failed, Orphaned, Pending, Ready, Uploaded};
        let legal = [
            (Pending, Uploaded),
            (Pending, Orphaned),
            (Pending, Deleted),
            (Uploaded, Ready),
            (Uploaded, Failed),
            (Uploaded, Orphaned),
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
    fn an_upload_is_looked_at_as_long_as_something_can_happen_to_it() {
        use UploadState::{Deleted, Failed, Orphaned, Pending, Ready, Uploaded};
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let record = record(at(900), at(86_400));
        let grace = Duration::from_secs(100);
        for (state, now, expected) in [
            (Pending, 0, Some(86_500)),
            (Pending, 90_000, Some(86_500)),
            (Uploaded, 10, Some(70)),
            (Uploaded, 90_000, Some(90_060)),
            (Ready, 10, Some(1000)),
            (Ready, 999, Some(1000)),
            (Ready, 1000, None),
            (Failed, 10, Some(1000)),
            (Failed, 990, Some(1050)),
            (Failed, 5000, Some(5060)),
            (Orphaned, 86_500, None),
            (Deleted, 10, Some(70)),
            (Deleted, 1001, Some(1061)),
        ] {
            let next = record.next_look(state, grace, at(now));
            assert_eq!(next, expected.map(at), "{state:?} at {now}");
        }
    }

    fn record(url_expires_at: SystemTime, session_expires_at: SystemTime) -> UploadRecord {
        let (app, now) = (AppName::parse("shop").unwrap(), SystemTime::UNIX_EPOCH);
        let secrets = MintSecrets::new(vec![Secret::new("a secret")]).unwrap();
        UploadRecord {
            key: MintedKey::mint(&secrets, &app, now, [0; 6], &CleanName::image(), "jpg"),
            app,
            owner: OwnerId::parse(b"owner").ok(),
            state: UploadState::Pending,
            reason: None,
            declared: Declared { media_type: MediaType::Jpeg, size: None, sha256: None },
            stored: None,
            multipart: None,
            created_at: now,
            url_expires_at,
            session_expires_at,
            updated_at: now,
            revision: 0,
            look_at: None,
        }
    }

    #[test]
    fn a_verdict_covers_the_version_that_it_was_given_for() {
        let tag = |text: Option<&str>| text.and_then(ETag::parse);
        let version = |text: Option<&str>| text.map(str::to_owned);
        let shown = |size, etag, of| ObjectMeta {
            size,
            etag: tag(etag),
            version: version(of),
            ..ObjectMeta::default()
        };
        let recorded = Stored {
            size: 7,
            content_type: None,
            etag: tag(Some("\"a\"")),
            version: version(Some("1")),
            dimensions: None,
        };
        for (meta, covered) in [
            (shown(7, Some("\"a\""), Some("1")), true),
            (shown(7, Some("\"a\""), None), true),
            (shown(7, Some("\"a\""), Some("2")), false),
            (shown(7, Some("\"b\""), Some("1")), false),
            (shown(8, Some("\"a\""), Some("1")), false),
            (shown(7, None, Some("1")), false),
        ] {
            assert_eq!(recorded.covers(&meta), covered, "{meta:?}");
        }
        let untagged = Stored { etag: None, ..recorded };
        assert!(!untagged.covers(&shown(7, None, Some("1"))), "without a tag nothing is proved");
    }

    #[test]
    fn names_round_trip() {
        for state in UploadState::ALL {
            assert_eq!(UploadState::parse(state.as_str()), Some(state));
        }
        assert_eq!(UploadState::parse("Ready"), None);
    }
}
