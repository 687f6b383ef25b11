//! What the store promises, on real files.

mod model;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::writer::MAX_WAITING;
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
        owner: OwnerId::parse(b"ann").ok(),
        key: key(number),
        state: UploadState::Pending,
        reason: None,
        declared: Declared { media_type: MediaType::Png, size: None, sha256: None },
        stored: None,
        multipart: None,
        created_at: at(1_800_000_000_000),
        url_expires_at: at(1_800_000_900_000),
        session_expires_at: at(1_800_086_400_000),
        updated_at: at(1_800_000_000_000),
        revision: 0,
        look_at: Some(at(1_800_090_000_000)),
    }
}

fn change(record: &UploadRecord, from: UploadState, to: UploadState) -> Transition {
    Transition {
        app: record.app.clone(),
        id: record.key.id(),
        revision: record.revision,
        from,
        to,
        reason: None,
        stored: None,
        look_at: None,
        at: at(1_800_000_001_000),
    }
}

async fn get(records: &SqliteRecords, record: &UploadRecord) -> Option<UploadRecord> {
    records.get(&record.app, record.key.id()).await.unwrap()
}

/// The records of what of an app is due, at most `limit`.
async fn due(records: &SqliteRecords, app: &AppName, now: u64, limit: usize) -> Vec<UploadRecord> {
    let found = records.due(at(now), limit).await.unwrap();
    let Some(due) = found.get(app) else { return Vec::new() };
    let read = records.still_due(app, &due.uploads, at(now)).await.unwrap();
    assert_eq!(read.first().and_then(|record| record.look_at), Some(due.since));
    read
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
    records.insert(record.clone(), None).await.unwrap();
    assert_eq!(get(&records, &record).await, Some(record.clone()));
    assert_eq!(records.get(&app("blog"), record.key.id()).await.unwrap(), None);

    let mut other = record.clone();
    other.owner = OwnerId::parse(b"bob").ok();
    assert!(matches!(records.insert(other, None).await, Err(RecordsError::Duplicate)));
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
    records.insert(record.clone(), None).await.unwrap();

    assert!(conflict(records.transition(change(&record, Uploaded, Ready)).await));
    let mut foreign = change(&record, Pending, Deleted);
    foreign.app = app("blog");
    assert!(conflict(records.transition(foreign).await));
    let illegal = records.transition(change(&record, Pending, Ready)).await;
    assert!(matches!(illegal, Err(RecordsError::InvalidTransition(_))));
    assert_eq!(get(&records, &record).await, Some(record.clone()), "none of these did anything");

    records.transition(change(&record, Pending, Uploaded)).await.unwrap();
    let again = records.transition(change(&record, Uploaded, Ready)).await;
    assert!(conflict(again), "decided on the revision before");
    let mut expected = record;
    expected.state = Uploaded;
    expected.updated_at = at(1_800_000_001_000);
    expected.revision = 1;
    expected.look_at = None;
    assert_eq!(get(&records, &expected).await, Some(expected));
}

#[tokio::test]
async fn a_transition_keeps_or_replaces_what_storage_said() {
    use UploadState::{Deleted, Failed, Pending, Uploaded};
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    records.insert(record.clone(), None).await.unwrap();

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
    second.revision = 1;
    second.reason = Some(VerificationFailure::Dimensions);
    records.transition(second).await.unwrap();
    let read = get(&records, &record).await.unwrap();
    assert_eq!((read.stored, read.reason), (Some(stored), Some(VerificationFailure::Dimensions)));

    let mut third = change(&record, Failed, Deleted);
    third.revision = 2;
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
    assert!(is_unavailable(records.insert(large, None).await));
    let mut old = pending(2);
    old.created_at = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert!(is_unavailable(records.insert(old, None).await));
    let mut largest = pending(3);
    largest.declared.size = Some(i64::MAX as u64);
    records.insert(largest.clone(), None).await.unwrap();
    assert_eq!(get(&records, &largest).await, Some(largest));
}

