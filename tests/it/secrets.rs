//! Secrets stay secret: a gateway with a recognisable one in every place that takes one goes through
//! what succeeds and what fails, and none of them appears in its log, in its answers or in what its
//! commands say. Nor do signatures, tokens, owners and query strings, but in the one answer that
//! grants them.

mod types;
mod wrong_places;

use http::Method;
use safelight::identity::KeyHash;
use serde_json::{Value, json};

use crate::harness::dead_ends::nobody;
use crate::harness::fake_gcs::{FakeGcs, KEY_FILE, storage_section};
use crate::harness::gateway::{Grant, Setup, TestGateway, eventually, mint_key};
use crate::harness::google::{KeyServer, SigningKey};
use crate::harness::photos::{JPEG, WEBP};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::{Ended, run_with};
use crate::harness::published::Published;
use crate::harness::seaweed::{Seaweed, key_of};
use crate::harness::wire_cdn::{Act, End, TrustedKey, WireCdn, cookie};
use crate::signed_cdn::{KEY_ID, P256, SIGNED};

const OWNER: &str = "owner-Qm8x-whom-nobody-may-know";
const QUERY: &str = "query-Zr4k-that-nobody-may-know";
/// What the collector of spans is shown. Nobody listens there.
const COLLECTOR: &str = "collector-Qd6x-secret";
const WEBHOOK: &str = "webhook-Vb2n-secret-0123456789abcdef0123";
const OWN_ID: &str = "AKIDWr7pDENIED";
const OWN_SECRET: &str = "denied-Tj5s-secret-access-key";
const OWN_TOKEN: &str = "denied-Lh9c-session-token";
const FILED_ID: &str = "AKIDUf3dGONE";
const FILED_SECRET: &str = "gone-Xe6m-secret-access-key";
const PROCESS_ID: &str = "AKIDPy1bPROCESS";
const PROCESS_SECRET: &str = "process-Kd7t-secret-access-key";
const PROCESS_TOKEN: &str = "process-Gn2v-session-token";
/// What a server of an application proves itself with.
const API_KEY: &str = "safelight_api-Mc4w-key-of-the-application";
const IDEMPOTENCY: &str = "idempotency-Fs8j-key";
/// Secrets of strangers, who try whether they are right.
const GUESSES: [&str; 3] = ["guess-Ab1x-bearer", "guess-Cd2y-token", "guess-Ef3z-cookie"];

/// The environment of the process.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("SAFELIGHT_LOG", "trace,aws_sigv4=trace,aws_smithy_runtime=trace,google_cloud_auth=trace"),
    ("SAFELIGHT_APP_GONE_ID", FILED_ID),
    ("SAFELIGHT_APP_GONE_SECRET", FILED_SECRET),
    ("AWS_ACCESS_KEY_ID", PROCESS_ID),
    ("AWS_SECRET_ACCESS_KEY", PROCESS_SECRET),
    ("AWS_SESSION_TOKEN", PROCESS_TOKEN),
    ("RUST_BACKTRACE", "1"),
];

/// The apps of the scene, by the kind of secrets that they have.
const APPS: [&str; 6] = ["shop", "denied", "gone", "granted", "google", "keys"];

/// What must not be told, and what to call it.
#[derive(Default, Clone)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 6, "{what} is too short to be recognised: {secret:?}");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// What nobody at all is told: what is configured, and what clients send.
    fn lasting(storage_secret: &str) -> Self {
        let mut all = Self::default();
        let key: Value = serde_json::from_str(KEY_FILE).unwrap();
        let google = key["private_key"].as_str().unwrap();
        for (what, secret) in [
            ("the owner", OWNER),
            ("a query string", QUERY),
            ("the webhook's secret", WEBHOOK),
            ("the collector's key", COLLECTOR),
            ("a secret key in the file", OWN_SECRET),
            ("a secret key in a file of its own", FILED_SECRET),
            ("the process's secret key", PROCESS_SECRET),
            ("the storage's secret key", storage_secret),
            ("the Idempotency-Key", IDEMPOTENCY),
            ("an API key", API_KEY),
            ("a mint secret", "mint-secret-of-the-tests"),
            ("a signing secret", "signing-secret-of-the-tests"),
            ("the key of a service account", google.lines().nth(3).unwrap()),
            ("the key of a distribution", P256.lines().nth(1).unwrap()),
            ("a private key", "PRIVATE KEY"),
        ] {
            all.add(what, secret);
        }
        for guess in GUESSES {
            all.add("what a stranger tried", guess);
        }
        all
    }

    /// What is told to the one who is granted an upload, and to nobody else.
    fn and_granted(mut self, grants: &[Grant]) -> Self {
        for (what, text) in [
            ("a key's id in the file", OWN_ID),
            ("a key's id in a variable", FILED_ID),
            ("the process's key id", PROCESS_ID),
            // A part of each URL that is signed with it.
            ("a session token in the file", OWN_TOKEN),
            ("the process's session token", PROCESS_TOKEN),
            ("a signed URL", "X-Amz-"),
            ("a signed URL of Google's", "X-Goog-"),
            ("a signed header", "AWS4-HMAC-SHA256"),
            ("a token's name", "token="),
            ("the cookies of the CDN", "CloudFront-"),
        ] {
            self.add(what, text);
        }
        for grant in grants {
            self.add("an upload token", grant.text("uploadToken"));
            let url = url::Url::parse(grant.text("uploadURL")).unwrap();
            for (name, value) in url.query_pairs().filter(|(name, _)| name.ends_with("-Signature"))
            {
                self.add(&name, &value);
            }
        }
        self
    }

    #[track_caller]
    fn assert_not_in(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{place} tells {what}, {secret:?}:\n{}", line.unwrap());
        }
    }
}

