//! Deletions that meet others: the same deletion, a finalize, and writers of the same key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use futures_util::future::{join, join_all};
use http::Method;
use safelight::actions::delete::delete;
use safelight::domain::{Caller, Error, MintedKey, ObjectKey, OwnerId, UploadRecord, UploadState};
use safelight::records::Records as _;

use super::{Scene, assert_deleted};
use crate::harness::callers::ANN;
use crate::harness::gateway::mint_key;
use crate::harness::in_memory::shop;
use crate::harness::memory_records::{MemoryRecords, pending};
use crate::harness::memory_store::{MemoryStore, Moment, Operation};
use crate::harness::photos::JPEG;

#[tokio::test]
async fn many_deletions_at_once_are_one() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    for answer in join_all((0..12).map(|_| scene.delete(ANN, grant.key()))).await {
        assert_deleted(&answer, &grant);
    }
    scene.assert_gone(&grant).await;
    assert_eq!(scene.place.head(grant.key()).await, None);
    let deleted = "safelight_uploads_total{app=\"shop\",state=\"deleted\"}";
    assert_eq!(scene.metric(deleted).await, 1.0);
}

#[tokio::test]
async fn a_finalize_at_the_same_time_keeps_nothing() {
    let scene = Scene::new().await;
    let mut grants = Vec::new();
    for _ in 0..16 {
        grants.push(scene.gateway.uploaded("shop", JPEG.file, JPEG.bytes).await);
    }
    let both = |grant| {
        let finalize = scene.gateway.request(Method::POST, grant_url(grant));
        join(scene.delete(ANN, grant_key(grant)), finalize.send())
    };
    for (grant, (deleted, finalized)) in grants.iter().zip(join_all(grants.iter().map(both)).await)
    {
        assert_deleted(&deleted, grant);
        assert!(matches!(finalized.status.as_u16(), 200 | 409 | 410), "{}", finalized.text());
        assert_eq!(scene.state(grant).await, "deleted");
        assert_eq!(scene.place.head(grant.key()).await, None);
        scene.assert_gone(grant).await;
    }
}

fn grant_url(grant: &crate::harness::gateway::Grant) -> &str {
    grant.text("finalizeURL")
}

fn grant_key(grant: &crate::harness::gateway::Grant) -> &str {
    grant.key()
}

/// Somebody writes the object again while it goes: a few times that is dealt with at once, and for
/// ever it is the sweeper's.
#[tokio::test]
async fn an_object_that_comes_back_while_it_goes() {
    for (writes, expected) in [(0, Ok(())), (1, Ok(())), (5, Ok(())), (1000, Err(Error::Conflict))]
    {
        let store = MemoryStore::start().await;
        let (other, left) = (store.clone(), Arc::new(AtomicUsize::new(writes)));
        let faulty = store.clone().with_fault(move |call| {
            // Between the look and the deletion.
            let is_before = (call.operation, call.moment) == (Operation::Delete, Moment::Before);
            let take = |left: usize| left.checked_sub(1);
            if is_before && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                other.place(call.path, JPEG.content_type, JPEG.bytes);
            }
            Ok(())
        });
        let records = Arc::new(MemoryRecords::default());
        let (app, services) = shop(faulty, &records).await;
        let record = ready(&app.name);
        let (key, id) = (ObjectKey::Minted(record.key.clone()), record.key.id());
        let path = app.key_prefix.path_of(&key);
        records.insert(record, None).await.unwrap();
        store.place(path.as_str(), JPEG.content_type, JPEG.bytes);
        let ann = Caller::owner(OwnerId::parse(b"ann").unwrap());
        let deleted = delete(&app, &services, &key, &ann, SystemTime::now()).await;
        assert_eq!(deleted, expected, "{writes} writes");
        assert_eq!(store.names().is_empty(), expected.is_ok(), "{writes} writes");
        assert_eq!(records.now(id).state, UploadState::Deleted);
        assert!(records.now(id).look_at.is_some());
    }
}

fn ready(app: &safelight::domain::AppName) -> UploadRecord {
    let now = SystemTime::now();
    let key = MintedKey::from_record(&mint_key(app.as_str(), now, JPEG.file)).unwrap();
    UploadRecord { state: UploadState::Ready, revision: 2, look_at: None, ..pending(app, key, now) }
}
