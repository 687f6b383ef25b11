//! A gateway as production starts it, from files in a folder of its own, on free ports.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use http::Method;
use safelight::apps::{LoadContext, fingerprint, load_apps};
use safelight::domain::{AppName, CleanName, MINT_ENTROPY_BYTES, MintSecrets, MintedKey, Secret};
use safelight::gateway::{Configuration, Gateway, app_files};
use safelight::settings::Settings;
use safelight::storage::{S3Access, S3Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::plain_client::{Answer, Plain};
use super::program::{Ended, Program};
use super::seaweed::key_of;

/// What the gateway's public URLs begin with. Nobody resolves it: the tests send what is for it to
/// the gateway's own address.
pub const PUBLIC_BASE: &str = "https://media.test";

/// The secret with which the gateways of the tests mint keys.
const MINT_SECRET: &str = "mint-secret-of-the-tests-0123456789abcdef";

/// A running gateway, its folder, and a client's view of it.
pub struct TestGateway {
    gateway: Option<Gateway>,
    /// In place of `gateway`: the program itself.
    program: Option<Program>,
    folder: TempDir,
    pub base: String,
    pub admin: String,
}

/// The settings of a gateway and the files of its apps, before it starts.
pub struct Setup {
    settings: String,
    /// Lines of `[Server]`.
    server: String,
    apps: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
    embedded: Option<S3Access>,
}

impl Setup {
    /// A gateway with one app.
    pub fn with_app(name: &str, file: impl Into<String>) -> Self {
        Self {
            settings: String::new(),
            server: String::new(),
            apps: vec![(name.into(), file.into())],
            secrets: Vec::new(),
            embedded: None,
        }
    }

    /// Another app beside the first.
    pub fn and_app(mut self, name: &str, file: impl Into<String>) -> Self {
        self.apps.push((name.into(), file.into()));
        self
    }

    /// A file of an app's secrets, named as `{app}/{name}`.
    pub fn and_secret(mut self, path: &str, text: &str) -> Self {
        self.secrets.push((path.into(), text.into()));
        self
    }

    /// More settings, as they stand in `safelight.toml`.
    pub fn and_settings(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self
    }

    /// More lines of `[Server]`.
    pub fn and_server(mut self, lines: &str) -> Self {
        self.server.push_str(&format!("{lines}\n"));
        self
    }

    /// Trusts what these networks say of their clients.
    pub fn trusting(mut self, networks: &[&str]) -> Self {
        self.server.push_str(&format!("TrustedProxies = {networks:?}\n"));
        self
    }

    /// Where the embedded store is, for apps of `Kind = "embedded"`.
    pub fn and_embedded(mut self, access: S3Access) -> Self {
        self.embedded = Some(access);
        self
    }

    /// What it would be started with; it is not.
    pub fn configuration(&self) -> Configuration {
        configure(tempfile::tempdir().unwrap().path(), self)
    }

    /// Its files in a folder, for a command: the folder, and the path of the settings.
    pub fn files(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let settings = write_files(folder.path(), self);
        (folder, settings)
    }

    /// Starts the program itself, with nothing in its environment but these variables.
    pub fn serve(self, environment: &[(&str, &str)]) -> TestGateway {
        let (folder, settings) = self.files();
        let mut program = Program::serve(&settings, environment);
        let (base, admin) = program.addresses();
        TestGateway { gateway: None, program: Some(program), folder, base, admin }
    }

    /// Starts it through the production constructor.
    pub async fn start(self) -> TestGateway {
        let folder = tempfile::tempdir().unwrap();
        TestGateway::start(folder, self).await
    }

    /// The same, in a folder that another one has left.
    pub async fn start_in(self, folder: TempDir) -> TestGateway {
        TestGateway::start(folder, self).await
    }
}

impl TestGateway {
    async fn start(folder: TempDir, setup: Setup) -> Self {
        let (gateway, setup) = launch(folder.path(), setup).await;
        drop(setup);
        let base = format!("http://{}", gateway.address);
        let admin = format!("http://{}", gateway.admin_address);
        Self { gateway: Some(gateway), program: None, folder, base, admin }
    }

    /// Stops it in order, and starts another one on the same folder.
    pub async fn restart(mut self, setup: Setup) -> Self {
        self.gateway.take().expect("it runs").stop(Duration::ZERO).await;
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start(folder, setup).await
    }

    /// Begins to stop it in order; the task ends when it has stopped.
    pub fn begin_to_stop(&mut self, notice: Duration) -> JoinHandle<()> {
        let gateway = self.gateway.take().expect("it runs");
        tokio::spawn(gateway.stop(notice))
    }

    /// The memory of the program itself that is resident now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let id = self.program.as_ref().expect("the program itself runs").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of KiB")
    }

    /// Ends the program in order, and says how it ended.
    pub fn terminate(mut self) -> Ended {
        let program = self.program.take().expect("the program itself runs");
        program.terminate();
        program.ended()
    }

    /// The folder of everything that it has.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes an app's file anew, as an editor does it: beside it, and then in its place.
    pub fn write_app(&self, name: &str, file: &str) {
        let dir = self.folder.path().join("apps.d");
        fs::write(dir.join(".next"), file).unwrap();
        fs::rename(dir.join(".next"), dir.join(format!("{name}.toml"))).unwrap();
    }

    /// Takes an app's file away.
    pub fn delete_app(&self, name: &str) {
        fs::remove_file(self.folder.path().join(format!("apps.d/{name}.toml"))).unwrap();
    }

    /// What the operator is told of every app.
    pub async fn apps(&self) -> Vec<Value> {
        let answer = Plain::new(Method::GET, format!("{}/apps", self.admin)).send().await;
        answer.assert_success();
        answer.json().as_array().expect("a list").clone()
    }

    /// What the operator is told of an app.
    pub async fn app(&self, name: &str) -> Option<Value> {
        self.apps().await.into_iter().find(|app| app["app"] == name)
    }

    /// Asks until an app stands to its file in this way; gives what is told of it then.
    pub async fn until_app(&self, name: &str, state: &str) -> Value {
        eventually(&format!("{name} is {state}"), async || {
            self.app(name).await.filter(|app| app["state"] == state)
        })
        .await
    }

    /// Asks until an app is what this file says; gives what is told of it then.
    pub async fn until_live(&self, name: &str, file: &str) -> Value {
        let expected = fingerprint(file);
        eventually(&format!("{name} has changed"), async || {
            let app = self.app(name).await?;
            (app["state"] == "live" && app["fingerprint"] == *expected).then_some(app)
        })
        .await
    }

    /// The file of its settings, for a command beside it.
    pub fn settings_file(&self) -> PathBuf {
        self.folder.path().join("safelight.toml")
    }

    /// Stops it in order, and leaves its folder.
    pub async fn stop(mut self) -> TempDir {
        self.gateway.take().expect("it runs").stop(Duration::ZERO).await;
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// The file of the record store.
    pub fn records_file(&self) -> PathBuf {
        self.folder.path().join("data/safelight.db")
    }

    /// The gateway's own address for a public URL.
    pub fn local(&self, public: &str) -> String {
        let path = public.strip_prefix(PUBLIC_BASE).expect("the URL is one of this gateway's");
        format!("{}{path}", self.base)
    }

    /// A request to a path or to a public URL.
    pub fn request(&self, method: Method, path: &str) -> Plain {
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.base),
            false => self.local(path),
        };
        Plain::new(method, url)
    }

    /// Reads a path or a public URL.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().await
    }

    /// Asks for an upload of this file name, as this owner.
    pub async fn presign(&self, app: &str, owner: &str, body: Value) -> Answer {
        self.request(Method::POST, &format!("/darkroom/{app}/v1/images/presigned-urls"))
            .with_header("X_Owner_Id", Some(owner))
            .with_header("Content-Type", Some("application/json"))
            .with_body(body.to_string())
            .send()
            .await
    }

    /// Asks for an upload that must be granted.
    pub async fn granted(&self, app: &str, file: &str) -> Grant {
        let answer = self.presign(app, "owner-1", json!({ "file": file })).await;
        answer.assert_success();
        Grant(answer.json()["data"].clone())
    }

    /// Asks for an upload and uploads, as a client that knows nothing of signatures.
    pub async fn uploaded(&self, app: &str, file: &str, bytes: &[u8]) -> Grant {
        let grant = self.granted(app, file).await;
        grant.put(bytes).send().await.assert_success();
        grant
    }

    /// What the gateway says of an upload.
    pub async fn status(&self, app: &str, grant: &Grant) -> Value {
        let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
        let answer = self.get(&format!("/darkroom/{app}/v1/uploads/{id}?token={token}")).await;
        answer.assert_success();
        answer.json()["data"].clone()
    }

    /// Asks until an upload is in a state that nobody tells of; gives what is said of it then.
    pub async fn until_state(&self, app: &str, grant: &Grant, state: &str) -> Value {
        eventually(state, async || {
            // Each upload has a limit on such questions, one a second in the long run.
            let status = self.status(app, grant).await;
            (status["state"] == state).then_some(status)
        })
        .await
    }

    /// Asks until a series has at least this value.
    pub async fn until_counted(&self, series: &str, least: f64) {
        eventually(series, async || (self.metrics().await.value(series) >= least).then_some(()))
            .await;
    }

    /// The metrics, as Prometheus sees them.
    pub async fn metrics(&self) -> Metrics {
        let answer = Plain::new(Method::GET, format!("{}/metrics", self.admin)).send().await;
        answer.assert_success();
        Metrics(answer.text())
    }
}