/// The gateway, and the servers that it talks to.
struct Scene {
    setup: Setup,
    cdn: WireCdn,
    photo: Published,
    storage_secret: String,
    _keys: KeyServer,
}

async fn scene() -> Scene {
    let storage = Seaweed::shared().await.config();
    let key = key_of(&storage);
    let storage_secret = key.secret_access_key.expose_str().unwrap().to_owned();
    let endpoint = storage.endpoint.as_ref().unwrap().as_str().trim_end_matches('/').to_owned();
    let photo = Published::photo(&storage, WEBP).await;
    let cdn = WireCdn::start().await;
    cdn.put(&photo.cdn_path(), photo.copy());
    cdn.restrict_to(TrustedKey::p256(KEY_ID, P256));
    let keys = KeyServer::start().await;
    let google = FakeGcs::shared().await.config().await.endpoint.expect("an emulator has one");

    let s3 = |prefix: &str, endpoint: &str, rest: &str| {
        format!(
            "[Storage]\nBucket = \"media\"\nRegion = \"us-east-1\"\nKeyPrefix = \"{prefix}/\"\n\
             Endpoint = \"{endpoint}\"\n{rest}\n"
        )
    };
    let own =
        |id: &str, secret: &str| format!("AccessKeyID = \"{id}\"\nSecretAccessKey = \"{secret}\"");
    let open = "AllowPublicUpload = true\n";
    let patient = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";
    let shop = format!(
        "{open}CloudFrontURL = \"{}\"\n{}{patient}\n{SIGNED}\n",
        cdn.url(),
        s3("images", &endpoint, &own(&key.access_key_id, "file:secret")),
    );
    let denied = own(OWN_ID, OWN_SECRET) + &format!("\nSessionToken = \"{OWN_TOKEN}\"");
    let gone = own("env:SAFELIGHT_APP_GONE_ID", "env:SAFELIGHT_APP_GONE_SECRET");
    let setup = Setup::with_app("shop", shop)
        .and_app("denied", format!("{open}{}", s3("denied", &endpoint, &denied)))
        .and_app("gone", format!("{open}{}", s3("gone", &nobody(), &gone)))
        .and_app("granted", format!("{open}{}", s3("granted", &endpoint, "")))
        .and_app(
            "keys",
            format!(
                "{}[Identity]\nApiKeys = [{{ ID = \"backend\", Hash = \"{}\", Owners = \"any\" }}]\n",
                s3("keys", &endpoint, &own(&key.access_key_id, "file:secret")),
                KeyHash::of(API_KEY)
            ),
        )
        .and_app("google", format!("{open}{}", storage_section(&google)))
        .and_secret("shop/secret", &storage_secret)
        .and_secret("keys/secret", &storage_secret)
        .and_secret("shop/cloudfront.pem", P256)
        .and_secret("google/key.json", KEY_FILE)
        .and_settings(&format!(
            "[[Grants]]\nApp = \"granted\"\nBucket = \"media\"\nEndpoint = \"{endpoint}\"\n\
             [Tracing]\nOTLPEndpoint = \"{}\"\nHeaders = [\"X-Key: {COLLECTOR}\"]\n\
             [Events.Push]\nWebhook = {{ Secret = \"{WEBHOOK}\" }}\n\
             PubSub = {{ Audience = \"https://media.test/push\", ServiceAccount = \
             \"push@tests.iam.gserviceaccount.com\", JWKSURL = \"{}\" }}\n",
            nobody(),
            keys.url
        ));
    Scene { setup, cdn, photo, storage_secret, _keys: keys }
}

/// What came of it all.
#[derive(Default)]
struct Story {
    grants: Vec<Grant>,
    /// Answers that grant somebody an upload.
    granting: Vec<(String, Answer)>,
    others: Vec<(String, Answer)>,
}

