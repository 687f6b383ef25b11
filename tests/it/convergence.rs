//! Whatever happens to an upload, in whatever order, the record comes to say what storage has.
//!
//! Clients, events and sweepers are futures that give way at every call of storage and records. A
//! random history decides who takes the next step, what is written to the bucket meanwhile, and when
//! the process ends in the middle of it all. Then everything comes to rest, and the record is
//! compared with the bucket.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use safelight::actions::Services;
use safelight::actions::delete::delete;
use safelight::actions::sweep::look;
use safelight::actions::verify::{Occasion, verify};
use safelight::apps::App;
use safelight::domain::{
    Caller, Error, MediaType, MintedKey, ObjectKey, OwnerId, Source, StoragePath, UploadId,
    UploadState,
};
use safelight::records::{Records as _, Renewal};
use safelight::storage::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    SignedRequest, StorageError, UploadedPart,
};
use tokio::task::yield_now;

use crate::harness::gateway::mint_key;
use crate::harness::in_memory::shop;
use crate::harness::memory_records::{MemoryRecords, pending};
use crate::harness::memory_store::MemoryStore;
use crate::harness::photos::JPEG;

/// Later than the end of every URL and session, with the grace.
const LONG_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// A verdict, the deletion that follows it, and the look that finds it done.
const MOST_LAST_LOOKS: usize = 3;

/// What a client may write to the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A photograph; another number is another one.
    Photo(u8),
    /// What is none.
    Junk(u8),
}

/// Who may act on an upload.
#[derive(Debug, Clone, Copy)]
enum Trigger {
    /// A client finalizes.
    Finalize,
    /// An event tells of an object.
    Look,
    /// The sweeper looks, while the upload may still come.
    Sweep,
    /// The sweeper looks after everything has ended.
    SweepLate,
    /// The owner deletes the image.
    Delete,
}

/// One step of a random history.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody uses the signed URL.
    Put(Content),
    /// Somebody begins to act.
    Begin(Trigger),
    /// One of those who act goes on to its next call.
    GoOn(prop::sample::Index),
    /// The client asks for another URL.
    Renew,
    /// The process ends in the middle of everything.
    Crash,
}

/// Any history in which nobody deletes anything.
fn any_step() -> impl Strategy<Value = Step> {
    let content = prop_oneof![(0u8..3).prop_map(Content::Photo), (0u8..2).prop_map(Content::Junk),];
    let triggers = [Trigger::Finalize, Trigger::Look, Trigger::Sweep, Trigger::SweepLate];
    let trigger = prop::sample::select(triggers.to_vec());
    prop_oneof![
        3 => content.prop_map(Step::Put),
        4 => trigger.prop_map(Step::Begin),
        40 => any::<prop::sample::Index>().prop_map(Step::GoOn),
        1 => Just(Step::Renew),
        1 => Just(Step::Crash),
    ]
}

/// Any history.
fn any_step_or_deletion() -> impl Strategy<Value = Step> {
    prop_oneof![30 => any_step(), 1 => Just(Step::Begin(Trigger::Delete))]
}

/// A store whose calls give way before and after, and which remembers what it was made to delete.
struct Watched {
    store: MemoryStore,
    deleted: Arc<Mutex<Vec<ObjectMeta>>>,
}

