//! A real S3 server: SeaweedFS, started once for all tests of the process.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use safelight::domain::{Secret, Source};
use safelight::storage::{
    AccessKey, ObjectStore as _, Provider, S3Config, S3Credentials, S3Store, S3Timeouts,
};
use safelight::upstream::{AddressPolicy, Client};
use tokio::sync::OnceCell;
use url::Url;

use super::peers::{started, until_input_ends};

const BUCKET: &str = "media";
const VERSIONED_BUCKET: &str = "versioned-media";
pub const ACCESS_KEY_ID: &str = "AKIDSAFELIGHTTEST";
pub const SECRET_ACCESS_KEY: &str = "a-secret-of-the-tests-only";

/// A loaded machine takes seconds where an idle one takes one.
const START_LIMIT: Duration = Duration::from_secs(60);

/// SeaweedFS derives the port of each gRPC service from the HTTP one.
const GRPC_OFFSET: u16 = 10_000;

/// A running server.
pub struct Seaweed {
    endpoint: Url,
    /// Its standard input is the life line of the server.
    process: Child,
}

impl Seaweed {
    /// The server of this test process.
    ///
    /// # Panics
    /// If SeaweedFS is not installed, or does not start.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Seaweed> = OnceCell::const_new();
        SHARED.get_or_init(|| started("SeaweedFS", async || Self::start(None).await)).await
    }

    /// A server of one's own that tells a webhook of what happens.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn with_webhook(url: &str, secret: &str) -> Self {
        let notification = format!(
            "[notification.webhook]\nenabled = true\nendpoint = \"{url}\"\n\
             bearer_token = \"{secret}\"\n"
        );
        started("SeaweedFS", async || Self::start(Some(&notification)).await).await
    }

    /// The settings of a bucket that keeps every version of its objects.
    pub fn versioned_config(&self) -> S3Config {
        S3Config { bucket: VERSIONED_BUCKET.into(), ..self.config() }
    }

    /// The settings of the test bucket.
    pub fn config(&self) -> S3Config {
        S3Config {
            bucket: BUCKET.into(),
            provider: Provider::SeaweedFs,
            region: "us-east-1".into(),
            endpoint: Some(self.endpoint.clone()),
            path_style: true,
            credentials: S3Credentials::Key(AccessKey {
                access_key_id: ACCESS_KEY_ID.into(),
                secret_access_key: Secret::new(SECRET_ACCESS_KEY),
                session_token: None,
            }),
            source: Source::S3,
            timeouts: S3Timeouts::default(),
        }
    }

    async fn start(notification: Option<&str>) -> Option<Self> {
        let weed = binary();
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let identities = serde_json::json!({"identities": [{
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        let settings = dir.join("s3.json");
        fs::write(&settings, identities.to_string()).expect("the settings are written");
        if let Some(notification) = notification {
            fs::write(dir.join("notification.toml"), notification).expect("it is written");
        }
        let log = dir.join("log");
        let [master, volume, filer, s3, admin] = free_ports();

        let process = until_input_ends(&weed, &dir, &log)
            .arg("-logtostderr=true")
            .arg(format!("-config_dir={}", dir.display()))
            .args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .arg(format!("-dir={}", dir.display()))
            .arg(format!("-s3.config={}", settings.display()))
            .arg(format!("-s3.localSocket={}", dir.join("s3.sock").display()))
            .arg(format!("-filer.localSocket={}", dir.join("filer.sock").display()))
            .arg(format!("-bucket={BUCKET},{VERSIONED_BUCKET}"))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-admin.port={admin}"))
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"])
            .args(["-master.telemetry=false", "-s3.autoCreateBucket=false"])
            .spawn()
            .expect("sh starts");
        let endpoint = Url::parse(&format!("http://127.0.0.1:{s3}")).expect("a URL");
        let mut started = Self { endpoint, process };
        if is_ready_in_time(&mut started).await {
            keep_versions(&weed, master);
            return Some(started);
        }
        eprintln!("{}", tail(&log));
        None
    }
}

/// The key that the settings of a test have.
pub fn key_of(config: &S3Config) -> AccessKey {
    match &config.credentials {
        S3Credentials::Key(key) => key.clone(),
        S3Credentials::Process(_) => panic!("the settings of tests have keys"),
    }
}

/// The settings with another access key.
pub fn with_key(config: &S3Config, id: &str, secret: &str) -> S3Config {
    let credentials = S3Credentials::Key(AccessKey {
        access_key_id: id.into(),
        secret_access_key: Secret::new(secret),
        session_token: None,
    });
    S3Config { credentials, ..config.clone() }
}

/// A store on settings, with a client of its own: a client belongs to the runtime of one test.
pub fn open(config: S3Config) -> S3Store {
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let client = Client::new(policy).expect("the system has certificate authorities");
    S3Store::new(config, client).expect("the settings are right")
}

/// The program.
fn binary() -> PathBuf {
    let path = std::env::var_os("SAFELIGHT_TEST_WEED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/venv/bin/weed"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "these tests need SeaweedFS, and there is none at {}: run tests/peers, \
         or set SAFELIGHT_TEST_WEED to a weed 4.48 program",
        path.display()
    );
    path
}

/// Ports that are free together with the gRPC ports that go with them.
fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    std::array::from_fn(|_| {
        loop {
            let http = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = http.local_addr().expect("a bound socket").port();
            let grpc =
                port.checked_add(GRPC_OFFSET).map(|port| TcpListener::bind(("127.0.0.1", port)));
            let usable = matches!(grpc, Some(Ok(_)));
            // Held until all are found, so that none is found twice.
            held.push((http, grpc));
            if usable {
                return port;
            }
        }
    })
}

/// Turns versioning on, by the server's own tool.
fn keep_versions(weed: &Path, master: u16) {
    let mut shell = Command::new(weed)
        .args(["shell", &format!("-master=127.0.0.1:{master}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the shell of SeaweedFS starts");
    let command = format!("s3.bucket.versioning -name {VERSIONED_BUCKET} -enable\nexit\n");
    let mut input = shell.stdin.take().expect("it was asked for");
    input.write_all(command.as_bytes()).expect("the shell reads");
    drop(input);
    assert!(shell.wait().expect("the shell is ours").success(), "versioning is turned on");
}

/// Whether the buckets can be listed before the time is up. It can only be asked for again and again:
/// the server tells nobody when it is ready.
async fn is_ready_in_time(server: &mut Seaweed) -> bool {
    let stores = [server.config(), server.versioned_config()].map(open);
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        let listed = join_all(stores.iter().map(|store| store.list("", None, 1))).await;
        if listed.iter().all(Result::is_ok) {
            return true;
        }
        if server.process.try_wait().expect("the process is ours").is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// The end of a log, where it says why.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
