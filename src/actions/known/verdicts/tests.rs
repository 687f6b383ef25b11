//! One question for many, and nothing remembered that was true only before a change.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::super::tests::{Gated, pending, shop, step};
use super::*;

struct Scene {
    records: Arc<Gated>,
    verdicts: Arc<Verdicts>,
    record: UploadRecord,
}

impl Scene {
    /// A pending upload.
    async fn new() -> Self {
        let records = Gated::new(Vec::new());
        let record = pending(&*records, 1).await;
        let verdicts = Arc::new(Verdicts::new(records.clone()));
        Self { records, verdicts, record }
    }

    /// An upload that is ready.
    async fn ready() -> Self {
        let mut scene = Self::new().await;
        scene.go(UploadState::Uploaded).await;
        scene.go(UploadState::Ready).await;
        scene
    }

    /// A change that nobody here is told of.
    async fn go(&mut self, to: UploadState) {
        self.records.transition(step(&self.record, to)).await.unwrap();
        self.record.state = to;
        self.record.revision += 1;
    }

    fn id(&self) -> UploadId {
        self.record.key.id()
    }

    fn ask(&self) -> Question {
        self.verdicts.ask(&shop(), self.id())
    }

    fn doubt(&self, revision: u32) -> Question {
        self.verdicts.doubt(&shop(), self.id(), revision)
    }

    fn asked(&self) -> usize {
        self.records.gets.load(Ordering::SeqCst)
    }

    /// Whether there is a look at the object to come.
    async fn is_due(&self) -> bool {
        let due = self.records.due(SystemTime::now(), 10).await.unwrap();
        due.get(&shop()).is_some_and(|due| due.uploads.contains(&self.record.key.id()))
    }
}

#[track_caller]
fn revision_of(answer: Answer) -> u32 {
    match answer {
        Ok(Verdict::Ready(ready)) => ready.revision,
        other => panic!("it is ready, not {other:?}"),
    }
}

#[tokio::test]
async fn many_readers_are_one_question() {
    let scene = Scene::ready().await;
    scene.records.close_gate();
    let asking: Vec<_> = (0..50).map(|_| scene.ask()).collect();
    scene.records.until_asked(1).await;
    scene.records.gate.add_permits(1);
    for answer in join_all(asking).await {
        assert_eq!(revision_of(answer), 2);
    }
    assert_eq!(revision_of(scene.ask().await), 2);
    assert_eq!(scene.asked(), 1, "and it is remembered");
}

#[tokio::test]
async fn whoever_asked_first_may_leave() {
    let scene = Scene::ready().await;
    scene.records.close_gate();
    let (first, second) = (tokio::spawn(scene.ask()), scene.ask());
    scene.records.until_asked(1).await;
    first.abort();
    assert!(first.await.is_err());
    scene.records.gate.add_permits(1);
    assert_eq!(revision_of(second.await), 2);
}

#[tokio::test]
async fn what_was_on_its_way_during_a_change_is_not_remembered() {
    let mut scene = Scene::new().await;
    scene.records.close_gate();
    let before = scene.ask();
    scene.records.until_asked(1).await;
    scene.go(UploadState::Uploaded).await;
    scene.go(UploadState::Ready).await;
    scene.verdicts.forget(scene.id());
    // The first has looked and not answered: whoever comes now does not wait for it.
    let after = scene.ask();
    scene.records.until_asked(2).await;
    scene.records.gate.add_permits(2);
    assert!(matches!(before.await, Ok(Verdict::NotReady)));
    assert_eq!(revision_of(after.await), 2);
    assert!(matches!(scene.verdicts.recall(scene.id()), Some(Verdict::Ready(_))));
}

#[tokio::test]
async fn that_it_is_not_ready_is_remembered_until_it_changes() {
    let mut scene = Scene::new().await;
    assert!(matches!(scene.ask().await, Ok(Verdict::NotReady)));
    assert!(matches!(scene.verdicts.recall(scene.id()), Some(Verdict::NotReady)));
    scene.go(UploadState::Uploaded).await;
    scene.go(UploadState::Ready).await;
    scene.verdicts.forget(scene.id());
    assert!(scene.verdicts.recall(scene.id()).is_none());
    assert_eq!(revision_of(scene.ask().await), 2);
    scene.go(UploadState::Deleted).await;
    scene.verdicts.forget(scene.id());
    assert!(matches!(scene.ask().await, Ok(Verdict::Deleted)));
}