#[async_trait]
impl ObjectStore for Watched {
    fn source(&self) -> Source {
        self.store.source()
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        yield_now().await;
        let answer = self.store.head(path).await;
        yield_now().await;
        answer
    }

    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        yield_now().await;
        let answer = self.store.get(path, options).await;
        yield_now().await;
        answer
    }

    async fn delete(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        yield_now().await;
        let before = self.store.head(path).await.ok();
        let answer = self.store.delete(path, only).await;
        if self.store.head(path).await.is_err() {
            self.deleted.lock().unwrap().extend(before);
        }
        yield_now().await;
        answer
    }

    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.store.sign_put(grant, now).await
    }

    async fn sign_get(
        &self,
        path: &StoragePath,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.store.sign_get(path, expires_in, now).await
    }

    async fn put(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        self.store.put(path, content_type, body).await
    }

    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        self.store.list(prefix, from, limit).await
    }

    async fn create_multipart(
        &self,
        path: &StoragePath,
        media_type: MediaType,
        checksums: bool,
    ) -> Result<MultipartId, StorageError> {
        self.store.create_multipart(path, media_type, checksums).await
    }

    async fn sign_part(
        &self,
        grant: &PartGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.store.sign_part(grant, now).await
    }

    async fn list_parts(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        self.store.list_parts(path, upload).await
    }

    async fn complete_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
        parts: &[UploadedPart],
    ) -> Result<(), StorageError> {
        self.store.complete_multipart(path, upload, parts).await
    }

    async fn abort_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<(), StorageError> {
        self.store.abort_multipart(path, upload).await
    }
}

type Actor = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// One upload, and everything that acts on it.
struct World {
    app: Arc<App>,
    services: Services,
    records: Arc<MemoryRecords>,
    store: MemoryStore,
    deleted: Arc<Mutex<Vec<ObjectMeta>>>,
    path: StoragePath,
    id: UploadId,
    /// What each tag that was ever in the bucket stands for.
    written: HashMap<String, Content>,
    actors: Vec<Actor>,
}

