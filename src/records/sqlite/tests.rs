//! What the store promises, on real files.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rusqlite::Connection;

use super::writer::{MAX_GROUP, MAX_WAITING};
use super::*;
use crate::domain::{
    CleanName, Declared, ETag, MediaType, MintSecrets, MintedKey, OwnerId, Secret, Stored,
    UploadState, VerificationFailure,
};

/// A directory with a database in it.
struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.db");
        Self { _directory: directory, path }
    }

    fn open(&self) -> SqliteRecords {
        SqliteRecords::open(&self.path).unwrap()
    }

    /// A connection such as an operator's shell has.
    fn shell(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    fn check_integrity(&self) {
        let verdict: String =
            self.shell().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}

/// Holds the writer between two groups: its observer reports each group and waits for a word.
struct Held {
    committed: mpsc::Receiver<usize>,
    go_on: mpsc::Sender<()>,
}

fn open_held(place: &Place) -> (SqliteRecords, Held) {
    let (report, committed) = mpsc::channel();
    let (go_on, word) = mpsc::channel();
    let on_commit = move |size, _| {
        // Both ends are gone when the test is over.
        let _ = report.send(size);
        let _ = word.recv();
    };
    (SqliteRecords::open_observed(&place.path, on_commit).unwrap(), Held { committed, go_on })
}

fn app(name: &str) -> AppName {
    AppName::parse(name).unwrap()
}

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

fn key(number: u64) -> MintedKey {
    let secrets = MintSecrets::new(vec![Secret::new("test")]).unwrap();
    let entropy = number.to_be_bytes()[2..].try_into().unwrap();
    MintedKey::mint(
        &secrets,
        &app("shop"),
        at(1_800_000_000_000),
        entropy,
        &CleanName::image(),
        "png",
    )
}

/// A pending upload; another number is another upload.
fn pending(number: u64) -> UploadRecord {
    UploadRecord {
        app: app("shop"),
        owner: OwnerId::parse(b"ann").unwrap(),
        key: key(number),
        state: UploadState::Pending,
        reason: None,
        declared: Declared { media_type: MediaType::Png, size: None, sha256: None },
        stored: None,
        created_at: at(1_800_000_000_000),
        url_expires_at: at(1_800_000_900_000),
        session_expires_at: at(1_800_086_400_000),
        updated_at: at(1_800_000_000_000),
    }
}

fn change(record: &UploadRecord, from: UploadState, to: UploadState) -> Transition {
    Transition {
        app: record.app.clone(),
        id: record.key.id(),
        from,
        to,
        reason: None,
        stored: None,
        at: at(1_800_000_001_000),
    }
}

async fn get(records: &SqliteRecords, record: &UploadRecord) -> Option<UploadRecord> {
    records.get(&record.app, record.key.id()).await.unwrap()
}

type Call<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Polls a call once, so that it is queued, and expects no answer yet.
fn begin<'a, T>(mut call: Call<'a, T>) -> Call<'a, T> {
    let poll = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending(), "answered before the writer had a chance");
    call
}

fn is_unavailable<T>(answer: Result<T, RecordsError>) -> bool {
    matches!(answer, Err(RecordsError::Unavailable(_)))
}

// What is stored.

#[tokio::test]
async fn a_record_is_of_one_app_and_inserted_once() {
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    assert_eq!(get(&records, &record).await, None);
    records.insert(record.clone()).await.unwrap();
    assert_eq!(get(&records, &record).await, Some(record.clone()));
    assert_eq!(records.get(&app("blog"), record.key.id()).await.unwrap(), None);

    let mut other = record.clone();
    other.owner = OwnerId::parse(b"bob").unwrap();
    assert!(matches!(records.insert(other).await, Err(RecordsError::Duplicate)));
    assert_eq!(get(&records, &record).await, Some(record), "the first stays as it was");
}

