//! What a look leads to, case by case.

use super::*;
use crate::domain::{
    AppName, CleanName, Declared, MediaType, MintSecrets, MintedKey, OwnerId, Secret,
};

const GRACE: Duration = Duration::from_secs(100);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An upload whose URL ends at 900 and its session at 10,000.
fn record(state: UploadState) -> UploadRecord {
    let (app, now) = (AppName::parse("shop").unwrap(), at(0));
    let secrets = MintSecrets::new(vec![Secret::new("a secret")]).unwrap();
    UploadRecord {
        key: MintedKey::mint(&secrets, &app, now, [0; 6], &CleanName::image(), "jpg"),
        app,
        owner: OwnerId::parse(b"owner").ok(),
        state,
        reason: None,
        declared: Declared { media_type: MediaType::Jpeg, size: None, sha256: None },
        stored: None,
        multipart: None,
        created_at: now,
        url_expires_at: at(900),
        session_expires_at: at(10_000),
        updated_at: now,
        revision: 0,
        look_at: None,
    }
}

#[test]
fn every_state_and_sight_leads_somewhere() {
    use Plan::{Orphan, Remove, Rest, Verify};
    use Sight::{Missing, Other, Same};
    use UploadState::{Deleted, Failed, Orphaned, Pending, Ready, Uploaded};
    for (state, sight, now, expected) in [
        (Pending, Missing, 10_099, Rest(Some(at(10_100)))),
        (Pending, Missing, 10_100, Orphan),
        (Pending, Other, 10_100, Verify),
        (Pending, Other, 0, Verify),
        (Uploaded, Missing, 60, Orphan),
        (Uploaded, Same, 60, Verify),
        (Uploaded, Other, 60, Verify),
        (Orphaned, Missing, 999, Rest(Some(at(1000)))),
        (Orphaned, Missing, 20_000, Rest(None)),
        (Orphaned, Other, 20_000, Verify),
        (Ready, Same, 999, Rest(Some(at(1000)))),
        (Ready, Same, 1000, Rest(None)),
        (Ready, Other, 1000, Verify),
        (Ready, Missing, 1000, Rest(None)),
        (Failed, Missing, 60, Rest(Some(at(1000)))),
        (Failed, Missing, 1000, Rest(None)),
        (Failed, Same, 60, Remove),
        (Failed, Same, 1000, Remove),
        (Failed, Other, 1000, Verify),
        (Deleted, Missing, 60, Rest(Some(at(1000)))),
        (Deleted, Missing, 1000, Rest(None)),
        (Deleted, Same, 1000, Remove),
        (Deleted, Other, 1000, Remove),
    ] {
        let planned = plan(&record(state), sight, GRACE, at(now));
        assert_eq!(planned, expected, "{state:?}, {sight:?} at {now}");
    }
}

/// Nothing that is, or may become, somebody's photo is ever planned to be removed.
#[test]
fn only_what_was_refused_or_deleted_is_removed() {
    for state in UploadState::ALL {
        for sight in [Sight::Missing, Sight::Same, Sight::Other] {
            for now in [0, 1000, 1_000_000] {
                if plan(&record(state), sight, GRACE, at(now)) == Plan::Remove {
                    let refused = state == UploadState::Failed && sight == Sight::Same;
                    assert!(refused || state == UploadState::Deleted, "{state:?}, {sight:?}");
                }
            }
        }
    }
}

#[test]
fn each_pause_is_about_twice_the_one_before() {
    let shortest = Duration::from_secs(300);
    for (state, updated, now, pause) in [
        (UploadState::Pending, 0, 10_100, 300),
        (UploadState::Pending, 0, 10_400, 300),
        (UploadState::Pending, 0, 10_700, 600),
        (UploadState::Pending, 0, 11_300, 1200),
        (UploadState::Pending, 0, 1_000_000, 21_600),
        (UploadState::Ready, 0, 1000, 300),
        (UploadState::Ready, 0, 2000, 1000),
        // What was refused long after its URL had ended is overdue since then, not since the end.
        (UploadState::Failed, 50_000, 50_060, 300),
        (UploadState::Uploaded, 400, 460, 300),
        // Looked at early: a clock that was set back.
        (UploadState::Deleted, 0, 10, 300),
    ] {
        let record = UploadRecord { updated_at: at(updated), ..record(state) };
        let next = retry_at(&record, GRACE, shortest, at(now));
        assert_eq!(next, at(now + pause), "{state:?} at {now}");
    }
}