impl World {
    async fn new() -> Self {
        let (store, deleted) = (MemoryStore::start().await, Arc::default());
        let watched = Watched { store: store.clone(), deleted: Arc::clone(&deleted) };
        let records = Arc::new(MemoryRecords::default());
        let (app, services) = shop(watched, &records).await;

        let now = SystemTime::now();
        let key = MintedKey::from_record(&mint_key("shop", now, JPEG.file)).unwrap();
        let (path, id) = (app.key_prefix.path_of_minted(&key), key.id());
        records.insert(pending(&app.name, key, now), None).await.unwrap();
        let (written, actors) = (HashMap::new(), Vec::new());
        let app = Arc::new(app);
        Self { app, services, records, store, deleted, path, id, written, actors }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Put(content) => {
                let body = match content {
                    Content::Photo(number) => [JPEG.bytes, &[number]].concat(),
                    Content::Junk(number) => format!("no photograph: {number}").into_bytes(),
                };
                let meta = self.store.place(self.path.as_str(), JPEG.content_type, body);
                self.written.insert(tag(&meta), content);
            }
            Step::Begin(Trigger::Finalize) => self.begin(Occasion::Asked),
            Step::Begin(Trigger::Look) => self.begin(Occasion::MayHaveChanged),
            Step::Begin(Trigger::Sweep) => self.sweep(Duration::ZERO),
            Step::Begin(Trigger::SweepLate) => self.sweep(LONG_AFTER),
            Step::Begin(Trigger::Delete) => self.delete(),
            Step::GoOn(_) if self.actors.is_empty() => {}
            Step::GoOn(who) => {
                let who = who.index(self.actors.len());
                self.go_on(who);
            }
            Step::Renew => {
                let (app, id, at) = (self.app.name.clone(), self.id, SystemTime::now());
                let renewal = Renewal { app, id, url_expires_at: at, at };
                let records = Arc::clone(&self.records);
                // At once: how it fares against others, its revision decides.
                let mut renewed = Box::pin(async move { records.renew(renewal).await });
                while poll(renewed.as_mut()).is_pending() {}
            }
            Step::Crash => self.actors.clear(),
        }
    }

    fn begin(&mut self, occasion: Occasion) {
        let (app, services, id) = (Arc::clone(&self.app), self.services.clone(), self.id);
        let now = SystemTime::now();
        self.actors.push(Box::pin(async move {
            verify(&app, &services, id, occasion, now).await.map(drop)
        }));
    }

    fn delete(&mut self) {
        let (app, services, now) =
            (Arc::clone(&self.app), self.services.clone(), SystemTime::now());
        let key = ObjectKey::Minted(self.records.now(self.id).key);
        let ann = Caller::owner(OwnerId::parse(b"ann").unwrap());
        self.actors.push(Box::pin(async move { delete(&app, &services, &key, &ann, now).await }));
    }

    fn sweep(&mut self, after: Duration) {
        let (app, services, id) = (Arc::clone(&self.app), self.services.clone(), self.id);
        let (now, retry) = (SystemTime::now() + after, Duration::from_secs(60));
        self.actors.push(Box::pin(async move {
            let record = services.records.get(&app.name, id).await.unwrap().unwrap();
            let outcome = look(&app, &services, record, retry, now).await;
            assert!(!outcome.is_failure(), "{outcome:?}");
            Ok(())
        }));
    }

    /// Lets one actor take its next step. Whoever ends may have lost to others, and nothing else.
    fn go_on(&mut self, who: usize) {
        if let Poll::Ready(ended) = poll(self.actors[who].as_mut()) {
            drop(self.actors.swap_remove(who));
            assert!(matches!(ended, Ok(_) | Err(Error::Conflict)), "{ended:?}");
        }
    }

    /// Everything that was begun ends, and the sweeper looks until it says that nothing is left.
    fn come_to_rest(&mut self) {
        self.end_all();
        for _ in 0..MOST_LAST_LOOKS {
            self.sweep(LONG_AFTER);
            self.end_all();
            if self.records.now(self.id).look_at.is_none() {
                return;
            }
        }
        panic!("the sweeper never comes to an end: {:?}", self.records.now(self.id));
    }

    fn end_all(&mut self) {
        while !self.actors.is_empty() {
            self.go_on(0);
        }
    }

    async fn check(&self) {
        let record = self.records.now(self.id);
        let state = record.state;
        match self.store.head(&self.path).await {
            Ok(meta) => {
                let content = self.written[&tag(&meta)];
                assert!(matches!(content, Content::Photo(_)), "{content:?} is left, {state:?}");
                assert_eq!(state, UploadState::Ready);
                assert_eq!(record.stored.unwrap().etag, meta.etag, "the verdict is another's");
            }
            Err(_) => assert!(
                matches!(state, UploadState::Orphaned | UploadState::Failed | UploadState::Deleted),
                "{state:?}, and nothing is there"
            ),
        }
        let was_deleted = state == UploadState::Deleted;
        for deleted in self.deleted.lock().unwrap().iter() {
            let content = self.written[&tag(deleted)];
            assert!(was_deleted || matches!(content, Content::Junk(_)), "{content:?} was deleted");
        }
        let mut before = UploadState::Pending;
        let mut revision = 0;
        for change in self.records.changes() {
            assert_eq!(change.from, before);
            assert!(change.from.may_become(change.to) && change.revision >= revision);
            (before, revision) = (change.to, change.revision + 1);
            if matches!(change.to, UploadState::Orphaned | UploadState::Deleted) {
                assert_eq!(change.stored, None);
                continue;
            }
            let etag = change.stored.unwrap().etag.unwrap();
            let judged = self.written[etag.as_str()];
            match change.to {
                UploadState::Ready => assert!(matches!(judged, Content::Photo(_)), "{judged:?}"),
                UploadState::Failed => assert!(matches!(judged, Content::Junk(_)), "{judged:?}"),
                other => assert_eq!(other, UploadState::Uploaded),
            }
        }
    }
}

fn tag(meta: &ObjectMeta) -> String {
    meta.etag.as_ref().expect("the store has tags").as_str().to_owned()
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn replay(steps: Vec<Step>) {
    let mut world = World::new().await;
    for step in steps {
        world.play(step);
    }
    world.come_to_rest();
    world.check().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_the_record_comes_to_say_what_storage_has(
        steps in proptest::collection::vec(any_step(), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(replay(steps));
    }

    #[test]
    fn a_deletion_is_the_end_of_every_history(
        steps in proptest::collection::vec(any_step_or_deletion(), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(replay(steps));
    }
}