#[tokio::test]
async fn a_transition_needs_its_state_its_app_and_the_machine() {
    use UploadState::{Deleted, Pending, Ready, Uploaded};
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    let conflict = |answer| matches!(answer, Err(RecordsError::Conflict));
    assert!(conflict(records.transition(change(&record, Pending, Uploaded)).await), "no record");
    records.insert(record.clone()).await.unwrap();

    assert!(conflict(records.transition(change(&record, Uploaded, Ready)).await));
    let mut foreign = change(&record, Pending, Deleted);
    foreign.app = app("blog");
    assert!(conflict(records.transition(foreign).await));
    let illegal = records.transition(change(&record, Pending, Ready)).await;
    assert!(matches!(illegal, Err(RecordsError::InvalidTransition(_))));
    assert_eq!(get(&records, &record).await, Some(record.clone()), "none of these did anything");

    records.transition(change(&record, Pending, Uploaded)).await.unwrap();
    let mut expected = record;
    expected.state = Uploaded;
    expected.updated_at = at(1_800_000_001_000);
    assert_eq!(get(&records, &expected).await, Some(expected));
}

#[tokio::test]
async fn a_transition_keeps_or_replaces_what_storage_said() {
    use UploadState::{Deleted, Failed, Pending, Uploaded};
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    records.insert(record.clone()).await.unwrap();

    let mut first = change(&record, Pending, Uploaded);
    let stored = Stored {
        size: 7,
        content_type: Some("image/png".into()),
        etag: ETag::parse("\"a\""),
        version: Some("v1".into()),
        dimensions: Some((3, 4)),
    };
    first.stored = Some(stored.clone());
    records.transition(first).await.unwrap();
    assert_eq!(get(&records, &record).await.unwrap().stored, Some(stored.clone()));

    let mut second = change(&record, Uploaded, Failed);
    second.reason = Some(VerificationFailure::Dimensions);
    records.transition(second).await.unwrap();
    let read = get(&records, &record).await.unwrap();
    assert_eq!((read.stored, read.reason), (Some(stored), Some(VerificationFailure::Dimensions)));

    let mut third = change(&record, Failed, Deleted);
    let bare = Stored { size: 0, content_type: None, etag: None, version: None, dimensions: None };
    third.stored = Some(bare.clone());
    records.transition(third).await.unwrap();
    let read = get(&records, &record).await.unwrap();
    assert_eq!((read.stored, read.reason), (Some(bare), None));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_else() {
    let place = Place::new();
    let records = place.open();
    let mut large = pending(1);
    large.declared.size = Some(u64::MAX);
    assert!(is_unavailable(records.insert(large).await));
    let mut old = pending(2);
    old.created_at = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert!(is_unavailable(records.insert(old).await));
    let mut largest = pending(3);
    largest.declared.size = Some(i64::MAX as u64);
    records.insert(largest.clone()).await.unwrap();
    assert_eq!(get(&records, &largest).await, Some(largest));
}

#[tokio::test]
async fn an_unreadable_row_is_named_but_not_shown() {
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    records.insert(record.clone()).await.unwrap();
    place.shell().execute("UPDATE uploads SET state = 'secret state'", []).unwrap();
    let error = records.get(&record.app, record.key.id()).await.unwrap_err().to_string();
    assert!(error.contains(record.key.id().as_str()) && error.contains("state"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

// Races and groups.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_concurrent_transitions_one_wins() {
    use UploadState::{Orphaned, Pending, Uploaded};
    let place = Place::new();
    let records = Arc::new(place.open());
    for number in 0..20 {
        let record = pending(number);
        records.insert(record.clone()).await.unwrap();
        let race = [Uploaded, Orphaned].map(|to| {
            let (records, change) = (records.clone(), change(&record, Pending, to));
            tokio::spawn(async move { records.transition(change).await.map(|()| to) })
        });
        let [first, second] = race;
        let (winner, loser) = match (first.await.unwrap(), second.await.unwrap()) {
            (Ok(winner), Err(loser)) | (Err(loser), Ok(winner)) => (winner, loser),
            other => panic!("not exactly one: {other:?}"),
        };
        assert!(matches!(loser, RecordsError::Conflict), "{loser}");
        assert_eq!(get(&records, &record).await.unwrap().state, winner);
    }
}

#[tokio::test]
async fn what_waits_is_committed_as_one_group() {
    const WAITING: usize = 2000;
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0)).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1), "and now it is held");

    let calls: Vec<_> = (1..=WAITING as u64).map(|n| begin(records.insert(pending(n)))).collect();
    drop(held.go_on);
    for call in calls {
        call.await.unwrap();
    }
    for number in 0..=WAITING as u64 {
        assert!(get(&records, &pending(number)).await.is_some(), "{number}");
    }
    records.close().await;
    let groups: Vec<_> = held.committed.iter().collect();
    assert_eq!(groups, [MAX_GROUP, MAX_GROUP, MAX_GROUP, WAITING % MAX_GROUP]);
    place.check_integrity();
}

