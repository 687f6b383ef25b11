//! `safelight sweep` and `safelight backup`, as an operator uses them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OpenFlags};

use super::{BUSY, IDLE, Place, expire, finalize, rows, status, until};
use crate::harness::gateway::{TestGateway, mint_key};
use crate::harness::photos::JPEG;
use crate::harness::program::{Ended, run};

fn sweep(settings: &Path, more: &[&str]) -> Ended {
    let settings = settings.to_str().unwrap();
    run(&[&["sweep", "--config", settings], more].concat())
}

fn backup(settings: &Path, target: &Path) -> Ended {
    run(&["backup", "--config", settings.to_str().unwrap(), target.to_str().unwrap()])
}

/// The row of a table that was printed, without its padding.
#[track_caller]
fn assert_row(ended: &Ended, cells: &[&str]) {
    let is_it = |line: &str| line.split_whitespace().collect::<Vec<_>>() == cells;
    assert!(ended.stdout.lines().any(is_it), "no row {cells:?} in {ended:?}");
}

/// Puts a backup in the place of the records, as docs/operations.md says.
fn restore(folder: &Path, copy: &Path) {
    let data = folder.join("data");
    for name in ["safelight.db", "safelight.db-wal", "safelight.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    fs::copy(copy, data.join("safelight.db")).unwrap();
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let place = Place::real().await;
    let gateway = place.setup(IDLE).start().await;
    let never = gateway.granted("shop", JPEG.file).await;
    let arrived = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let changed = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &changed).await.assert_success();
    changed.put(b"no photo").send().await.assert_success();
    let refused = gateway.uploaded("shop", "a.jpg", b"no photo").await;
    finalize(&gateway, &refused).await.assert_problem(422, "verification_failed");
    place.put(refused.key(), b"no photo").await;
    let settled = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &settled).await.assert_success();
    let waiting = gateway.granted("shop", JPEG.file).await;
    for grant in [&never, &arrived, &changed, &refused, &settled] {
        expire(&gateway, grant);
    }
    let unrecorded = mint_key("shop", std::time::SystemTime::now(), "a.jpg");
    place.put(&unrecorded, JPEG.bytes).await;

    let before = (rows(&gateway), place.objects().await);
    let file = fs::read(gateway.records_file()).unwrap();
    let ended = sweep(&gateway.settings_file(), &["--dry-run", "--reconcile", "adopt"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (grant, state, would) in [
        (&never, "pending", "orphan"),
        (&arrived, "pending", "verify"),
        (&changed, "ready", "verify"),
        (&refused, "failed", "remove"),
        (&settled, "ready", "done"),
    ] {
        assert_row(&ended, &["shop", grant.text("uploadID"), state, would]);
    }
    assert!(!ended.stdout.contains(waiting.text("uploadID")), "{}", ended.stdout);
    assert_row(&ended, &["shop", "unrecorded", "1"]);
    assert!(!ended.stdout.contains("owner-1") && !ended.stderr.contains("owner-1"));
    assert_eq!((rows(&gateway), place.objects().await), before);
    assert!(fs::read(gateway.records_file()).unwrap() == file, "the database was written");
}

#[tokio::test]
async fn beside_a_gateway_there_is_nothing_to_sweep() {
    let place = Place::real().await;
    let gateway = place.setup(IDLE).start().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    expire(&gateway, &grant);
    let ended = sweep(&gateway.settings_file(), &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(69), ""), "{ended:?}");
    assert!(ended.stderr.contains("sweeps by itself"), "{}", ended.stderr);
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
}

#[tokio::test]
async fn a_run_in_the_foreground() {
    let place = Place::real().await;
    let gateway = place.setup(IDLE).start().await;
    let never = gateway.granted("shop", JPEG.file).await;
    let arrived = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let late = gateway.granted("shop", JPEG.file).await;
    for grant in [&never, &arrived, &late] {
        expire(&gateway, grant);
    }
    let settings = gateway.settings_file();
    let folder = gateway.stop().await;
    let ended = sweep(&settings, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_row(&ended, &["shop", "orphaned", "2"]);
    assert_row(&ended, &["shop", "ready", "1"]);
    let again = sweep(&settings, &[]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "nothing was due\n"), "{again:?}");

    // An object that comes when nobody expects it any more is found in the bucket.
    place.put(late.key(), JPEG.bytes).await;
    let told = sweep(&settings, &["--reconcile", "report"]);
    assert_row(&told, &["shop", "unfinished", "1"]);
    let adopted = sweep(&settings, &["--reconcile", "adopt"]);
    assert_eq!(adopted.code, Some(0), "{adopted:?}");
    assert_row(&adopted, &["shop", "verified", "1"]);
    let gateway = place.setup(IDLE).start_in(folder).await;
    assert_eq!(status(&gateway, &late).await["state"], "ready");
    assert_eq!(status(&gateway, &never).await["state"], "orphaned");
}

#[tokio::test]
async fn a_gateway_that_only_reports_records_nothing() {
    let place = Place::real().await;
    let young = mint_key("shop", super::SystemTime::now() + super::PATIENCE * 60, "a.jpg");
    let old = mint_key("shop", super::SystemTime::now(), "a.jpg");
    for key in [&young, &old, &format!("0{}", &old[1..]), &"logo.jpg".to_owned()] {
        place.put(key, JPEG.bytes).await;
    }
    let before = place.objects().await;
    let settings = format!("{BUSY}Reconcile = \"report\"\n");
    let gateway = place.setup(&settings).start().await;
    until("it is found", async || {
        let series = "safelight_reconcile_objects_total{app=\"shop\",finding=\"unrecorded\"}";
        gateway.metrics().await.value(series) == 1.0
    })
    .await;
    assert_eq!(rows(&gateway), Vec::<String>::new());
    assert_eq!(place.objects().await, before);
}

