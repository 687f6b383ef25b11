//! What the store in memory has beyond a store's duties: it fails when a test wants it to.

use std::sync::atomic::{AtomicUsize, Ordering};

use safelight::domain::StoragePath;
use safelight::storage::{GetOptions, ObjectStore as _, StorageErrorKind as Kind};

use crate::harness::memory_store::{Call, MemoryStore, Moment, Operation};

const JPEG: &str = "image/jpeg";

fn path() -> StoragePath {
    StoragePath::from_listing("images/a.jpg")
}

#[tokio::test]
async fn a_call_that_fails_changes_nothing() {
    let store = MemoryStore::start().await;
    store.place("images/a.jpg", JPEG, "hello");
    let failing = store.clone().with_fault(|call| match call {
        Call { operation: Operation::Delete, moment: Moment::Before, .. } => Err(Kind::Timeout),
        _ => Ok(()),
    });
    assert_eq!(failing.delete(&path(), None).await.unwrap_err().kind, Kind::Timeout);
    assert!(failing.head(&path()).await.is_ok(), "the other calls do as they did");
    store.delete(&path(), None).await.expect("the store without the fault has none");
    assert_eq!(failing.names(), Vec::<String>::new(), "and is the same store");
}

#[tokio::test]
async fn an_answer_that_is_lost_comes_after_the_deed() {
    let store = MemoryStore::start().await;
    store.place("images/a.jpg", JPEG, "hello");
    let lossy = store.clone().with_fault(|call| match call.moment {
        Moment::Before => Ok(()),
        Moment::After => Err(Kind::Unavailable),
    });
    assert_eq!(lossy.delete(&path(), None).await.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(store.head(&path()).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn an_object_can_change_between_two_calls() {
    let store = MemoryStore::start().await;
    let first = store.place("images/a.jpg", JPEG, "hello");
    let (other, heads) = (store.clone(), AtomicUsize::new(0));
    let store = store.with_fault(move |call| {
        let Call { operation, moment, path } = call;
        if (operation, moment) == (Operation::Head, Moment::After)
            && heads.fetch_add(1, Ordering::Relaxed) == 0
        {
            other.place(path, JPEG, "other");
        }
        Ok(())
    });
    assert_eq!(store.head(&path()).await.unwrap(), first);
    let options = GetOptions { if_match: first.etag.clone(), ..GetOptions::default() };
    let read = store.get(&path(), &options).await;
    assert_eq!(read.err().map(|error| error.kind), Some(Kind::PreconditionFailed));
    let refused = store.delete(&path(), Some(&first)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::PreconditionFailed);
}
