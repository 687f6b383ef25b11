//! What is known of the records: the changes of this process, and those of others.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::actions::Services;
use crate::actions::verify::change_state;
use crate::apps::{LoadContext, Workshop, read_app};
use crate::domain::{
    AppName, CleanName, Declared, ETag, Grants, IdempotencyClaim, MINT_ENTROPY_BYTES, MediaType,
    MintSecrets, OwnerId, Secret, Stored, UploadRecord, UploadState,
};
use crate::identity::{ReadSignatures, UploadTokens};
use crate::records::{Claimed, Due, Look, Renewal, SqliteRecords, Transition};
use crate::upstream::{AddressPolicy, Client};

/// A record store whose answers to reads can be held back, counted, and refused.
pub(super) struct Gated {
    inner: SqliteRecords,
    _folder: tempfile::TempDir,
    /// How many reads of a record there were.
    pub(super) gets: AtomicUsize,
    /// A read has looked, and waits here before it answers.
    pub(super) gate: Semaphore,
    pub(super) broken: AtomicBool,
    /// Told in place of the deletions that are recorded, if there are any.
    deletions: Vec<(UploadId, SystemTime)>,
}

impl Gated {
    pub(super) fn new(deletions: Vec<(UploadId, SystemTime)>) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        Arc::new(Self {
            inner: SqliteRecords::open(&folder.path().join("records.db")).unwrap(),
            _folder: folder,
            gets: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            broken: AtomicBool::new(false),
            deletions,
        })
    }

    /// Holds back every answer from now on.
    pub(super) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Until so many reads have begun.
    pub(super) async fn until_asked(&self, times: usize) {
        while self.gets.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    }

    fn check(&self) -> Result<(), RecordsError> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(RecordsError::Unavailable("broken by a test".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Records for Gated {
    async fn insert(
        &self,
        record: UploadRecord,
        claim: Option<IdempotencyClaim>,
    ) -> Result<(), RecordsError> {
        self.inner.insert(record, claim).await
    }

    async fn claimed(
        &self,
        scope: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<Claimed>, RecordsError> {
        self.inner.claimed(scope, now).await
    }

    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError> {
        self.check()?;
        let record = self.inner.get(app, id).await;
        self.gets.fetch_add(1, Ordering::SeqCst);
        let _through = self.gate.acquire().await.unwrap();
        record
    }

    async fn transition(&self, change: Transition) -> Result<(), RecordsError> {
        self.inner.transition(change).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<(), RecordsError> {
        self.inner.renew(renewal).await
    }

    async fn look_again(&self, look: Look) -> Result<(), RecordsError> {
        self.check()?;
        self.inner.look_again(look).await
    }

    async fn due(
        &self,
        now: SystemTime,
        limit: usize,
    ) -> Result<HashMap<AppName, Due>, RecordsError> {
        self.inner.due(now, limit).await
    }

    async fn still_due(
        &self,
        app: &AppName,
        uploads: &[UploadId],
        now: SystemTime,
    ) -> Result<Vec<UploadRecord>, RecordsError> {
        self.inner.still_due(app, uploads, now).await
    }

    async fn deleted_since(
        &self,
        since: SystemTime,
        limit: u32,
    ) -> Result<Vec<(UploadId, SystemTime)>, RecordsError> {
        self.check()?;
        if self.deletions.is_empty() {
            return self.inner.deleted_since(since, limit).await;
        }
        let later = self.deletions.iter().filter(|(_, at)| *at >= since);
        Ok(later.take(limit as usize).copied().collect())
    }

    async fn forget_claims(&self, now: SystemTime, limit: u32) -> Result<u32, RecordsError> {
        self.inner.forget_claims(now, limit).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

pub(super) fn shop() -> AppName {
    AppName::parse("shop").unwrap()
}

fn minted(number: u32) -> MintedKey {
    let secrets = MintSecrets::new(vec![Secret::new("a secret")]).unwrap();
    let mut entropy = [0; MINT_ENTROPY_BYTES];
    entropy[2..].copy_from_slice(&number.to_be_bytes());
    MintedKey::mint(&secrets, &shop(), at(0), entropy, &CleanName::image(), "jpg")
}

pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A pending upload on record.
pub(super) async fn pending(records: &dyn Records, number: u32) -> UploadRecord {
    let record = UploadRecord {
        app: shop(),
        owner: OwnerId::parse(b"owner").ok(),
        key: minted(number),
        state: UploadState::Pending,
        reason: None,
        declared: Declared { media_type: MediaType::Jpeg, size: None, sha256: None },
        stored: None,
        multipart: None,
        created_at: at(0),
        url_expires_at: at(900),
        session_expires_at: at(86_400),
        updated_at: at(0),
        revision: 0,
        look_at: None,
    };
    records.insert(record.clone(), None).await.unwrap();
    record
}

/// The next step of an upload's life; each shows another object.
pub(super) fn step(record: &UploadRecord, to: UploadState) -> Transition {
    let etag = ETag::parse(&format!("\"{}\"", record.revision));
    let stored = Stored { size: 7, content_type: None, etag, version: None, dimensions: None };
    Transition {
        app: record.app.clone(),
        id: record.key.id(),
        revision: record.revision,
        from: record.state,
        to,
        reason: None,
        stored: Some(stored),
        look_at: None,
        at: SystemTime::now(),
    }
}

struct Scene {
    app: App,
    services: Services,
    records: Arc<Gated>,
}

impl Scene {
    async fn new(deletions: Vec<(UploadId, SystemTime)>) -> Self {
        let (records, metrics) = (Gated::new(deletions), Metrics::new());
        let shared: Arc<dyn Records> = records.clone();
        let known = Known::load(Arc::clone(&shared), Arc::clone(&metrics)).await.unwrap();
        let secrets = || vec![Secret::new("a secret of the tests, which is long enough")];
        let services = Services {
            records: shared,
            known: Arc::new(known),
            memory: None,
            mint_secrets: MintSecrets::new(secrets()).unwrap(),
            tokens: UploadTokens::new(secrets()).unwrap(),
            read_signatures: ReadSignatures::new(secrets()).unwrap(),
            grace: Duration::from_secs(3600),
        };
        Self { app: app(&metrics), services, records }
    }

    async fn go(&self, record: &mut UploadRecord, to: UploadState) {
        let change = step(record, to);
        change_state(&self.app, &self.services, record, change).await.unwrap();
    }

    async fn verdict(&self, record: &UploadRecord) -> Result<Verdict, NoAnswer> {
        self.services.known.verdict(&self.app, &record.key).await
    }
}

/// An app whose storage nobody asks.
fn app(metrics: &Arc<Metrics>) -> App {
    let context = LoadContext {
        address_policy: &AddressPolicy::default(),
        max_url_expiry: Duration::from_secs(900),
        secrets_dir: Path::new("/nowhere"),
        env: &|_| None,
        grants: &Grants::default(),
        trusted_proxies: None,
    };
    let file = "[Storage]\nBucket = 'media'\nAccessKeyID = 'a'\nSecretAccessKey = 's'";
    let config = read_app(&shop(), "shop.toml", file, &[], &context).unwrap();
    let workshop = Workshop {
        client: &Client::new(AddressPolicy::default()).unwrap(),
        metrics,
        public_base_url: &"https://media.test".parse().unwrap(),
        loop_token: &http::HeaderValue::from_static("loop"),
        embedded: None,
        process: None,
        google: None,
        apps: 1,
    };
    App::build(config, &workshop).unwrap()
}

#[tokio::test]
async fn a_change_by_this_process_shows_at_once() {
    let scene = Scene::new(Vec::new()).await;
    let mut record = pending(&*scene.records, 1).await;
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::NotReady)));
    scene.go(&mut record, UploadState::Uploaded).await;
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::NotReady)));
    scene.go(&mut record, UploadState::Ready).await;
    let Ok(Verdict::Ready(ready)) = scene.verdict(&record).await else { panic!("it is ready") };
    assert_eq!((ready.revision, &ready.stored), (2, record.stored.as_ref().unwrap()));

    assert!(!scene.services.known.may_be_deleted(&record.key));
    scene.go(&mut record, UploadState::Deleted).await;
    assert!(scene.services.known.may_be_deleted(&record.key));
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::Deleted)));
    let text = scene.services.known.metrics.to_text().unwrap();
    assert!(
        text.contains("safelight_record_lookups_total{app=\"shop\",outcome=\"miss\"} 4"),
        "{text}"
    );
}