impl Story {
    async fn ask(&mut self, what: &str, plain: Plain) {
        let answer = plain.send().await;
        self.others.push((what.to_owned(), answer));
    }

    /// An upload and everything that can be asked about it, rightly and wrongly.
    async fn upload(&mut self, gateway: &TestGateway, app: &str) {
        let root = format!("/darkroom/{app}/v1");
        let proof = format!("Bearer {API_KEY}");
        let presign = |owner: &str, body: Value| {
            gateway
                .request(Method::POST, &format!("{root}/images/presigned-urls?q={QUERY}"))
                .with_header("X_Owner_Id", Some(owner))
                .with_header("Authorization", (app == "keys").then_some(&*proof))
                .with_body(body.to_string())
        };
        let guessed = presign(OWNER, json!({"file": JPEG.file}))
            .with_header("Authorization", Some(&format!("Bearer {}", GUESSES[0])));
        if app == "keys" {
            self.ask("a guessed key", guessed).await;
        }
        let keyed = presign(OWNER, json!({"file": JPEG.file, "contentType": "image/jpeg"}))
            .with_header("Idempotency-Key", Some(IDEMPOTENCY));
        let answer = keyed.send().await;
        self.ask("another upload under the same key", {
            presign(OWNER, json!({"file": "another.png"}))
                .with_header("Idempotency-Key", Some(IDEMPOTENCY))
        })
        .await;
        self.ask("a bad file", presign(OWNER, json!({"file": format!("{QUERY}/../x")}))).await;
        self.ask("no owner", presign("", json!({"file": JPEG.file}))).await;
        let two = presign(OWNER, json!({"file": JPEG.file})).and_header("X-Owner-Id", GUESSES[0]);
        self.ask("two owners", two).await;
        if !answer.status.is_success() {
            self.others.push((format!("{app}: presign"), answer));
            return;
        }
        let grant = Grant(answer.json()["data"].clone());
        self.granting.push((format!("{app}: presign"), answer));
        let _ = grant.put(JPEG.bytes).attempt().await;
        let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
        for token in [GUESSES[1], token] {
            for (method, rest) in
                [(Method::GET, ""), (Method::POST, "/upload-url"), (Method::POST, "/finalize")]
            {
                let path = format!("{root}/uploads/{id}{rest}");
                let by_query = gateway.request(method.clone(), &format!("{path}?token={token}"));
                let answer = by_query.send().await;
                match rest {
                    "/upload-url" if answer.status.is_success() => {
                        let renewed = answer.json()["data"].clone();
                        assert!(renewed["uploadURL"].is_string());
                        self.granting.push((format!("{app}: renewal"), answer));
                    }
                    rest => self.others.push((format!("{app}: {method} {rest}"), answer)),
                }
                let by_header = gateway.request(method, &path);
                let by_header = by_header.with_header("Upload-Token", Some(GUESSES[1]));
                self.ask(&format!("{app}: {rest} with a guess"), by_header).await;
            }
        }
        let read = gateway
            .request(Method::GET, &format!("/darkroom/{app}/v2/images/{}?{QUERY}", grant.key()))
            .with_header("Authorization", Some(&format!("Bearer {}", GUESSES[0])))
            .with_header("Cookie", Some(GUESSES[2]))
            .with_header("X_Owner_Id", Some(OWNER));
        self.ask(&format!("{app}: read"), read).await;
        let abandon = format!("{root}/uploads/{id}?token={token}");
        self.ask(&format!("{app}: abandon"), gateway.request(Method::DELETE, &abandon)).await;
        self.multipart(gateway, app).await;
        self.grants.push(grant);
    }

    async fn multipart(&mut self, gateway: &TestGateway, app: &str) {
        let path = format!("/darkroom/{app}/v1/images/multipart-uploads?{QUERY}");
        let begun = gateway
            .request(Method::POST, &path)
            .with_header("X_Owner_Id", Some(OWNER))
            .with_body(json!({"file": JPEG.file, "size": 6 << 20}).to_string());
        let answer = begun.send().await;
        let kind = if answer.status.is_success() { &mut self.granting } else { &mut self.others };
        kind.push((format!("{app}: multipart"), answer));
    }

