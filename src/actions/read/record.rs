//! What a read makes of the record: whether it needs it at all, and what its answer means.

use std::sync::Arc;

use crate::actions::known::{Known, NoAnswer, Ready, Verdict};
use crate::apps::App;
use crate::domain::{ObjectKey, OwnerId};

use super::ReadRequest;
use super::plan::RecordSeen;

/// Whether the record has to be asked before anybody else: where only what is ready is served, and
/// where the key was probably deleted.
pub(super) fn is_needed(app: &App, known: &Known, key: &ObjectKey) -> bool {
    app.serves_only_ready() || key.minted().is_some_and(|key| known.may_be_deleted(key))
}

/// Asks the record. What is not the reader's own is to the reader as if it were not there.
pub(super) async fn ask(
    app: &App,
    known: &Known,
    request: &ReadRequest,
) -> (RecordSeen, Option<Arc<Ready>>) {
    // There is no record of what others named.
    let Some(minted) = request.key.minted() else { return (RecordSeen::NotReady, None) };
    let verdict = known.verdict(app, minted).await;
    let judged = judge(app.serves_only_ready(), known.may_be_deleted(minted), verdict);
    match &judged.1 {
        Some(ready) if !is_for(request.owned_by.as_ref(), ready) => (RecordSeen::NotReady, None),
        _ => judged,
    }
}

/// Whether an image is one that is asked for, where only one owner's are.
fn is_for(owner: Option<&OwnerId>, ready: &Ready) -> bool {
    owner.is_none_or(|owner| ready.owner.as_ref() == Some(owner))
}

/// Asks the record again, after storage had another object than the revision that is doubted says.
pub(super) async fn ask_anew(
    app: &App,
    known: &Known,
    key: &ObjectKey,
    doubted: Option<u32>,
) -> (RecordSeen, Option<Arc<Ready>>) {
    let (Some(minted), Some(revision)) = (key.minted(), doubted) else {
        return (RecordSeen::NotReady, None);
    };
    match known.doubted(app, minted, revision).await {
        Ok(Verdict::Ready(ready)) if ready.revision != revision => {
            (RecordSeen::ReadyAnew, Some(ready))
        }
        Ok(_) => (RecordSeen::NotReady, None),
        Err(NoAnswer) => (RecordSeen::NoAnswer, None),
    }
}

/// What an answer means for an app: a pure function.
fn judge(
    only_ready: bool,
    may_be_deleted: bool,
    verdict: Result<Verdict, NoAnswer>,
) -> (RecordSeen, Option<Arc<Ready>>) {
    match verdict {
        Ok(Verdict::Deleted) => (RecordSeen::NotReady, None),
        Ok(Verdict::Ready(ready)) if only_ready => (RecordSeen::Ready, Some(ready)),
        Ok(Verdict::NotReady) if only_ready => (RecordSeen::NotReady, None),
        // It only looked like a deleted key, and the app serves whatever storage has.
        Ok(Verdict::Ready(_) | Verdict::NotReady) => (RecordSeen::Unneeded, None),
        // The record would only have confirmed it.
        Err(NoAnswer) if may_be_deleted => (RecordSeen::NotReady, None),
        Err(NoAnswer) => (RecordSeen::NoAnswer, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Stored;

    #[test]
    fn an_owner_sees_only_what_is_its_own() {
        let [ann, bob] = ["ann", "bob"].map(|id| OwnerId::parse(id.as_bytes()).unwrap());
        let of = |owner: Option<&OwnerId>| {
            let stored =
                Stored { size: 1, content_type: None, etag: None, version: None, dimensions: None };
            Ready { stored, revision: 1, owner: owner.cloned() }
        };
        for (asked, owner, expected) in [
            (None, Some(&ann), true),
            (None, None, true),
            (Some(&ann), Some(&ann), true),
            (Some(&bob), Some(&ann), false),
            (Some(&ann), None, false),
        ] {
            assert_eq!(is_for(asked, &of(owner)), expected, "{asked:?} {owner:?}");
        }
    }

    #[test]
    fn what_an_answer_means() {
        let ready = || {
            let stored =
                Stored { size: 1, content_type: None, etag: None, version: None, dimensions: None };
            Ok(Verdict::Ready(Arc::new(Ready { stored, revision: 3, owner: None })))
        };
        let (pending, deleted) = (|| Ok(Verdict::NotReady), || Ok(Verdict::Deleted));
        for (only_ready, may_be_deleted, verdict, seen) in [
            (true, false, ready(), RecordSeen::Ready),
            (true, false, pending(), RecordSeen::NotReady),
            (true, false, deleted(), RecordSeen::NotReady),
            (true, false, Err(NoAnswer), RecordSeen::NoAnswer),
            (true, true, ready(), RecordSeen::Ready),
            (true, true, Err(NoAnswer), RecordSeen::NotReady),
            (false, true, deleted(), RecordSeen::NotReady),
            (false, true, ready(), RecordSeen::Unneeded),
            (false, true, pending(), RecordSeen::Unneeded),
            (false, true, Err(NoAnswer), RecordSeen::NotReady),
        ] {
            let name = format!("{only_ready} {may_be_deleted} {verdict:?}");
            let (found, object) = judge(only_ready, may_be_deleted, verdict);
            assert_eq!(found, seen, "{name}");
            assert_eq!(object.is_some(), seen == RecordSeen::Ready, "{name}");
        }
    }
}