/// After this, what is awaited is taken for something that never comes. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long nobody is asked again.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(500);

/// Asks until there is an answer: for what happens in another process, which tells nobody.
///
/// # Panics
/// If there is none in time.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(BETWEEN_QUESTIONS).await;
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// Loads the files and starts the gateway.
async fn launch(folder: &Path, setup: Setup) -> (Gateway, Setup) {
    let configuration = configure(folder, &setup);
    (Gateway::start(configuration).await.expect("the gateway starts"), setup)
}

/// Writes the files into a folder, and gives the path of the settings.
fn write_files(folder: &Path, setup: &Setup) -> PathBuf {
    let apps_dir = folder.join("apps.d");
    fs::create_dir_all(&apps_dir).unwrap();
    fs::create_dir_all(folder.join("data")).unwrap();
    for (name, file) in &setup.apps {
        fs::write(apps_dir.join(format!("{name}.toml")), one_source_at_a_time(file)).unwrap();
    }
    for (path, text) in &setup.secrets {
        let path = folder.join("secrets").join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).unwrap();
        fs::write(path, text).unwrap();
    }
    let settings_file = folder.join("safelight.toml");
    let text = settings_text(folder, &setup.settings);
    let server = format!("[Server]\n{}", setup.server);
    fs::write(&settings_file, text.replacen("[Server]\n", &server, 1)).unwrap();
    settings_file
}