#[tokio::test]
async fn a_store_that_is_gone_takes_only_what_is_not_remembered() {
    let scene = Scene::ready().await;
    scene.ask().await.unwrap();
    scene.records.broken.store(true, Ordering::SeqCst);
    assert_eq!(revision_of(scene.ask().await), 2);
    scene.verdicts.forget(scene.id());
    assert_eq!(scene.ask().await.unwrap_err(), NoAnswer);
    scene.records.broken.store(false, Ordering::SeqCst);
    assert_eq!(revision_of(scene.ask().await), 2, "a failure is not remembered");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_as_good_as_gone() {
    let scene = Scene::ready().await;
    scene.records.close_gate();
    assert_eq!(scene.ask().await.unwrap_err(), NoAnswer);
    assert!(scene.verdicts.recall(scene.id()).is_none());
    scene.records.gate.add_permits(1);
    assert_eq!(revision_of(scene.ask().await), 2, "the next question is another one");
}

#[tokio::test]
async fn an_upload_of_another_app_is_none() {
    let scene = Scene::ready().await;
    let other = AppName::parse("other").unwrap();
    let answer = scene.verdicts.ask(&other, scene.id()).await;
    assert!(matches!(answer, Ok(Verdict::NotReady)));
}

#[tokio::test]
async fn a_verdict_that_storage_contradicts_is_not_given_again() {
    let scene = Scene::ready().await;
    let revision = revision_of(scene.ask().await);
    assert!(!scene.is_due().await);
    let doubts: Vec<_> = (0..5).map(|_| scene.doubt(revision)).collect();
    for answer in join_all(doubts).await {
        assert!(matches!(answer, Ok(Verdict::NotReady)));
    }
    assert_eq!(scene.asked(), 2, "five doubts are one question");
    assert!(scene.is_due().await, "somebody is to look at the object");
    assert!(matches!(scene.ask().await, Ok(Verdict::NotReady)), "nor to anybody else");
}

#[tokio::test]
async fn a_verdict_that_is_out_of_date_is_replaced() {
    let mut scene = Scene::ready().await;
    let revision = revision_of(scene.ask().await);
    // Another node has verified other bytes.
    scene.go(UploadState::Uploaded).await;
    scene.go(UploadState::Ready).await;
    assert_eq!(revision_of(scene.ask().await), revision, "nobody told it");
    assert_eq!(revision_of(scene.doubt(revision).await), revision + 2);
    assert_eq!(revision_of(scene.ask().await), revision + 2);
    assert!(!scene.is_due().await);
    // Whoever doubts later what is known to be old is told the newer one, without a question.
    let asked = scene.asked();
    assert_eq!(revision_of(scene.doubt(revision).await), revision + 2);
    assert_eq!(scene.asked(), asked);
}

#[tokio::test]
async fn a_doubt_does_not_wait_for_a_question_without_one() {
    let scene = Scene::ready().await;
    scene.records.close_gate();
    let plain = scene.ask();
    scene.records.until_asked(1).await;
    let doubt = scene.doubt(2);
    scene.records.until_asked(2).await;
    scene.records.gate.add_permits(2);
    assert_eq!(revision_of(plain.await), 2);
    assert!(matches!(doubt.await, Ok(Verdict::NotReady)));
    assert!(matches!(scene.verdicts.recall(scene.id()), Some(Verdict::NotReady)));
}

#[test]
fn a_verdict_without_a_tag_proves_nothing() {
    let stored =
        |etag| Stored { size: 1, content_type: None, etag, version: None, dimensions: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut record = runtime.block_on(async { pending(&*Gated::new(Vec::new()), 1).await });
    for state in UploadState::ALL {
        for etag in [None, crate::domain::ETag::parse("\"a\"")] {
            let is_good = state == UploadState::Ready && etag.is_some();
            record.state = state;
            record.stored = Some(stored(etag));
            let verdict = Verdict::of(Some(record.clone()));
            assert_eq!(matches!(verdict, Verdict::Ready(_)), is_good, "{state:?}");
            let is_deleted = state == UploadState::Deleted;
            assert_eq!(matches!(verdict, Verdict::Deleted), is_deleted, "{state:?}");
        }
    }
    assert!(matches!(Verdict::of(None), Verdict::NotReady));
}
