//! The process is killed with SIGKILL under load, again and again, and what it has answered is there
//! when it comes back.
//!
//! That shows that nothing depends on an orderly end. It does not show that an answer was on disk:
//! the system's page cache survives the process. `durability.rs` shows that.

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;
use rusqlite::Connection;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::harness::gateway::{Grant, Setup, app_file};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::Plain;
use crate::harness::program::Program;
use crate::harness::seaweed::Seaweed;
use safelight::domain::UploadState;

/// How often the process is killed, unless SAFELIGHT_TEST_KILLS says otherwise.
const KILLS: u64 = 200;

/// How many clients are at it while it is killed.
const CLIENTS: u64 = 8;

/// No limit is met here, and nothing is verified as small.
const WIDE: &str = r#"
[RateLimit]
PerOwner = { Rate = "100000/s", Burst = 100000 }
PerApp = { Rate = "100000/s", Burst = 100000 }
"#;

/// Writes down every change of state, whoever makes it.
const AUDIT: &str = "
    CREATE TABLE audit (before TEXT, after TEXT, revision_before INTEGER, revision_after INTEGER);
    CREATE TRIGGER audit AFTER UPDATE ON uploads WHEN old.revision <> new.revision
    BEGIN
        INSERT INTO audit VALUES (old.state, new.state, old.revision, new.revision);
    END;";

/// Something that the process has answered.
#[derive(Debug)]
struct Answered {
    id: String,
    token: String,
    what: Promise,
}

#[derive(Debug)]
enum Promise {
    /// There is a record.
    Recorded,
    /// A repeated request under this key finds it.
    Claimed { key: String },
    /// The verdict stands.
    Verdict(&'static str),
}

/// The process, as its clients know it.
#[derive(Clone)]
struct Client {
    base: String,
    answered: mpsc::UnboundedSender<Answered>,
}

impl Client {
    fn request(&self, method: Method, path: &str) -> Plain {
        Plain::new(method, format!("{}/darkroom/shop/v1/{path}", self.base))
    }

    fn presign(&self, file: &str, key: &str) -> Plain {
        self.request(Method::POST, "images/presigned-urls")
            .with_header("X_Owner_Id", Some("ann"))
            .with_header("Content-Type", Some("application/json"))
            .with_header("Idempotency-Key", Some(key))
            .with_body(json!({"file": file}).to_string())
    }

    fn of_upload(&self, method: Method, id: &str, what: &str, token: &str) -> Plain {
        self.request(method, &format!("uploads/{id}{what}"))
            .with_header("Upload-Token", Some(token))
    }

    fn note(&self, id: &str, token: &str, what: Promise) {
        // Nobody takes notes any more once the process is killed.
        let _ = self.answered.send(Answered { id: id.into(), token: token.into(), what });
    }

    /// Uploads until the process is gone.
    async fn upload(self, round: u64, client: u64) {
        for number in 0.. {
            let key = format!("{round}-{client}-{number}");
            // Every third one sends what is no PNG.
            let (file, verdict) = match (client + number) % 3 {
                0 => (PNG.file, "failed"),
                _ => (JPEG.file, "ready"),
            };
            if self.one(file, verdict, key).await.is_none() {
                return;
            }
        }
    }

    async fn one(&self, file: &str, verdict: &'static str, key: String) -> Option<()> {
        let answer = self.presign(file, &key).attempt().await?;
        answer.assert_success();
        let grant = Grant(answer.json()["data"].clone());
        let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
        self.note(id, token, Promise::Recorded);
        self.note(id, token, Promise::Claimed { key });

        grant.put(JPEG.bytes).attempt().await?.assert_success();
        let finalize = || self.of_upload(Method::POST, id, "/finalize", token).attempt();
        let (first, second) = tokio::join!(finalize(), finalize());
        for answer in [first, second].into_iter().flatten() {
            let expected = if verdict == "ready" { 200 } else { 422 };
            assert_eq!(answer.status, expected, "{}", answer.text());
            self.note(id, token, Promise::Verdict(verdict));
        }
        Some(())
    }