#[tokio::test]
async fn an_unreadable_row_is_named_but_not_shown() {
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    records.insert(record.clone(), None).await.unwrap();
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
        records.insert(record.clone(), None).await.unwrap();
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
    records.insert(pending(0), None).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1), "and now it is held");

    let calls: Vec<_> =
        (1..=WAITING as u64).map(|n| begin(records.insert(pending(n), None))).collect();
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
    records.insert(known.clone(), None).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));

    let calls = [
        begin(records.insert(pending(1), None)),
        begin(records.insert(pending(0), None)),
        begin(records.insert(pending(1), None)),
        begin(records.transition(change(&known, Uploaded, Ready))),
        begin(records.transition(change(&known, Pending, Uploaded))),
        begin(records.transition(change(&known, Pending, Uploaded))),
        begin(records.transition(Transition { revision: 1, ..change(&known, Uploaded, Ready) })),
        begin(records.insert(pending(2), None)),
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
                records.insert(pending(number), None).await.unwrap();
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
    records.insert(pending(0), None).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    // The same few records again and again: the queue does not know what it holds.
    let few: Vec<_> = (0..16).map(pending).collect();
    let calls: Vec<_> =
        (0..MAX_WAITING).map(|n| begin(records.insert(few[n % 16].clone(), None))).collect();
    assert!(
        is_unavailable(records.insert(pending(16), None).await),
        "without waiting for the writer"
    );
    assert_eq!(records.waiting_writes(), MAX_WAITING);
    drop(held.go_on);
    for call in calls {
        assert!(matches!(call.await, Ok(()) | Err(RecordsError::Duplicate)));
    }
    records.insert(pending(16), None).await.unwrap();
    assert_eq!(records.waiting_writes(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_breaks_nothing() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0), None).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    let stays = begin(records.insert(pending(1), None));
    drop(begin(records.insert(pending(2), None)));
    let stays_too = begin(records.insert(pending(3), None));
    drop(held.go_on);
    stays.await.unwrap();
    stays_too.await.unwrap();
    assert_eq!(get(&records, &pending(2)).await, Some(pending(2)), "queued is carried out");
}

#[tokio::test]
async fn reads_do_not_wait_for_a_busy_writer() {
    let place = Place::new();
    let records = place.open();
    records.insert(pending(0), None).await.unwrap();
    let shell = place.shell();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = begin(records.insert(pending(1), None));
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
    let database = open::database(&place.path, true).unwrap();
    // A limit of the one connection that writes, below what 10,000 records need.
    database.connection.pragma_update(None, "max_page_count", 12).unwrap();
    let readers = Readers::open(&place.path).unwrap();
    let writer = Writer::start(database, MAX_GROUP, Box::new(|_, _| {})).unwrap();
    let records = SqliteRecords { writer: Some(writer), readers };
    let mut answered = 0;
    let error = loop {
        match records.insert(pending(answered), None).await {
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
    reopened.insert(pending(answered), None).await.unwrap();
    place.check_integrity();
}

#[tokio::test]
async fn a_failed_commit_answers_the_whole_group_and_keeps_nothing_of_it() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0), None).await.unwrap();
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
        begin(records.insert(pending(1), None)),
        begin(records.transition(deletion)),
        begin(records.insert(pending(2), None)),
    ];
    drop(held.go_on);
    for call in calls {
        assert!(is_unavailable(call.await));
    }
    assert_eq!(get(&records, &pending(0)).await, Some(pending(0)));
    assert_eq!(get(&records, &pending(1)).await, None);

    shell.execute_batch("DROP TRIGGER break").unwrap();
    records.insert(pending(1), None).await.unwrap();
    assert_eq!(held.committed.iter().next(), Some(1), "the failed group was not reported");
}

#[tokio::test]
async fn a_writer_that_panics_is_unavailable_and_reads_go_on() {
    let place = Place::new();
    let on_commit = |_, _| panic!("the observer of a test");
    let records = SqliteRecords::open_observed(&place.path, on_commit).unwrap();
    records.insert(pending(0), None).await.unwrap();
    assert!(is_unavailable(records.insert(pending(1), None).await));
    assert!(is_unavailable(records.insert(pending(2), None).await));
    assert_eq!(get(&records, &pending(0)).await, Some(pending(0)));
    records.close().await;
}