#[tokio::test]
async fn a_change_that_was_lost_to_another_is_forgotten_too() {
    let scene = Scene::new(Vec::new()).await;
    let mut record = pending(&*scene.records, 1).await;
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::NotReady)));
    // Another node brings it to `ready`, and this one comes late.
    let mut elsewhere = record.clone();
    for to in [UploadState::Uploaded, UploadState::Ready] {
        scene.records.transition(step(&elsewhere, to)).await.unwrap();
        (elsewhere.state, elsewhere.revision) = (to, elsewhere.revision + 1);
    }
    let late = step(&record, UploadState::Uploaded);
    change_state(&scene.app, &scene.services, &mut record, late).await.unwrap_err();
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::Ready(_))));
}

#[tokio::test]
async fn deletions_of_others_are_followed() {
    let scene = Scene::new(Vec::new()).await;
    let known = &scene.services.known;
    let mut record = pending(&*scene.records, 1).await;
    for to in [UploadState::Uploaded, UploadState::Ready] {
        scene.go(&mut record, to).await;
    }
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::Ready(_))));

    // A deletion that began a minute ago on a node whose clock is late.
    let change = Transition {
        at: SystemTime::now() - Duration::from_secs(60),
        ..step(&record, UploadState::Deleted)
    };
    scene.records.transition(change).await.unwrap();
    assert!(matches!(scene.verdict(&record).await, Ok(Verdict::Ready(_))), "nobody told it");
    let following = async {
        while !known.may_be_deleted(&record.key) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = known.follow() => unreachable!("it follows for ever"),
        () = following => {}
    }
    assert!(
        matches!(scene.verdict(&record).await, Ok(Verdict::Deleted)),
        "the verdict is forgotten"
    );
}

#[tokio::test]
async fn more_deletions_than_a_page_at_one_time() {
    let mut deletions: Vec<_> = (0..45_000).map(|number| (minted(number).id(), at(1))).collect();
    deletions.extend((45_000..50_000).map(|number| (minted(number).id(), at(number.into()))));
    let scene = Scene::new(deletions.clone()).await;
    for (id, _) in &deletions {
        assert!(scene.services.known.deleted.contains(*id));
    }
    assert_eq!(scene.services.known.metrics.deleted_keys.get(), 50_000);
    assert!(!scene.services.known.may_be_deleted(&minted(50_000)));
}

#[tokio::test]
async fn without_the_deleted_keys_nothing_starts() {
    let records = Gated::new(Vec::new());
    records.broken.store(true, Ordering::SeqCst);
    assert!(Known::load(records, Metrics::new()).await.is_err());
}