/// The file of an app with a CDN, whose reads ask storage only after the CDN, unless it says
/// otherwise: most tests are about one source and count what it was asked.
fn one_source_at_a_time(file: &str) -> String {
    let mut file = file.to_owned();
    if !file.contains("CloudFrontURL") {
        return file;
    }
    for (key, value) in [("OriginShare", "0"), ("HedgeAfter", "\"off\"")] {
        if file.contains(key) {
            continue;
        }
        match file.find("[Read]\n") {
            Some(at) => file.insert_str(at + "[Read]\n".len(), &format!("{key} = {value}\n")),
            None => file.push_str(&format!("\n[Read]\n{key} = {value}\n")),
        }
    }
    file
}

/// Writes the files and loads them.
fn configure(folder: &Path, setup: &Setup) -> Configuration {
    let settings_file = write_files(folder, setup);
    let settings = Settings::load(Some(&settings_file), std::iter::empty())
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    let context = LoadContext {
        address_policy: &settings.server.address_policy,
        max_url_expiry: settings.server.max_url_expiry,
        secrets_dir: &settings.server.secrets_dir,
        env: &|_| None,
        grants: &settings.grants,
        trusted_proxies: settings.server.trusted_proxies.as_ref(),
    };
    let (apps, errors) = load_apps(&settings.server.apps_dir, &context);
    assert!(errors.is_empty(), "{errors:#?}");
    let files = Some(app_files(&settings, std::sync::Arc::new(|_| None)));
    Configuration { settings, apps, embedded: setup.embedded.clone(), files }
}