// Opening and closing.

#[tokio::test]
async fn closing_commits_what_is_queued_and_ends_the_store() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0), None).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    let queued: Vec<_> = (1..10).map(|n| begin(records.insert(pending(n), None))).collect();
    let first = begin(records.close());
    assert!(is_unavailable(records.insert(pending(10), None).await), "closing already");
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
    let database = open::database(&place.path, true).unwrap();
    let connection = &database.connection;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |r| r.get(0)).unwrap();
    let level: u8 = connection.pragma_query_value(None, "synchronous", |r| r.get(0)).unwrap();
    assert_eq!((mode.as_str(), level), ("wal", 2), "2 is FULL");
}

#[tokio::test]
async fn a_renewal_moves_the_end_of_a_pending_uploads_urls_and_never_back() {
    let place = Place::new();
    let records = place.open();
    let record = pending(1);
    records.insert(record.clone(), None).await.unwrap();
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
    let before = records.transition(uploaded.clone()).await;
    assert!(matches!(before, Err(RecordsError::Conflict)), "it knew of an earlier end");
    records.transition(Transition { revision: 2, ..uploaded }).await.unwrap();
    let late = records.renew(renewal(1_800_002_000_000)).await;
    assert!(matches!(late, Err(RecordsError::Conflict)));
}

// What the sweeper asks.

#[tokio::test]
async fn what_is_due_comes_in_order_and_goes_when_it_was_looked_at() {
    let place = Place::new();
    let records = place.open();
    for (number, look_at) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20)), (5, Some(40))]
    {
        let record = UploadRecord { look_at: look_at.map(at), ..pending(number) };
        records.insert(record, None).await.unwrap();
    }
    let due = async |now, limit| {
        let due = due(&records, &app("shop"), now, limit).await;
        due.iter().map(|record| record.key.id()).collect::<Vec<_>>()
    };
    let ids = |numbers: &[u64]| numbers.iter().map(|n| key(*n).id()).collect::<Vec<_>>();
    assert_eq!(due(9, 10).await, ids(&[]));
    assert_eq!(due(30, 10).await, ids(&[2, 4, 1]));
    assert_eq!(due(30, 2).await, ids(&[2, 4]));

    let look = |number, revision, look_at: Option<u64>| Look {
        app: app("shop"),
        id: key(number).id(),
        revision,
        look_at: look_at.map(at),
    };
    records.look_again(look(2, 0, None)).await.unwrap();
    records.look_again(look(4, 0, Some(35))).await.unwrap();
    let stale = records.look_again(look(1, 7, None)).await;
    assert!(matches!(stale, Err(RecordsError::Conflict)), "it has changed since");
    assert_eq!(due(50, 10).await, ids(&[1, 4, 5]));
}

#[tokio::test]
async fn each_app_has_its_own_queue_and_its_own_limit() {
    let place = Place::new();
    let records = place.open();
    let queue =
        [("shop", 10), ("blog", 60), ("shop", 20), ("shop", 30), ("wiki", 99), ("blog", 40)];
    for (number, (name, look_at)) in (1..).zip(queue) {
        let record = UploadRecord { app: app(name), look_at: Some(at(look_at)), ..pending(number) };
        records.insert(record, None).await.unwrap();
    }
    let found = records.due(at(60), 2).await.unwrap();
    let due = |since, numbers: &[u64]| Due {
        since: at(since),
        uploads: numbers.iter().map(|number| key(*number).id()).collect(),
    };
    // The many of one app leave the others their place.
    let expected = [(app("shop"), due(10, &[1, 3])), (app("blog"), due(40, &[6, 2]))];
    assert_eq!(found, HashMap::from(expected));

    let ids = [1, 2, 3, 4, 9].map(|number| key(number).id());
    let still = records.still_due(&app("shop"), &ids, at(20)).await.unwrap();
    let still: Vec<_> = still.iter().map(|record| record.key.id()).collect();
    assert_eq!(still, [ids[0], ids[2]], "of the app, due by then, and there");
}