    async fn events(&mut self, gateway: &TestGateway) {
        let event = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
            "bucket": {"name": "media"}, "object": {"key": format!("images/{QUERY}.jpg")}}}]});
        let token = SigningKey::second().sign(&json!({"aud": GUESSES[0]}));
        for (sender, bearer) in [
            ("webhook", WEBHOOK),
            ("webhook", GUESSES[0]),
            ("pubsub", GUESSES[0]),
            ("pubsub", &token),
        ] {
            for body in [event.to_string(), format!("{{\"{QUERY}")] {
                let path = format!("/darkroom/_events/{sender}?{QUERY}");
                let push = gateway.request(Method::POST, &path);
                let push = push.with_header("Authorization", Some(&format!("Bearer {bearer}")));
                self.ask(sender, push.with_body(body)).await;
            }
        }
    }

    /// Reads through the CDN: as it should be, and with what may go wrong there.
    async fn reads(&mut self, gateway: &TestGateway, scene: (&WireCdn, &Published)) {
        let (cdn, photo) = scene;
        let path = format!("{}?{QUERY}", photo.path());
        self.ask("a read", gateway.request(Method::GET, &path)).await;
        for head in [
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            cdn.next(Act::Raw(head.as_bytes().to_vec(), End::Close));
            self.ask("a read that falls back", gateway.request(Method::GET, &path)).await;
        }
        for app in APPS {
            let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
            let key = mint_key(app, yesterday, "missing.jpg");
            let path = format!("/darkroom/{app}/v2/images/{key}?{QUERY}");
            self.ask("a read of what is not there", gateway.request(Method::GET, &path)).await;
        }
        self.ask("nowhere", gateway.request(Method::GET, &format!("/{QUERY}"))).await;
    }
}

fn whole(answer: &Answer) -> String {
    format!("{} {:?}\n{}", answer.status, answer.headers, answer.text())
}

/// Gives an app a file that is refused, with a secret in it, and waits until it has been.
async fn spoil(gateway: &TestGateway) {
    let file = gateway.settings_file().with_file_name("apps.d").join("gone.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}SecretAccesKey = \"{FILED_SECRET}\"\n")).unwrap();
    eventually("the file is refused", async || {
        let apps = Plain::new(Method::GET, format!("{}/apps", gateway.admin)).send().await;
        apps.text().contains("SecretAccesKey").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_gateway_tells_nobody() {
    let Scene { setup, cdn, photo, storage_secret, _keys } = scene().await;
    let gateway = setup.serve(&ENVIRONMENT);
    let mut story = Story::default();
    for app in APPS {
        story.upload(&gateway, app).await;
    }
    story.events(&gateway).await;
    story.reads(&gateway, (&cdn, &photo)).await;
    spoil(&gateway).await;
    for path in ["/metrics", "/apps", "/readyz", "/livez"] {
        let answer =
            Plain::new(Method::GET, format!("{}{path}?{QUERY}", gateway.admin)).send().await;
        story.others.push((path.to_owned(), answer));
    }
    let Ended { code, stdout, stderr } = gateway.terminate();
    assert_eq!(code, Some(0), "{stderr}");

    // It has been through what it should: else it would be easy to keep silent.
    let statuses = |status: u16| story.others.iter().filter(|(_, a)| a.status == status).count();
    for (status, least) in [(200, 8), (204, 1), (400, 4), (401, 1), (404, 8), (502, 2)] {
        assert!(statuses(status) >= least, "{} answers with {status}", statuses(status));
    }
    assert!(story.grants.len() >= 4 && stderr.contains("request_id"), "{}", story.grants.len());

    let lasting = Secrets::lasting(&storage_secret);
    let mut all = lasting.clone().and_granted(&story.grants);
    let pass =
        cdn.requests().into_iter().find_map(|request| cookie(&request, "CloudFront-Signature"));
    all.add("the CDN's signature", &pass.expect("its requests are signed"));
    for (what, answer) in &story.granting {
        lasting.assert_not_in(what, &whole(answer));
    }
    for (what, answer) in &story.others {
        all.assert_not_in(what, &whole(answer));
    }
    all.assert_not_in("the log", &stderr);
    all.assert_not_in("the output", &stdout);
}

#[tokio::test]
async fn the_commands_tell_nobody() {
    let Scene { setup, storage_secret, cdn: _cdn, _keys, .. } = scene().await;
    let (_folder, settings) = setup.files();
    let settings = settings.to_str().unwrap().to_owned();
    let all = Secrets::lasting(&storage_secret).and_granted(&[]);
    let told = tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        for arguments in [&["check"][..], &["check", "--format", "json"], &["sweep", "--dry-run"]]
            .into_iter()
            .map(<[_]>::to_vec)
            .chain(APPS.map(|app| vec!["doctor", "--app", app]))
        {
            let all = [&arguments[..], &["--config", &settings]].concat();
            told.push((arguments.join(" "), run_with(&all, &ENVIRONMENT)));
        }
        told
    });
    for (command, ended) in told.await.unwrap() {
        assert!(!ended.stdout.is_empty() || !ended.stderr.is_empty(), "{command} says something");
        all.assert_not_in(&command, &format!("{}\n{}", ended.stdout, ended.stderr));
    }
}