/// What was answered before a backup began is in it, whatever is written meanwhile.
#[tokio::test]
async fn a_backup_of_a_busy_gateway() {
    let place = Place::real().await;
    let limits = "[RateLimit]\nPerOwner = { Rate = \"60000/m\", Burst = 100000 }\n\
                  PerApp = { Rate = \"60000/m\", Burst = 100000 }\n";
    let setup = super::Setup::with_app("shop", place.app(limits)).and_settings(IDLE);
    let gateway = setup.start().await;
    let mut before = Vec::new();
    for _ in 0..50 {
        before.push(gateway.granted("shop", JPEG.file).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("copy.db");
    let (settings, copy) = (gateway.settings_file(), target.clone());
    let is_done = AtomicBool::new(false);
    let load = async {
        let mut written = 0;
        while !is_done.load(Ordering::Relaxed) {
            gateway.granted("shop", JPEG.file).await;
            written += 1;
        }
        written
    };
    let copying = async {
        let ended = tokio::task::spawn_blocking(move || backup(&settings, &copy)).await.unwrap();
        is_done.store(true, Ordering::Relaxed);
        ended
    };
    let (written, ended) = tokio::join!(load, copying);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(written > 0, "there was no load");

    let copy = Connection::open_with_flags(&target, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let verdict: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    for grant in &before {
        let sql = "SELECT count(*) FROM uploads WHERE key = ?1";
        let count: i64 = copy.query_row(sql, [grant.key()], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }
    let count: i64 = copy.query_row("SELECT count(*) FROM uploads", [], |row| row.get(0)).unwrap();
    assert!(ended.stdout.starts_with(&format!("{count} uploads are in ")), "{ended:?}");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);

    // A second one of that name replaces nothing, and leaves nothing.
    let bytes = fs::read(&target).unwrap();
    let second = backup(&gateway.settings_file(), &target);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("exists already"), "{}", second.stderr);
    assert!(fs::read(&target).unwrap() == bytes);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(names, [target]);
}

/// A database that was lost costs no photo.
#[tokio::test]
async fn an_old_backup_and_the_bucket_make_a_whole() {
    let place = Place::real().await;
    let gateway = place.setup(IDLE).start().await;
    let old = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &old).await.assert_success();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    let known = gateway.granted("shop", JPEG.file).await;
    assert_eq!(backup(&gateway.settings_file(), &copy).code, Some(0));

    known.put(JPEG.bytes).send().await.assert_success();
    finalize(&gateway, &known).await.assert_success();
    let new = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &new).await.assert_success();
    let junk = gateway.uploaded("shop", "a.jpg", b"no photo, and nobody has said so yet").await;
    place.put("somebody-elses.jpg", JPEG.bytes).await;
    let objects = place.objects().await;
    let settings = gateway.settings_file();
    let home = gateway.stop().await;
    restore(home.path(), &copy);

    let told = sweep(&settings, &["--dry-run", "--reconcile", "report"]);
    assert_row(&told, &["shop", "unrecorded", "2"]);
    let adopted = sweep(&settings, &["--reconcile", "adopt"]);
    assert_eq!(adopted.code, Some(0), "{adopted:?}");
    assert_row(&adopted, &["shop", "adopted", "1"]);
    assert_row(&adopted, &["shop", "refused", "1"]);
    assert_eq!(place.objects().await, objects, "nothing was deleted");

    let gateway = place.setup(BUSY).start_in(home).await;
    let adopted = status(&gateway, &new).await;
    assert_eq!((&adopted["state"], &adopted["size"]), (&"ready".into(), &JPEG.bytes.len().into()));
    assert!(rows(&gateway).iter().all(|row| !row.contains(junk.key())), "it is nobody's");
    // The backup has it as pending: that is an upload like any other.
    expire(&gateway, &known);
    super::until_state(&gateway, &known, "ready").await;
    for grant in [&old, &known, &new] {
        let read = gateway.get(grant.public_url()).await;
        assert!(read.status == 200 && read.body == JPEG.bytes, "{}", read.status);
    }
    assert_eq!(place.objects().await, objects);
}

#[tokio::test]
async fn what_cannot_be_swept_or_copied() {
    let place = Place::real().await;
    let gateway: TestGateway = place.setup(IDLE).start().await;
    let settings = gateway.settings_file();
    let home = gateway.stop().await;
    let nowhere = backup(&settings, &home.path().join("no/such/folder/copy.db"));
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
    assert!(nowhere.stderr.contains("no/such/folder"), "{}", nowhere.stderr);

    fs::write(home.path().join("data/safelight.db"), "this is no database, and too short").unwrap();
    let copy = home.path().join("copy.db");
    let damaged = backup(&settings, &copy);
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(!copy.exists());
    assert_eq!(sweep(&settings, &["--dry-run"]).code, Some(69));
    fs::remove_file(home.path().join("data/safelight.db")).unwrap();
    let absent = sweep(&settings, &["--dry-run"]);
    assert_eq!(absent.code, Some(69), "{absent:?}");
    assert!(!home.path().join("data/safelight.db").exists(), "a dry run makes none");
    assert_eq!(backup(&settings, &copy).code, Some(1));
}