#[tokio::test]
async fn an_unreadable_row_does_not_keep_the_others_from_being_looked_at() {
    let place = Place::new();
    let records = place.open();
    for number in 1..=3 {
        let record = UploadRecord { look_at: Some(at(number)), ..pending(number) };
        records.insert(record, None).await.unwrap();
    }
    let broken = "UPDATE uploads SET state = 'odd' WHERE look_at = 2";
    assert_eq!(place.shell().execute(broken, []).unwrap(), 1);
    let due = due(&records, &app("shop"), 10, 10).await;
    let found: Vec<_> = due.iter().map(|record| record.key.id()).collect();
    assert_eq!(found, [key(1).id(), key(3).id()]);
}

#[tokio::test]
async fn the_questions_of_the_sweeper_are_answered_by_an_index() {
    let place = Place::new();
    let records = place.open();
    records.insert(pending(1), None).await.unwrap();
    for (sql, index) in [
        (rows::DUE, "USING COVERING INDEX uploads_to_look_at"),
        (rows::STILL_DUE, "USING PRIMARY KEY"),
        (rows::DELETED, "INDEX uploads_deleted"),
        (rows::FORGET_CLAIMS, "INDEX idempotency_claims_expired"),
        (rows::CLAIMED, "USING PRIMARY KEY"),
        (rows::SELECT, "USING PRIMARY KEY"),
    ] {
        let shell = place.shell();
        let mut statement = shell.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![Value::Null; statement.parameter_count()];
        let values = params_from_iter(values);
        let plan = statement.query_map(values, |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<_> = plan.map(Result::unwrap).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{sql}: {plan:?}");
        assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{sql}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER")), "{sql}: {plan:?}");
    }
}

#[tokio::test]
async fn deletions_can_be_followed() {
    let place = Place::new();
    let records = place.open();
    for number in 1..=4 {
        let record = pending(number);
        records.insert(record.clone(), None).await.unwrap();
        if number != 2 {
            let deleted = change(&record, UploadState::Pending, UploadState::Deleted);
            records.transition(Transition { at: at(number * 10), ..deleted }).await.unwrap();
        }
    }
    let since = async |time, limit| records.deleted_since(at(time), limit).await.unwrap();
    let gone = |number: u64| (key(number).id(), at(number * 10));
    assert_eq!(since(0, 10).await, [gone(1), gone(3), gone(4)]);
    assert_eq!(since(0, 2).await, [gone(1), gone(3)]);
    assert_eq!(since(30, 10).await, [gone(3), gone(4)]);
    assert_eq!(since(41, 10).await, []);
}

// Idempotency.

fn claim(scope: u8, request: u8, expires_at: u64) -> IdempotencyClaim {
    IdempotencyClaim { scope: [scope; 32], request: [request; 32], expires_at: at(expires_at) }
}

#[tokio::test]
async fn a_claim_is_taken_once_until_it_expires() {
    let place = Place::new();
    let records = place.open();
    let insert = async |number: u64, now: u64, claim: IdempotencyClaim| {
        let record = UploadRecord { created_at: at(now), ..pending(number) };
        records.insert(record, Some(claim)).await
    };
    let claimed = async |scope: u8, now| records.claimed([scope; 32], at(now)).await.unwrap();
    assert_eq!(claimed(1, 0).await, None);
    insert(1, 0, claim(1, 7, 100)).await.unwrap();
    let first = Claimed { request: [7; 32], id: key(1).id() };
    assert_eq!(claimed(1, 99).await, Some(first));
    assert_eq!(claimed(2, 0).await, None);

    let taken = insert(2, 50, claim(1, 8, 200)).await;
    assert!(matches!(taken, Err(RecordsError::Duplicate)));
    assert_eq!(get(&records, &pending(2)).await, None, "no record without its claim");
    assert_eq!(claimed(1, 50).await, Some(first));

    assert_eq!(claimed(1, 100).await, None, "it is over");
    insert(2, 100, claim(1, 8, 200)).await.unwrap();
    assert_eq!(claimed(1, 150).await, Some(Claimed { request: [8; 32], id: key(2).id() }));

    let same_id = insert(2, 150, claim(3, 9, 300)).await;
    assert!(matches!(same_id, Err(RecordsError::Duplicate)));
    assert_eq!(claimed(3, 150).await, None, "no claim without its record");
}

#[tokio::test]
async fn of_many_with_one_claim_one_is_recorded() {
    let place = Place::new();
    let (records, held) = open_held(&place);
    records.insert(pending(0), None).await.unwrap();
    assert_eq!(held.committed.recv(), Ok(1));
    let calls: Vec<_> =
        (1..=8).map(|n| begin(records.insert(pending(n), Some(claim(1, 1, 1 << 45))))).collect();
    drop(held.go_on);
    let mut answered = Vec::new();
    for call in calls {
        answered.push(call.await.is_ok());
    }
    assert_eq!(answered.iter().filter(|ok| **ok).count(), 1, "{answered:?}, in one group");
}

#[tokio::test]
async fn expired_claims_are_forgotten_a_few_at_a_time() {
    let place = Place::new();
    let records = place.open();
    for number in 1..=5 {
        let scope = u8::try_from(number).unwrap();
        records.insert(pending(number), Some(claim(scope, 0, number * 10))).await.unwrap();
    }
    // The claims of the test lie long before the records, so each is of its time.
    assert_eq!(records.forget_claims(at(30), 2).await.unwrap(), 2);
    assert_eq!(records.forget_claims(at(30), 2).await.unwrap(), 1);
    assert_eq!(records.forget_claims(at(30), 2).await.unwrap(), 0);
    assert!(records.claimed([4; 32], at(0)).await.unwrap().is_some());
}

// Databases of earlier versions.

#[tokio::test]
async fn a_database_of_the_first_version_is_migrated() {
    let place = Place::new();
    let shell = place.shell();
    shell.execute_batch(include_str!("migrations/V1__uploads.sql")).unwrap();
    // As refinery has left it.
    let (version, name) = (1, "uploads");
    let first =
        refinery::Migration::unapplied("V1__uploads", include_str!("migrations/V1__uploads.sql"))
            .unwrap();
    shell
        .execute_batch(
            "CREATE TABLE refinery_schema_history (version INT4 PRIMARY KEY, name VARCHAR(255),
                applied_on VARCHAR(255), checksum VARCHAR(255))",
        )
        .unwrap();
    let applied = "INSERT INTO refinery_schema_history VALUES (?1, ?2, ?3, ?4)";
    let checksum = first.checksum().to_string();
    shell.execute(applied, (version, name, "2026-11-21T12:00:00Z", checksum)).unwrap();
    let insert = "INSERT INTO uploads (id, app, owner, key, state, declared_type, created_at,
            url_expires_at, session_expires_at, updated_at)
        VALUES (?1, 'shop', 'ann', ?2, ?3, 'image/png', 1, 100, 1000, 5)";
    for (number, state) in [(1, "pending"), (2, "uploaded"), (3, "ready")] {
        let key = key(number);
        shell.execute(insert, (key.id().to_bytes(), key.as_str(), state)).unwrap();
    }
    drop(shell);

    let records = place.open();
    for (number, look_at) in [(1, 1000 + 3_600_000), (2, 5), (3, 100 + 3_600_000)] {
        let record = get(&records, &pending(number)).await.unwrap();
        assert_eq!((record.revision, record.look_at), (0, Some(at(look_at))), "{number}");
        assert_eq!((record.owner, record.multipart), (OwnerId::parse(b"ann").ok(), None));
    }
}