#[tokio::test]
async fn duplicates_and_conflicts_in_a_group_are_their_own() {
    use UploadState::{Pending, Ready, Uploaded};
    let place = Place::new();
    let (records, held) = open_held(&place);
    let known = pending(0);
    records.insert(known.clone()).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));

    let calls = [
        begin(records.insert(pending(1))),
        begin(records.insert(pending(0))),
        begin(records.insert(pending(1))),
        begin(records.transition(change(&known, Uploaded, Ready))),
        begin(records.transition(change(&known, Pending, Uploaded))),
        begin(records.transition(change(&known, Pending, Uploaded))),
        begin(records.transition(change(&known, Uploaded, Ready))),
        begin(records.insert(pending(2))),
    ];
    drop(held.go_on);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(match call.await {
            Ok(()) => "ok",
            Err(RecordsError::Duplicate) => "duplicate",
            Err(RecordsError::Conflict) => "conflict",
            Err(other) => panic!("{other}"),
        });
    }
    let expected = ["ok", "duplicate", "duplicate", "conflict", "ok", "conflict", "ok", "ok"];
    assert_eq!(answers, expected, "in the order in which they were queued");
    assert_eq!(held.committed.recv(), Ok(8), "all in one group");
    assert_eq!(get(&records, &known).await.unwrap().state, Ready);
    assert!(get(&records, &pending(2)).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_of_many_concurrent_inserts_is_answered_and_there() {
    let place = Place::new();
    let groups = Arc::new(Mutex::new(Vec::new()));
    let seen = groups.clone();
    let on_commit = move |size, _| seen.lock().unwrap().push(size);
    let records = Arc::new(SqliteRecords::open_observed(&place.path, on_commit).unwrap());
    let tasks: Vec<_> = (0..2000)
        .map(|number| {
            let records = records.clone();
            tokio::spawn(async move {
                records.insert(pending(number)).await.unwrap();
                // What was answered is there for every later read.
                assert!(get(&records, &pending(number)).await.is_some());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    records.close().await;
    assert_eq!(groups.lock().unwrap().iter().sum::<usize>(), 2000);
    let rows: u32 =
        place.shell().query_row("SELECT count(*) FROM uploads", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2000);
    place.check_integrity();
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0)).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    // The same few records again and again: the queue does not know what it holds.
    let few: Vec<_> = (0..16).map(pending).collect();
    let calls: Vec<_> =
        (0..MAX_WAITING).map(|n| begin(records.insert(few[n % 16].clone()))).collect();
    assert!(is_unavailable(records.insert(pending(16)).await), "without waiting for the writer");
    drop(held.go_on);
    for call in calls {
        assert!(matches!(call.await, Ok(()) | Err(RecordsError::Duplicate)));
    }
    records.insert(pending(16)).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_breaks_nothing() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0)).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    let stays = begin(records.insert(pending(1)));
    drop(begin(records.insert(pending(2))));
    let stays_too = begin(records.insert(pending(3)));
    drop(held.go_on);
    stays.await.unwrap();
    stays_too.await.unwrap();
    assert_eq!(get(&records, &pending(2)).await, Some(pending(2)), "queued is carried out");
}

#[tokio::test]
async fn reads_do_not_wait_for_a_busy_writer() {
    let place = Place::new();
    let records = place.open();
    records.insert(pending(0)).await.unwrap();
    let shell = place.shell();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = begin(records.insert(pending(1)));
    for _ in 0..50 {
        assert_eq!(get(&records, &pending(0)).await, Some(pending(0)));
        assert_eq!(get(&records, &pending(1)).await, None);
    }
    shell.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap();
    assert_eq!(get(&records, &pending(1)).await, Some(pending(1)));
}

// Failures.

#[tokio::test]
async fn a_full_disk_is_unavailable_and_nothing_is_lost() {
    let place = Place::new();
    let database = open::database(&place.path).unwrap();
    // A limit of the one connection that writes, below what 10,000 records need.
    database.connection.pragma_update(None, "max_page_count", 12).unwrap();
    let readers = Readers::open(&place.path).unwrap();
    let writer = Writer::start(database, Box::new(|_, _| {})).unwrap();
    let records = SqliteRecords { writer, readers };
    let mut answered = 0;
    let error = loop {
        match records.insert(pending(answered)).await {
            Ok(()) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 10_000, "the limit has no effect");
    };
    assert!(matches!(&error, RecordsError::Unavailable(text) if text.contains("full")), "{error}");
    assert!(answered > 0);
    // What needs no more room still works.
    let first = change(&pending(0), UploadState::Pending, UploadState::Deleted);
    records.transition(first).await.unwrap();
    records.close().await;

    let reopened = place.open();
    for number in 1..answered {
        assert_eq!(get(&reopened, &pending(number)).await, Some(pending(number)));
    }
    assert_eq!(get(&reopened, &pending(answered)).await, None);
    reopened.insert(pending(answered)).await.unwrap();
    place.check_integrity();
}

#[tokio::test]
async fn a_failed_commit_answers_the_whole_group_and_keeps_nothing_of_it() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0)).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    // A deferred constraint: each statement succeeds, and COMMIT itself fails.
    let shell = place.shell();
    shell
        .execute_batch(
            "CREATE TABLE broken (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TRIGGER break AFTER INSERT ON uploads BEGIN INSERT INTO broken VALUES (1); END;",
        )
        .unwrap();
    let deletion = change(&pending(0), UploadState::Pending, UploadState::Deleted);
    let calls = [
        begin(records.insert(pending(1))),
        begin(records.transition(deletion)),
        begin(records.insert(pending(2))),
    ];
    drop(held.go_on);
    for call in calls {
        assert!(is_unavailable(call.await));
    }
    assert_eq!(get(&records, &pending(0)).await, Some(pending(0)));
    assert_eq!(get(&records, &pending(1)).await, None);

    shell.execute_batch("DROP TRIGGER break").unwrap();
    records.insert(pending(1)).await.unwrap();
    assert_eq!(held.committed.iter().next(), Some(1), "the failed group was not reported");
}

