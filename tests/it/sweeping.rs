//! The sweeper, on running gateways and real stores: what nobody finalizes, what never comes, what
//! changes under a verdict, and what happens to it while storage is away.

mod commands;
mod looks;
mod outages;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use rusqlite::Connection;
use safelight::domain::StoragePath;
use safelight::storage::{ObjectMeta, ObjectStore as _, S3Config, S3Store, StorageErrorKind};
use serde_json::Value;

use crate::harness::embedded;
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file};
use crate::harness::plain_client::Answer;
use crate::harness::seaweed::{Seaweed, open};

/// A sweeper that is always at work.
const BUSY: &str = "[Sweeper]\nInterval = \"100ms\"\nGrace = \"0s\"\n";

/// A sweeper that is not seen during a test.
const IDLE: &str = "[Sweeper]\nInterval = \"1d\"\nGrace = \"0s\"\n";

/// After this an event is taken for one that never comes. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket of its own for an app, and a gateway's files for it.
struct Place {
    storage: S3Config,
    prefix: String,
}

impl Place {
    /// A part of the real server's bucket that no other test has.
    async fn real() -> Self {
        Self::on(Seaweed::shared().await.config())
    }

    /// On the real server, and on the store that is built in.
    async fn all() -> [Self; 2] {
        [Self::real().await, Self::on(embedded::start().await)]
    }

    fn on(storage: S3Config) -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        Self { storage, prefix: format!("sweeping-{:x}/", u64::from_be_bytes(random)) }
    }

    fn app(&self, sections: &str) -> String {
        app_file(&self.storage, "", sections).replace("images/", &self.prefix)
    }

    fn setup(&self, settings: &str) -> Setup {
        Setup::with_app("shop", self.app("")).and_settings(settings)
    }

    /// The bucket itself, past the gateway.
    fn store(&self) -> S3Store {
        open(self.storage.clone())
    }

    fn path(&self, key: &str) -> StoragePath {
        StoragePath::from_listing(&format!("{}{key}", self.prefix))
    }

    async fn stored(&self, key: &str) -> Option<ObjectMeta> {
        match self.store().head(&self.path(key)).await {
            Ok(meta) => Some(meta),
            Err(error) if error.kind == StorageErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn put(&self, key: &str, bytes: &'static [u8]) {
        let bytes = bytes::Bytes::from_static(bytes);
        self.store().put(&self.path(key), "image/jpeg", bytes).await.unwrap();
    }

    /// Every object, with its tag.
    async fn objects(&self) -> Vec<(String, Option<String>)> {
        let page = self.store().list(&self.prefix, None, 1000).await.unwrap();
        assert_eq!(page.next, None);
        let tag = |tag: safelight::domain::ETag| tag.as_str().to_owned();
        page.objects
            .into_iter()
            .map(|object| (object.path.as_str().to_owned(), object.etag.map(tag)))
            .collect()
    }
}

/// The database, as an operator's shell has it.
fn shell(gateway: &TestGateway) -> Connection {
    let shell = Connection::open(gateway.records_file()).unwrap();
    shell.busy_timeout(PATIENCE).unwrap();
    shell
}

/// Lets the URL and the session of an upload be over, and its time for a look be now.
fn expire(gateway: &TestGateway, grant: &Grant) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let sql = "UPDATE uploads SET url_expires_at = ?1 - 1, session_expires_at = ?1 - 1, \
               look_at = ?1 WHERE key = ?2";
    assert_eq!(shell(gateway).execute(sql, (now, grant.key())).unwrap(), 1);
}

/// Waits until no look is left for an upload.
async fn until_done(gateway: &TestGateway, grant: &Grant) {
    let shell = shell(gateway);
    until("nothing is left to look at", async || {
        let sql = "SELECT look_at IS NULL FROM uploads WHERE key = ?1";
        shell.query_row(sql, [grant.key()], |row| row.get(0)).unwrap()
    })
    .await;
}

/// Waits for something that can only be asked for again and again.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_state(gateway: &TestGateway, grant: &Grant, state: &str) {
    until(state, async || status(gateway, grant).await["state"] == state).await;
}

/// The state of an upload. Its quota of questions is smaller than a test's patience.
async fn status(gateway: &TestGateway, grant: &Grant) -> Value {
    let sql = "SELECT state, reason, stored_size, stored_etag FROM uploads WHERE key = ?1";
    let shell = shell(gateway);
    let row = shell.query_row(sql, [grant.key()], |row| {
        Ok(serde_json::json!({
            "state": row.get::<_, String>(0)?,
            "reason": row.get::<_, Option<String>>(1)?,
            "size": row.get::<_, Option<i64>>(2)?,
            "etag": row.get::<_, Option<String>>(3)?,
        }))
    });
    row.unwrap()
}

/// How many looks of the app's came to this.
async fn looks(gateway: &TestGateway, app: &str, outcome: &str) -> f64 {
    let series = format!("safelight_sweeper_looks_total{{app=\"{app}\",outcome=\"{outcome}\"}}");
    gateway.metrics().await.value(&series)
}

async fn finalize(gateway: &TestGateway, grant: &Grant) -> Answer {
    gateway.request(Method::POST, grant.text("finalizeURL")).send().await
}

/// Everything that is recorded.
fn rows(gateway: &TestGateway) -> Vec<String> {
    let shell = shell(gateway);
    let mut statement = shell.prepare("SELECT * FROM uploads ORDER BY id").unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let values = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column));
        Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}