/// The settings of a gateway whose files are in a folder. Unless they say more of it, nothing is kept
/// in memory: most tests are about the sources.
pub fn settings_text(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    let cache = if more.contains("[Cache]") { "" } else { "[Cache]\nSize = \"0B\"" };
    format!(
        r#"
[Server]
Listen = "127.0.0.1:0"
AdminListen = "127.0.0.1:0"
PublicBaseURL = "{PUBLIC_BASE}"
AppsDir = "{folder}/apps.d"
SecretsDir = "{folder}/secrets"
AllowLoopbackUpstreams = true
[Records]
URL = "sqlite:{folder}/data/safelight.db"
[Keys]
MintSecrets = ["{MINT_SECRET}"]
SigningSecrets = ["signing-secret-of-the-tests-0123456789abc"]
{cache}
{more}
"#
    )
}

/// A key such as the gateways of the tests mint for a file of this app's at that time.
pub fn mint_key(app: &str, at: SystemTime, file: &str) -> String {
    let secrets = MintSecrets::new(vec![Secret::new(MINT_SECRET)]).unwrap();
    let mut entropy = [0; MINT_ENTROPY_BYTES];
    getrandom::fill(&mut entropy).unwrap();
    let name = CleanName::image();
    let (_, extension) = file.rsplit_once('.').expect("a file name with an extension");
    let app = AppName::parse(app).unwrap();
    MintedKey::mint(&secrets, &app, at, entropy, &name, extension).as_str().to_owned()
}

/// An app's file: its storage, and what else it says. `head` stands before the first section.
pub fn app_file(storage: &S3Config, head: &str, sections: &str) -> String {
    let endpoint = storage.endpoint.as_ref().expect("the tests' stores have endpoints");
    let key = key_of(storage);
    let secret = key.secret_access_key.expose_str().unwrap();
    format!(
        r#"
AllowPublicUpload = true
{head}
[Storage]
Kind = "s3"
Bucket = "{}"
Region = "{}"
Endpoint = "{}"
KeyPrefix = "images/"
AccessKeyID = "{}"
SecretAccessKey = "{secret}"
{sections}
"#,
        storage.bucket,
        storage.region,
        endpoint.as_str().trim_end_matches('/'),
        key.access_key_id,
    )
}

/// The file of an app whose store does not exist: whatever asks it fails. Signing asks nobody.
pub fn offline_app_file(head: &str, sections: &str) -> String {
    format!(
        r#"
AllowPublicUpload = true
{head}
[Storage]
Kind = "s3"
Bucket = "nowhere"
Region = "us-east-1"
Endpoint = "http://127.0.0.1:1"
AccessKeyID = "AKIDNOBODY"
SecretAccessKey = "no-secret"
{sections}
"#
    )
}

/// The data of a granted upload.
pub struct Grant(pub Value);

impl Grant {
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("{field} is a string in {}", self.0))
    }

    pub fn public_url(&self) -> &str {
        self.text("publicURL")
    }

    pub fn key(&self) -> &str {
        self.text("key")
    }

    /// The PUT that the answer asks for, with exactly the headers that it names.
    pub fn put(&self, bytes: &[u8]) -> Plain {
        let mut put = Plain::new(Method::PUT, self.text("uploadURL")).with_body(bytes.to_vec());
        for (name, value) in self.0["headers"].as_object().expect("headers is an object") {
            put = put.with_header(name, value.as_str());
        }
        put
    }
}

/// The metrics in text form.
pub struct Metrics(pub String);

impl Metrics {
    /// The value of a series, named exactly as it is printed (labels in alphabetical order).
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        let line = self
            .0
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("{series} is not among the metrics"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The sum of a metric over all its series.
    pub fn sum(&self, metric: &str) -> f64 {
        let mine = |line: &&str| {
            line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        self.0
            .lines()
            .filter(mine)
            .map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// How often reads of this app fell back, for this reason and with this result.
    #[track_caller]
    pub fn fallbacks(&self, app: &str, reason: &str, result: &str) -> f64 {
        let labels = format!("app=\"{app}\",reason=\"{reason}\",result=\"{result}\"");
        self.value(&format!("safelight_cdn_fallbacks_total{{{labels}}}"))
    }
}
