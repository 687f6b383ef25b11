//! How fast uploads are recorded. A tool of `bench/run records`:
//!
//! ```text
//! records fill PATH COUNT            fills a database with the past of a busy gateway
//! records rates PATH SECONDS GROUP   records and finalizes with 64 clients at once, at most GROUP
//!                                    writes in one commit; prints JSON
//! ```

#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use safelight::domain::{
    AppName, CleanName, Declared, ETag, MINT_ENTROPY_BYTES, MediaType, MintSecrets, MintedKey,
    OwnerId, Secret, Stored, UploadRecord, UploadState,
};
use safelight::records::{Records as _, SqliteRecords, Transition, Tuning};
use tokio::task::JoinSet;

/// Clients at once, as in the other measurements.
const CLIENTS: u64 = 64;

/// How long after its end a URL may be at work: what a gateway assumes unless told otherwise.
const GRACE: Duration = Duration::from_secs(3600);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match arguments[..] {
        ["fill", path, count] => {
            runtime.block_on(fill(path.as_ref(), count.parse().expect("a number")));
        }
        ["rates", path, seconds, group] => {
            let seconds = Duration::from_secs(seconds.parse().expect("seconds"));
            runtime.block_on(rates(path.as_ref(), seconds, group.parse().expect("a number")));
        }
        _ => println!("used by `bench/run records`: see bench/README.md"),
    }
}

/// What mints the keys of a measurement.
struct Mint {
    app: AppName,
    secrets: MintSecrets,
    name: CleanName,
}

impl Mint {
    fn new() -> Self {
        Self {
            app: AppName::parse("shop").expect("a name"),
            secrets: MintSecrets::new(vec![Secret::new("secret of the benchmark")]).expect("one"),
            name: CleanName::image(),
        }
    }

    /// A pending upload of that time.
    fn pending(&self, owner: u64, now: SystemTime) -> UploadRecord {
        let mut entropy = [0; MINT_ENTROPY_BYTES];
        getrandom::fill(&mut entropy).expect("random numbers");
        let mut record = UploadRecord {
            app: self.app.clone(),
            owner: OwnerId::parse(format!("owner-{owner}").as_bytes()).ok(),
            key: MintedKey::mint(&self.secrets, &self.app, now, entropy, &self.name, "jpg"),
            state: UploadState::Pending,
            reason: None,
            declared: Declared { media_type: MediaType::Jpeg, size: Some(250_000), sha256: None },
            stored: None,
            multipart: None,
            created_at: now,
            url_expires_at: now + Duration::from_secs(900),
            session_expires_at: now + Duration::from_secs(86_400),
            updated_at: now,
            revision: 0,
            look_at: None,
        };
        record.look_at = record.next_look(UploadState::Pending, GRACE, now);
        record
    }
}

fn stored() -> Stored {
    Stored {
        size: 250_000,
        content_type: Some("image/jpeg".to_owned()),
        etag: ETag::parse("\"9a0364b9e99bb480dd25e1f0284c8555\""),
        version: None,
        dimensions: Some((1200, 800)),
    }
}

/// A past: a record every 10 ms up to now, of which 97 in 100 are ready and done with, two have not
/// been swept yet, and one is deleted.
async fn fill(path: &Path, count: u64) {
    let tuning = Tuning { durable: false, max_group: 4096 };
    let records = SqliteRecords::open_tuned(path, tuning, |_, _| {}).expect("the database opens");
    let (records, mint) = (Arc::new(records), Arc::new(Mint::new()));
    let begin = SystemTime::now() - Duration::from_millis(10) * u32::try_from(count).expect("fits");
    let mut writers = JoinSet::new();
    for first in 0..4096 {
        let (records, mint) = (Arc::clone(&records), Arc::clone(&mint));
        writers.spawn(async move {
            for number in (first..count).step_by(4096) {
                let at = begin + Duration::from_millis(10) * u32::try_from(number).expect("fits");
                let mut record = mint.pending(number % 10_000, at);
                match number % 100 {
                    0 => record.state = UploadState::Deleted,
                    1 | 2 => {}
                    _ => record.state = UploadState::Ready,
                }
                if record.state != UploadState::Pending {
                    (record.revision, record.look_at, record.stored) = (2, None, Some(stored()));
                }
                records.insert(record, None).await.expect("it is recorded");
            }
        });
    }
    writers.join_all().await;
    records.close().await;
}

