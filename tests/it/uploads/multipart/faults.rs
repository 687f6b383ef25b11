//! Storage that fails in the middle of a call, and requests that meet each other there. Storage and
//! records are in memory; the store wants the checksums of parts, and tells them, as Amazon's does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use safelight::actions::Services;
use safelight::actions::abandon::abandon;
use safelight::actions::multipart::{BeginRequest, Begun, begin, complete, uploaded_parts};
use safelight::actions::upload::Right;
use safelight::apps::App;
use safelight::domain::{Error, OwnerId, UploadId, UploadState};
use safelight::records::{Records as _, Transition};
use safelight::storage::{ObjectStore as _, StorageErrorKind as Kind};
use sha2::{Digest as _, Sha256};

use crate::harness::in_memory::shop;
use crate::harness::memory_records::MemoryRecords;
use crate::harness::memory_store::{Call, MemoryStore, Moment, Operation};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::Plain;

/// An app on a store in memory, and one upload of it, whose only part has arrived.
struct Sent {
    app: App,
    services: Services,
    records: Arc<MemoryRecords>,
    store: MemoryStore,
    id: UploadId,
    right: Right,
}

/// A call that a fault is for.
type Strike = (Operation, Moment);

impl Sent {
    /// With checksums or without.
    async fn new(checksums: bool) -> Self {
        let (store, records) = (MemoryStore::start().await, Arc::new(MemoryRecords::default()));
        let (app, services) = shop(store.clone(), &records).await;
        let digest: String =
            Sha256::digest(JPEG.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let request = BeginRequest {
            owner: OwnerId::parse(b"ann").unwrap(),
            file: JPEG.file.into(),
            content_type: None,
            size: Some(JPEG.bytes.len() as u64),
            sha256: None,
            part_size: None,
            checksums: checksums.then(|| BTreeMap::from([("1".to_owned(), digest)])),
            idempotency_key: None,
        };
        let begun = begin(&app, &services, request, SystemTime::now()).await.unwrap();
        let Begun { key, granted, token, .. } = begun;
        let url = &granted.unwrap().urls.urls[0].request;
        Plain::put(url, Bytes::from_static(JPEG.bytes)).send().await.assert_success();
        Self { app, services, records, store, id: key.id(), right: Right::of_token(token.0) }
    }

    /// Lets storage do something once, at this moment of the next such call.
    fn once(
        &mut self,
        at: Strike,
        act: impl Fn() -> Result<(), Kind> + Send + Sync + 'static,
    ) -> &mut Self {
        let done = AtomicBool::new(false);
        let fault = move |call: Call<'_>| match (call.operation, call.moment) == at {
            true if !done.swap(true, Ordering::Relaxed) => act(),
            _ => Ok(()),
        };
        self.app.store = Arc::new(self.store.clone().with_fault(fault));
        self
    }

    async fn complete(&self) -> Result<UploadState, Error> {
        let now = SystemTime::now();
        let done = complete(&self.app, &self.services, self.id, &self.right, None, now).await;
        done.map(|record| record.state)
    }

    async fn abandon(&self) -> Result<UploadState, Error> {
        let now = SystemTime::now();
        let done = abandon(&self.app, &self.services, self.id, &self.right, now).await;
        done.map(|record| record.state)
    }

    /// Whether storage still has its session.
    async fn has_session(&self) -> bool {
        let record = self.records.now(self.id);
        let path = self.app.key_prefix.path_of_minted(&record.key);
        let session = &record.multipart.unwrap().id;
        self.store.list_parts(&path, session).await.is_ok()
    }
}

#[tokio::test]
async fn checksums_go_from_storage_to_the_completion() {
    for checksums in [true, false] {
        let sent = Sent::new(checksums).await;
        assert_eq!(sent.complete().await, Ok(UploadState::Ready), "{checksums}");
    }
}

#[tokio::test]
async fn whatever_fails_it_can_be_asked_for_again() {
    use Moment::{After, Before};
    use Operation::{CompleteMultipart, Get, Head, ListParts};
    for at in [
        (ListParts, Before),
        (CompleteMultipart, Before),
        // Assembled, but nobody heard of it.
        (CompleteMultipart, After),
        (Head, Before),
        (Get, Before),
    ] {
        for (kind, told) in
            [(Kind::Timeout, Error::StorageTimeout), (Kind::Unavailable, Error::StorageFailed)]
        {
            let mut sent = Sent::new(true).await;
            sent.once(at, move || Err(kind));
            assert_eq!(sent.complete().await, Err(told), "{at:?}");
            assert_eq!(sent.records.now(sent.id).state, UploadState::Pending, "{at:?}");
            assert_eq!(sent.complete().await, Ok(UploadState::Ready), "{at:?}");
        }
    }
}