    /// Whether a promise of the process before is kept.
    async fn assert_kept(&self, answered: &Answered) {
        let Answered { id, token, what } = answered;
        let status = self.of_upload(Method::GET, id, "", token).send().await;
        status.assert_success();
        match what {
            Promise::Recorded => {}
            Promise::Claimed { key } => {
                let files = [JPEG.file, PNG.file];
                let mut found = Vec::new();
                for file in files {
                    let answer = self.presign(file, key).send().await;
                    found.extend(answer.json()["data"]["uploadID"].as_str().map(str::to_owned));
                }
                assert_eq!(found, [id.as_str()], "under {key}");
            }
            Promise::Verdict(state) => assert_eq!(status.json()["data"]["state"], *state, "{id}"),
        }
    }
}

/// Runs the process until it has given so many answers, and kills it. What it has answered.
async fn run_and_kill(program: Program, base: &str, round: u64, answers: usize) -> Vec<Answered> {
    let (answered, mut notes) = mpsc::unbounded_channel();
    let client = Client { base: base.to_owned(), answered };
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client.clone().upload(round, number));
    }
    drop(client);
    let mut taken = Vec::new();
    while taken.len() < answers {
        taken.push(notes.recv().await.expect("the clients go on until it is killed"));
    }
    program.kill();
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client sees right answers, or none");
    }
    while let Some(note) = notes.recv().await {
        taken.push(note);
    }
    taken
}

/// No change of state was one that the machine does not have, and none went missing.
fn assert_legal(database: &Connection) {
    let mut audit = database.prepare("SELECT * FROM audit").unwrap();
    let changes = audit
        .query_map([], |row| {
            let texts: (String, String) = (row.get(0)?, row.get(1)?);
            let revisions: (u32, u32) = (row.get(2)?, row.get(3)?);
            Ok((texts, revisions))
        })
        .unwrap();
    let mut seen = BTreeMap::new();
    for change in changes {
        let ((before, after), (first, second)) = change.unwrap();
        let [from, to] = [&before, &after].map(|state| UploadState::parse(state).unwrap());
        // A renewed URL changes the record and not its state.
        assert!(from.may_become(to) || (from == to && from == UploadState::Pending));
        assert_eq!(second, first + 1, "{before} to {after}");
        *seen.entry((before, after)).or_insert(0u32) += 1;
    }
    let text = |(before, after): (&str, &str)| (before.to_owned(), after.to_owned());
    for change in [("pending", "uploaded"), ("uploaded", "ready"), ("uploaded", "failed")] {
        assert!(seen.contains_key(&text(change)), "nothing went from {change:?}: {seen:?}");
    }
}

fn integrity(database: &Connection) -> String {
    database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// Gives the database its audit, before anything is in it.
fn audited(settings: &Path, database: &Path) -> Connection {
    let mut program = Program::serve(settings, &[]);
    program.addresses();
    program.terminate();
    assert_eq!(program.ended().code, Some(0));
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection.execute_batch(AUDIT).unwrap();
    connection
}

/// After how many answers it is killed: anything from the first on, other in each round.
fn answers_before_kill(round: u64) -> usize {
    let mixed = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(1 + mixed % 40).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill_at_any_moment() {
    let kills = std::env::var("SAFELIGHT_TEST_KILLS").ok();
    let kills = kills.map_or(KILLS, |text| text.parse().expect("a number"));
    let storage = Seaweed::shared().await.config();
    let (folder, settings) = Setup::with_app("shop", app_file(&storage, "", WIDE)).files();
    let database = audited(&settings, &folder.path().join("data/safelight.db"));

    let mut answered: Vec<Answered> = Vec::new();
    for round in 0..=kills {
        let mut program = Program::serve(&settings, &[]);
        let (base, _) = program.addresses();
        let (notes, _) = mpsc::unbounded_channel();
        let client = Client { base: base.clone(), answered: notes };
        for answer in &answered {
            client.assert_kept(answer).await;
        }
        assert_eq!(integrity(&database), "ok", "after {round} kills");
        if round == kills {
            program.terminate();
            assert_eq!(program.ended().code, Some(0));
            break;
        }
        answered = run_and_kill(program, &base, round, answers_before_kill(round)).await;
    }
    assert_legal(&database);
    let rows: i64 = database.query_row("SELECT count(*) FROM uploads", [], |r| r.get(0)).unwrap();
    assert!(rows.unsigned_abs() > kills, "there was a load");
}