/// The calls of one kind that a client made, each with what it took, in seconds.
type Took = Vec<f64>;

/// Records uploads, then finalizes uploads that were just recorded, for so long each.
async fn rates(path: &Path, length: Duration, max_group: usize) {
    let tuning = Tuning { max_group, ..Tuning::default() };
    let records = SqliteRecords::open_tuned(path, tuning, |_, _| {}).expect("the database opens");
    let (records, mint) = (Arc::new(records), Arc::new(Mint::new()));
    let (mut inserting, mut finalizing) = (JoinSet::new(), JoinSet::new());
    for client in 0..CLIENTS {
        inserting.spawn(insert(Arc::clone(&records), Arc::clone(&mint), client, length));
    }
    let inserted = inserting.join_all().await;
    let mut took = Vec::new();
    for (mine, recorded) in inserted {
        took.extend(mine);
        finalizing.spawn(finalize(Arc::clone(&records), recorded, length));
    }
    let (insert_rate, insert_p99) = summary(took, length);
    let finalized = finalizing.join_all().await.into_iter().flatten().collect();
    let (finalize_rate, finalize_p99) = summary(finalized, length);
    records.close().await;
    println!(
        "{{\"inserts\": {insert_rate:.0}, \"insert_p99_ms\": {insert_p99:.3}, \
         \"finalizes\": {finalize_rate:.0}, \"finalize_p99_ms\": {finalize_p99:.3}}}"
    );
}

async fn insert(
    records: Arc<SqliteRecords>,
    mint: Arc<Mint>,
    client: u64,
    length: Duration,
) -> (Took, Vec<UploadRecord>) {
    let (begun, mut took, mut recorded) = (Instant::now(), Vec::new(), Vec::new());
    while begun.elapsed() < length {
        let record = mint.pending(client, SystemTime::now());
        let asked = Instant::now();
        records.insert(record.clone(), None).await.expect("it is recorded");
        took.push(asked.elapsed().as_secs_f64());
        recorded.push(record);
    }
    (took, recorded)
}

/// What a finalize asks of the store: the record, and two changes of it.
async fn finalize(
    records: Arc<SqliteRecords>,
    recorded: Vec<UploadRecord>,
    length: Duration,
) -> Took {
    let (begun, mut took) = (Instant::now(), Vec::new());
    for record in recorded {
        if begun.elapsed() >= length {
            break;
        }
        let asked = Instant::now();
        let (app, id) = (&record.app, record.key.id());
        let found = records.get(app, id).await.expect("the store answers").expect("it is there");
        let steps = [
            (UploadState::Pending, UploadState::Uploaded),
            (UploadState::Uploaded, UploadState::Ready),
        ];
        for ((from, to), revision) in steps.into_iter().zip(found.revision..) {
            let at = SystemTime::now();
            let change = Transition {
                app: app.clone(),
                id,
                revision,
                from,
                to,
                reason: None,
                stored: Some(stored()),
                look_at: record.next_look(to, GRACE, at),
                at,
            };
            records.transition(change).await.expect("nobody else changes it");
        }
        took.push(asked.elapsed().as_secs_f64());
    }
    took
}

/// Calls a second, and the time of the slowest but one in a hundred, in milliseconds.
fn summary(mut took: Took, length: Duration) -> (f64, f64) {
    took.sort_by(f64::total_cmp);
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    (took.len() as f64 / length.as_secs_f64(), p99 * 1e3)
}