#[tokio::test]
async fn a_database_of_the_version_before_is_taken_over_with_its_queues() {
    let place = Place::new();
    let before = refinery::Target::Version(4);
    open::migrations::runner().set_target(before).run(&mut place.shell()).unwrap();
    let insert = "INSERT INTO uploads (id, app, owner, key, state, declared_type, created_at,
            url_expires_at, session_expires_at, updated_at, look_at)
        VALUES (?1, ?2, 'ann', ?3, 'pending', 'image/png', 1, 100, 1000, 5, ?4)";
    let queue = [("shop", Some(30)), ("blog", Some(20)), ("shop", Some(10)), ("shop", None)];
    for (number, (name, look_at)) in (1..).zip(queue) {
        let key = key(number);
        let values = (key.id().to_bytes(), name, key.as_str(), look_at);
        place.shell().execute(insert, values).unwrap();
    }

    let records = place.open();
    let found = due(&records, &app("shop"), 30, 10).await;
    let found: Vec<_> = found.iter().map(|record| record.key.id()).collect();
    assert_eq!(found, [key(3).id(), key(1).id()]);
    assert_eq!(due(&records, &app("blog"), 30, 10).await.len(), 1);
    place.check_integrity();
}

// Beside the process that writes.

#[tokio::test]
async fn a_reader_beside_the_writer_sees_everything_and_changes_nothing() {
    let place = Place::new();
    assert!(SqliteRecords::open_for_reading(&place.path).is_err(), "there is nothing to read");
    assert!(!place.path.exists(), "a reader makes no database");
    let records = place.open();
    let reader = SqliteRecords::open_for_reading(&place.path).unwrap();
    records.insert(pending(1), None).await.unwrap();
    let found = reader.get(&app("shop"), key(1).id()).await.unwrap();
    assert_eq!(found, Some(pending(1)));
    let due = due(&reader, &app("shop"), u64::from(u32::MAX) * 1000, 10).await;
    assert_eq!(due, [pending(1)]);

    let refused = [
        reader.insert(pending(2), None).await,
        reader.transition(change(&pending(1), UploadState::Pending, UploadState::Orphaned)).await,
        reader.forget_claims(at(1), 1).await.map(drop),
    ];
    for answer in refused {
        assert!(answer.unwrap_err().to_string().contains("opened for reading"));
    }
    reader.close().await;
    records.insert(pending(3), None).await.unwrap();
    assert!(matches!(SqliteRecords::open(&place.path), Err(RecordsError::InUse(_))));
}