#[tokio::test]
async fn a_writer_that_panics_is_unavailable_and_reads_go_on() {
    let place = Place::new();
    let on_commit = |_, _| panic!("the observer of a test");
    let records = SqliteRecords::open_observed(&place.path, on_commit).unwrap();
    records.insert(pending(0)).await.unwrap();
    assert!(is_unavailable(records.insert(pending(1)).await));
    assert!(is_unavailable(records.insert(pending(2)).await));
    assert_eq!(get(&records, &pending(0)).await, Some(pending(0)));
    records.close().await;
}

// Opening and closing.

#[tokio::test]
async fn closing_commits_what_is_queued_and_ends_the_store() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0)).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    let queued: Vec<_> = (1..10).map(|n| begin(records.insert(pending(n)))).collect();
    let first = begin(records.close());
    assert!(is_unavailable(records.insert(pending(10)).await), "closing already");
    drop(held.go_on);
    first.await;
    for call in queued {
        call.await.unwrap();
    }
    records.close().await;
    assert!(is_unavailable(records.get(&app("shop"), key(0).id()).await));
    let deletion = change(&pending(0), UploadState::Pending, UploadState::Deleted);
    assert!(is_unavailable(records.transition(deletion).await));

    let reopened = place.open();
    for number in 0..10 {
        assert_eq!(get(&reopened, &pending(number)).await, Some(pending(number)));
    }
    assert_eq!(get(&reopened, &pending(10)).await, None);
}

#[tokio::test]
async fn a_database_has_one_gateway_at_a_time() {
    let place = Place::new();
    let records = place.open();
    let by_another_name = place.path.parent().unwrap().join("alias.db");
    std::os::unix::fs::symlink(&place.path, &by_another_name).unwrap();
    for path in [&place.path, &by_another_name] {
        let refused = SqliteRecords::open(path).err().unwrap().to_string();
        assert!(refused.contains("records.db.lock"), "{refused}");
        assert!(refused.contains("another process"), "{refused}");
    }
    records.close().await;
    place.open();
}