#[tokio::test]
async fn parts_that_changed_after_they_were_listed_are_told() {
    let mut sent = Sent::new(false).await;
    sent.once((Operation::CompleteMultipart, Moment::Before), || Err(Kind::WrongParts));
    assert!(matches!(sent.complete().await, Err(Error::WrongParts(_))));
    assert_eq!(sent.complete().await, Ok(UploadState::Ready));
}

/// Another completion has made the object, and storage is taking the parts away.
#[tokio::test]
async fn parts_that_became_the_object_meanwhile_are_not_wrong() {
    let mut sent = Sent::new(false).await;
    sent.once((Operation::CompleteMultipart, Moment::After), || Err(Kind::WrongParts));
    assert_eq!(sent.complete().await, Ok(UploadState::Ready));
}

/// Somebody gives the upload up while storage assembles it: the object goes, whoever comes last.
#[tokio::test]
async fn an_upload_that_is_given_up_meanwhile_leaves_no_object() {
    for moment in [Moment::Before, Moment::After] {
        let mut sent = Sent::new(false).await;
        let (records, id) = (Arc::clone(&sent.records), sent.id);
        sent.once((Operation::CompleteMultipart, moment), move || {
            let record = records.now(id);
            let deletion = Transition {
                app: record.app,
                id,
                revision: record.revision,
                from: UploadState::Pending,
                to: UploadState::Deleted,
                reason: None,
                stored: None,
                look_at: None,
                at: SystemTime::now(),
            };
            // It only gives way to others, of whom there are none.
            let mut deleting = records.transition(deletion);
            while (&mut deleting).now_or_never().is_none() {}
            Ok(())
        });
        assert_eq!(sent.complete().await, Err(Error::UploadExpired), "{moment:?}");
        assert_eq!(sent.records.now(id).state, UploadState::Deleted);
        assert_eq!(sent.store.names(), Vec::<String>::new(), "{moment:?}");
        assert!(!sent.has_session().await);
    }
}

#[tokio::test]
async fn an_upload_is_given_up_also_where_storage_fails_and_cleared_the_next_time() {
    let mut sent = Sent::new(false).await;
    sent.once((Operation::AbortMultipart, Moment::Before), || Err(Kind::Unavailable));
    assert_eq!(sent.abandon().await, Ok(UploadState::Deleted));
    assert!(sent.has_session().await, "nothing could be done about it");
    assert_eq!(sent.abandon().await, Ok(UploadState::Deleted));
    assert!(!sent.has_session().await);
    assert_eq!(sent.records.changes().len(), 1);
}

#[tokio::test]
async fn after_the_session_whatever_was_assembled_counts_and_nothing_else() {
    let sent = Sent::new(false).await;
    let begun = sent.records.now(sent.id);
    let session = begun.session_expires_at.duration_since(begun.created_at).unwrap();
    let at = |after| begun.created_at + session + after;
    let ask = async |now| {
        let parts = uploaded_parts(&sent.app, &sent.services, sent.id, &sent.right, now).await;
        parts.map(|parts| parts.len())
    };
    let complete = async |now| {
        complete(&sent.app, &sent.services, sent.id, &sent.right, None, now).await.map(|r| r.state)
    };
    let second = Duration::from_secs(1);
    assert_eq!(ask(at(Duration::ZERO) - second).await, Ok(1));
    assert_eq!(ask(at(Duration::ZERO)).await, Err(Error::UploadExpired));
    // Whoever began to send in time may have finished later.
    let grace = sent.services.grace;
    assert_eq!(complete(at(grace)).await, Err(Error::UploadExpired));
    assert_eq!(sent.records.now(sent.id).state, UploadState::Pending);
    assert_eq!(complete(at(grace) - second).await, Ok(UploadState::Ready));
    assert_eq!(complete(at(grace)).await, Ok(UploadState::Ready));
}