#[tokio::test]
async fn a_reader_takes_its_own_version_only() {
    let place = Place::new();
    place.open().close().await;
    let newest = "(SELECT max(version) FROM refinery_schema_history)";
    for (change, told) in [
        (
            format!("UPDATE refinery_schema_history SET version = 99 WHERE version = {newest}"),
            "newer",
        ),
        (format!("DELETE FROM refinery_schema_history WHERE version = {newest}"), "older"),
    ] {
        place.shell().execute(&change, []).unwrap();
        let Err(error) = SqliteRecords::open_for_reading(&place.path) else { panic!("{told}") };
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_backup_is_a_database_of_its_own() {
    let place = Place::new();
    let records = place.open();
    let target = place.path.with_file_name("copy.db");
    for number in 1..=5 {
        records.insert(pending(number), None).await.unwrap();
    }
    assert_eq!(back_up(&place.path, &target), Ok(5));
    records.insert(pending(6), None).await.unwrap();
    let copy = SqliteRecords::open(&target).unwrap();
    for number in 1..=6 {
        let found = copy.get(&app("shop"), key(number).id()).await.unwrap();
        assert_eq!(found, (number < 6).then(|| pending(number)));
    }
    copy.insert(pending(7), None).await.unwrap();
    copy.close().await;
    let refused = back_up(&place.path, &target).unwrap_err();
    assert!(refused.contains("exists already"), "{refused}");
    let partial = |name: &str| name.contains("partial");
    let names = std::fs::read_dir(place.path.parent().unwrap()).unwrap();
    assert!(!names.into_iter().any(|entry| partial(entry.unwrap().file_name().to_str().unwrap())));
}