#[test]
fn what_cannot_be_opened_is_named() {
    let place = Place::new();
    let missing = place.path.parent().unwrap().join("missing").join("records.db");
    let refused = SqliteRecords::open(&missing).err().unwrap().to_string();
    assert!(refused.contains("missing"), "{refused}");

    std::fs::write(&place.path, "this is no database, but it is long enough to look like one")
        .unwrap();
    let refused = SqliteRecords::open(&place.path).err().unwrap().to_string();
    assert!(refused.contains("records.db"), "{refused}");
    assert!(SqliteRecords::open(std::path::Path::new("/")).is_err());
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let place = Place::new();
    place.open().close().await;
    let future = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        VALUES (9999, 'future', '2040-01-01T00:00:00Z', '1')";
    place.shell().execute(future, []).unwrap();
    let refused = SqliteRecords::open(&place.path).err().unwrap().to_string();
    assert!(refused.contains("migrate") && refused.contains("future"), "{refused}");
}

#[tokio::test]
async fn every_commit_waits_for_the_disk() {
    let place = Place::new();
    let database = open::database(&place.path).unwrap();
    let connection = &database.connection;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |r| r.get(0)).unwrap();
    let level: u8 = connection.pragma_query_value(None, "synchronous", |r| r.get(0)).unwrap();
    assert_eq!((mode.as_str(), level), ("wal", 2), "2 is FULL");
}

// Against a model.

fn any_time() -> impl Strategy<Value = SystemTime> {
    (0u64..1 << 47).prop_map(at)
}

fn any_stored() -> impl Strategy<Value = Stored> {
    let text = proptest::option::of("\\PC{0,20}");
    let etag = proptest::option::of("(W/)?\"[!#-~]{0,40}\"");
    let dimensions = proptest::option::of(any::<(u32, u32)>());
    (0..=i64::MAX as u64, text.clone(), etag, text, dimensions).prop_map(
        |(size, content_type, etag, version, dimensions)| Stored {
            size,
            content_type,
            etag: etag.map(|text| ETag::parse(&text).unwrap()),
            version,
            dimensions,
        },
    )
}

prop_compose! {
    fn any_record()(
        number in 0u64..12,
        app_name in "[a-z0-9]{1,63}",
        owner in "[!-~]{1,128}",
        state in proptest::sample::select(&UploadState::ALL[..]),
        reason in proptest::option::of(proptest::sample::select(&VerificationFailure::ALL[..])),
        media_type in proptest::sample::select(&MediaType::ALL[..]),
        size in proptest::option::of(0..=i64::MAX as u64),
        sha256: Option<[u8; 32]>,
        stored in proptest::option::of(any_stored()),
        times in [any_time(), any_time(), any_time(), any_time()],
    ) -> UploadRecord {
        let [created_at, url_expires_at, session_expires_at, updated_at] = times;
        UploadRecord {
            app: app(&app_name),
            owner: OwnerId::parse(owner.as_bytes()).unwrap(),
            key: key(number),
            state,
            reason,
            declared: Declared { media_type, size, sha256 },
            stored,
            created_at,
            url_expires_at,
            session_expires_at,
            updated_at,
        }
    }
}

