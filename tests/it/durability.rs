//! An answer leaves after its record is on disk: the system calls of the program show the order.
//!
//! Killing the process cannot show this (`crashes.rs`): what it has written survives it in the
//! system's page cache, on disk or not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::harness::gateway::{Setup, mint_key, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::Plain;
use crate::harness::program::{Program, traced};
use safelight::domain::{
    AppName, Declared, MediaType, MintedKey, OwnerId, UploadRecord, UploadState,
};
use safelight::records::{Records as _, SqliteRecords, Tuning};

/// What writes to disk, what waits for it, and what answers.
const CALLS: &str = "pwrite64,pwritev,write,writev,sendto,sendmsg,fdatasync,fsync";

/// Set for the process in which the store runs alone: the folder, and whether it is durable.
const FOLDER: &str = "SAFELIGHT_TEST_DURABILITY_FOLDER";
const DURABLE: &str = "SAFELIGHT_TEST_DURABILITY";

/// The uploads that are recorded at once, and how often.
const AT_ONCE: usize = 16;
const ROUNDS: usize = 8;

/// How an answer names an upload, in the way that strace prints quotes.
fn answer_for(id: &str) -> String {
    format!("\\\"uploadID\\\":\\\"{id}\\\"")
}

/// Whether each upload was answered after the log with its record was on disk. A line begins when
/// the call does; a call that ends later ends on a line of its own.
fn check(trace: &str, ids: &[String]) -> Result<(), String> {
    let mut written = BTreeSet::new();
    let mut syncing = BTreeSet::new();
    let mut synced = BTreeSet::new();
    let mut answered = BTreeSet::new();
    for line in trace.lines() {
        let call = line.split_once(char::is_whitespace).map_or("", |(_, call)| call.trim_start());
        let syncs = call.starts_with("fdatasync(") || call.starts_with("fsync(");
        if call.starts_with("pwrite") && call.contains("-wal>") {
            written.extend(ids.iter().filter(|id| call.contains(id.as_str())));
        } else if syncs && call.contains("-wal>") {
            syncing.append(&mut written);
            if call.ends_with("= 0") {
                synced.append(&mut syncing);
            }
        } else if call.contains("sync resumed>") && call.ends_with("= 0") {
            synced.append(&mut syncing);
        } else if !call.starts_with("pwrite") {
            for id in ids.iter().filter(|id| call.contains(&answer_for(id))) {
                if !synced.contains(id) {
                    return Err(format!("{id} was answered before its record was on disk"));
                }
                answered.insert(id);
            }
        }
    }
    match ids.iter().find(|id| !answered.contains(id)) {
        Some(id) => Err(format!("no answer for {id} is in the trace")),
        None => Ok(()),
    }
}

/// The trace, once what writes it has ended too.
async fn finished(trace: &Path) -> String {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(trace).unwrap_or_default();
        if text.lines().rev().take(3).any(|line| line.contains("+++ exited")) {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the trace has no end:\n{text:.2000}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_answer_leaves_after_its_record_is_on_disk() {
    let (folder, settings) = Setup::with_app("shop", offline_app_file("", "")).files();
    let trace = folder.path().join("trace");
    let mut program = Program::traced(&settings, CALLS, &trace);
    let (base, _) = program.addresses();
    let presign = |number: usize| {
        Plain::new(Method::POST, format!("{base}/darkroom/shop/v1/images/presigned-urls"))
            .with_header("X_Owner_Id", Some(&format!("owner-{number}")))
            .with_header("Content-Type", Some("application/json"))
            .with_body(json!({"file": JPEG.file}).to_string())
            .send()
    };
    let mut ids = Vec::new();
    for _ in 0..ROUNDS {
        for answer in join_all((0..AT_ONCE).map(presign)).await {
            answer.assert_success();
            ids.push(answer.json()["data"]["uploadID"].as_str().unwrap().to_owned());
        }
    }
    program.terminate();
    assert_eq!(program.ended().code, Some(0));
    check(&finished(&trace).await, &ids).unwrap();
}

/// Records in a process of its own, under strace, and what the check says of it.
async fn check_of_store(durable: bool) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut process = traced(&std::env::current_exe().unwrap(), CALLS, &trace);
    process.args([
        "--exact",
        "durability::in_a_process_that_is_traced",
        "--ignored",
        "--nocapture",
    ]);
    process.env(FOLDER, folder.path()).env(DURABLE, durable.to_string());
    let output = tokio::task::spawn_blocking(move || process.output().unwrap()).await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("1 passed"), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let ids = told.lines().filter_map(|line| line.strip_prefix("{\"uploadID\":\""));
    let ids: Vec<_> = ids.map(|rest| rest.trim_end_matches("\"}").to_owned()).collect();
    assert_eq!(ids.len(), AT_ONCE * ROUNDS);
    check(&finished(&trace).await, &ids)
}

#[tokio::test]
async fn the_check_finds_a_store_that_does_not_wait_for_the_disk() {
    assert_eq!(check_of_store(true).await, Ok(()));
    let found = check_of_store(false).await.unwrap_err();
    assert!(found.contains("before its record was on disk"), "{found}");
}

#[tokio::test]
#[ignore = "the_check_finds_a_store_that_does_not_wait_for_the_disk runs it, in a process of its own"]
async fn in_a_process_that_is_traced() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let durable = std::env::var(DURABLE).unwrap() == "true";
    let tuning = Tuning { durable, ..Tuning::default() };
    let records = SqliteRecords::open_tuned(&folder.join("records.db"), tuning, |_, _| {}).unwrap();
    // The harness prints the name of the test without an end of line.
    println!();
    for _ in 0..ROUNDS {
        let uploads: Vec<_> = (0..AT_ONCE).map(|_| pending()).collect();
        join_all(uploads.into_iter().map(async |record| {
            let id = record.key.id();
            records.insert(record, None).await.unwrap();
            println!("{{\"uploadID\":\"{id}\"}}");
        }))
        .await;
    }
    records.close().await;
}

fn pending() -> UploadRecord {
    let now = SystemTime::now();
    UploadRecord {
        app: AppName::parse("shop").unwrap(),
        owner: OwnerId::parse(b"ann").ok(),
        key: MintedKey::from_record(&mint_key("shop", now, JPEG.file)).unwrap(),
        state: UploadState::Pending,
        reason: None,
        declared: Declared { media_type: MediaType::Jpeg, size: None, sha256: None },
        stored: None,
        multipart: None,
        created_at: now,
        url_expires_at: now,
        session_expires_at: now,
        updated_at: now,
        revision: 0,
        look_at: None,
    }
}