/// One step of a random history. Transitions pick their record by number and may be wrong in every
/// way.
#[derive(Debug, Clone)]
enum Step {
    Insert(Box<UploadRecord>),
    Transition {
        number: u64,
        wrong_app: bool,
        from: Option<UploadState>,
        to: UploadState,
        reason: Option<VerificationFailure>,
        stored: Option<Stored>,
        at: SystemTime,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let state = proptest::sample::select(&UploadState::ALL[..]);
    let reason = proptest::option::of(proptest::sample::select(&VerificationFailure::ALL[..]));
    let transition = (
        0u64..12,
        proptest::bool::weighted(0.1),
        // `None`: the state that it is in.
        proptest::option::weighted(0.3, state.clone()),
        state,
        reason,
        proptest::option::of(any_stored()),
        any_time(),
    );
    prop_oneof![
        1 => any_record().prop_map(|record| Step::Insert(Box::new(record))),
        2 => transition.prop_map(|(number, wrong_app, from, to, reason, stored, at)| {
            Step::Transition { number, wrong_app, from, to, reason, stored, at }
        }),
    ]
}

/// The reference: what the trait's documentation says, in a map.
#[derive(Default)]
struct Model(HashMap<UploadId, UploadRecord>);

impl Model {
    fn insert(&mut self, record: &UploadRecord) -> &'static str {
        match self.0.entry(record.key.id()) {
            std::collections::hash_map::Entry::Occupied(_) => "duplicate",
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(record.clone());
                "ok"
            }
        }
    }

    fn transition(&mut self, change: &Transition) -> &'static str {
        if !change.from.may_become(change.to) {
            return "invalid";
        }
        let found = self.0.get_mut(&change.id);
        let Some(record) = found.filter(|r| r.app == change.app && r.state == change.from) else {
            return "conflict";
        };
        record.state = change.to;
        record.reason = change.reason;
        record.updated_at = change.at;
        if change.stored.is_some() {
            record.stored.clone_from(&change.stored);
        }
        "ok"
    }
}

fn outcome(answer: Result<(), RecordsError>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(RecordsError::Duplicate) => "duplicate",
        Err(RecordsError::Conflict) => "conflict",
        Err(RecordsError::InvalidTransition(_)) => "invalid",
        Err(RecordsError::Unavailable(_)) => "unavailable",
    }
}

async fn replay(steps: Vec<Step>) {
    let place = Place::new();
    let (mut records, mut model) = (place.open(), Model::default());
    let half = steps.len() / 2;
    for (number, step) in steps.into_iter().enumerate() {
        if number == half {
            records.close().await;
            records = place.open();
        }
        match step {
            Step::Insert(record) => {
                let expected = model.insert(&record);
                assert_eq!(outcome(records.insert(*record).await), expected);
            }
            Step::Transition { number, wrong_app, from, to, reason, stored, at } => {
                let id = key(number).id();
                let known = model.0.get(&id);
                let owning = known.filter(|_| !wrong_app).map(|record| record.app.clone());
                let change = Transition {
                    app: owning.unwrap_or_else(|| app("another-app")),
                    id,
                    from: from.or(known.map(|r| r.state)).unwrap_or(UploadState::Pending),
                    to,
                    reason,
                    stored,
                    at,
                };
                let expected = model.transition(&change);
                assert_eq!(outcome(records.transition(change).await), expected);
            }
        }
    }
    for number in 0..12 {
        let id = key(number).id();
        let expected = model.0.get(&id);
        let owning = expected.map_or_else(|| app("another-app"), |record| record.app.clone());
        assert_eq!(records.get(&owning, id).await.unwrap().as_ref(), expected);
    }
    records.close().await;
    place.check_integrity();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_histories_agree_with_the_model(steps in proptest::collection::vec(any_step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(replay(steps));
    }
}

#[tokio::test]
async fn a_renewal_moves_the_end_of_a_pending_uploads_urls_and_never_back() {
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    records.insert(record.clone()).await.unwrap();
    let renewal = |end| Renewal {
        app: record.app.clone(),
        id: record.key.id(),
        url_expires_at: at(end),
        at: at(1_800_000_002_000),
    };
    records.renew(renewal(1_800_001_000_000)).await.unwrap();
    records.renew(renewal(1_800_000_950_000)).await.unwrap();
    let renewed = get(&records, &record).await.unwrap();
    assert_eq!(renewed.url_expires_at, at(1_800_001_000_000));
    assert_eq!(renewed.updated_at, at(1_800_000_002_000));

    let other_app = Renewal { app: app("other"), ..renewal(1_800_002_000_000) };
    assert!(matches!(records.renew(other_app).await, Err(RecordsError::Conflict)));
    let uploaded = change(&record, UploadState::Pending, UploadState::Uploaded);
    records.transition(uploaded).await.unwrap();
    let late = records.renew(renewal(1_800_002_000_000)).await;
    assert!(matches!(late, Err(RecordsError::Conflict)));
}
