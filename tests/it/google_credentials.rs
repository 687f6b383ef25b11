//! The process's own credentials at Google: the real program, with an environment as a machine, a
//! pod or a workload from elsewhere has it.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::fake_gcs::google::{EMAIL, Google, Signing, TOKEN};
use crate::harness::fake_gcs::{BUCKET, FakeGcs, KEY_FILE};
use crate::harness::gateway::{Grant, settings_text};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::{Program, run_with};

const SIGN_BLOB: &str = ":signBlob";

/// The files of a gateway with one app that has no key of its own, and what surrounds the process.
struct Scene {
    google: Arc<Google>,
    folder: TempDir,
}

impl Scene {
    /// The operator grants the app the bucket, at this very server.
    async fn new() -> Self {
        let google = Google::start(KEY_FILE).await;
        let endpoint = FakeGcs::shared().await.endpoint_trusting(Arc::clone(&google)).await;
        let endpoint = endpoint.as_str().trim_end_matches('/');
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { google, folder };
        std::fs::create_dir(scene.folder.path().join("apps.d")).unwrap();
        std::fs::create_dir(scene.folder.path().join("data")).unwrap();
        scene.write(
            "apps.d/shop.toml",
            &format!(
                "AllowPublicUpload = true\n[Storage]\nKind = 'gcs'\nBucket = '{BUCKET}'\n\
                 KeyPrefix = 'process/'\nEndpoint = '{endpoint}'\n"
            ),
        );
        let grant =
            format!("[[Grants]]\nApp = 'shop'\nBucket = '{BUCKET}'\nEndpoint = '{endpoint}'\n");
        scene.write("safelight.toml", &settings_text(scene.folder.path(), &grant));
        scene
    }

    /// Writes a file and gives its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The environment, with a file of credentials or without.
    fn environment<'a>(&'a self, file: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        let here = self.google.base.as_str();
        let mut environment = vec![
            ("GCE_METADATA_HOST", here.trim_start_matches("http://")),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", here),
        ];
        environment.extend(file.map(|file| ("GOOGLE_APPLICATION_CREDENTIALS", file)));
        environment
    }

    fn serve(&self, file: Option<&str>) -> Running {
        let settings = self.folder.path().join("safelight.toml");
        let mut program = Program::serve(&settings, &self.environment(file));
        let (base, _) = program.addresses();
        Running { program, base }
    }
}

struct Running {
    program: Program,
    base: String,
}

impl Running {
    async fn presign(&self) -> Answer {
        let url = format!("{}/darkroom/shop/v1/images/presigned-urls", self.base);
        let request = Plain::new(Method::POST, url).with_header("X_Owner_Id", Some("owner-1"));
        let body = json!({"file": JPEG.file, "size": JPEG.bytes.len()});
        request.with_body(body.to_string()).send().await
    }

    /// A photo goes up and comes back, and no one but the account has signed for it.
    async fn round_trip(&self) {
        let answer = self.presign().await;
        answer.assert_success();
        let grant = Grant(answer.json()["data"].clone());
        let url: url::Url = grant.0["uploadURL"].as_str().unwrap().parse().unwrap();
        let signer = url.query_pairs().find(|(name, _)| name == "X-Goog-Credential").unwrap().1;
        assert!(signer.starts_with(&format!("{EMAIL}/")), "{signer}");
        grant.put(JPEG.bytes).send().await.assert_success();
        let (_, path) = grant.public_url().split_once("/darkroom/").unwrap();
        let read = Plain::new(Method::GET, format!("{}/darkroom/{path}", self.base)).send().await;
        assert_eq!(read.status, 200, "{}", read.text());
        assert!(read.body == JPEG.bytes);
    }

    /// The next line of the log that holds this text in one of its fields.
    fn logged_about(&mut self, text: &str) -> String {
        self.program.wait_for_line(text, |line| line.to_string().contains(text)).to_string()
    }

    /// Stops it. Its log is without a token.
    fn stop(self) {
        self.program.terminate();
        let log = self.program.ended().stderr;
        assert!(log.contains("new Google credentials"), "{log}");
        for secret in [TOKEN, "subject-of-elsewhere", "PRIVATE KEY", "X-Goog-Signature"] {
            assert!(!log.contains(secret), "{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_signs_without_a_key_and_its_tokens_are_renewed() {
    let scene = Scene::new().await;
    scene.google.set_life(6);
    let mut running = scene.serve(None);
    running.round_trip().await;
    assert_eq!(scene.google.asked(SIGN_BLOB), 1, "a call for the one URL");

    let renewed = running.program.wait_for("the process has new Google credentials");
    assert_eq!(renewed["account"], EMAIL);
    running.round_trip().await;
    assert!(scene.google.asked("/token") > 1);
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_google_does_not_sign_is_told_to_the_operator_and_not_to_the_client() {
    let scene = Scene::new().await;
    let mut running = scene.serve(None);
    scene.google.set_signing(Signing::Denied);
    let answer = running.presign().await;
    answer.assert_problem(502, "storage_failed");
    assert!(!answer.text().contains(EMAIL) && !answer.text().contains("signBlob"));
    let line = running.logged_about("signBlob");
    for told in [EMAIL, "403 PERMISSION_DENIED", "iam.serviceAccounts.signBlob on itself"] {
        assert!(line.contains(told), "{told}: {line}");
    }

    scene.google.set_signing(Signing::Silent);
    running.presign().await.assert_problem(504, "storage_timeout");

    scene.google.set_signing(Signing::Works);
    running.round_trip().await;
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_of_the_operators_signs_without_asking_anybody() {
    let scene = Scene::new().await;
    let file = scene.write("key.json", KEY_FILE);
    let running = scene.serve(Some(&file));
    running.round_trip().await;
    assert_eq!((scene.google.asked(SIGN_BLOB), scene.google.asked("/token")), (0, 0));
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_from_elsewhere_acts_as_the_account() {
    let scene = Scene::new().await;
    let subject = scene.folder.path().join("subject");
    std::fs::write(&subject, "subject-of-elsewhere").unwrap();
    let file = scene.write("elsewhere.json", &scene.google.external_account(&subject));
    let running = scene.serve(Some(&file));
    running.round_trip().await;
    assert_eq!(scene.google.asked(":generateAccessToken"), 1, "the token is kept");
    assert_eq!(scene.google.asked(SIGN_BLOB), 1);
    running.stop();
}

/// What can never work ends the start, with what to do about it.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_cannot_sign_are_refused_at_the_start() {
    let scene = Scene::new().await;
    let settings = scene.folder.path().join("safelight.toml");
    let settings = settings.to_str().unwrap();
    let person = json!({"type": "authorized_user", "refresh_token": "subject-of-elsewhere"});
    let nobody = json!({"type": "external_account", "audience": "subject-of-elsewhere"});
    for (file, told) in [
        (scene.write("person.json", &person.to_string()), "are a person's, who can sign no URLs"),
        (scene.write("nobody.json", &nobody.to_string()), "name no service account"),
        (scene.write("none.json", "subject-of-elsewhere"), "are not Google's credentials in JSON"),
        ("/nowhere/key.json".to_owned(), "/nowhere/key.json cannot be read"),
    ] {
        let ended = run_with(&["serve", "--config", settings], &scene.environment(Some(&file)));
        assert_ne!(ended.code, Some(0));
        assert!(ended.stderr.contains("own Google credentials"), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
        assert!(!ended.stderr.contains("subject-of-elsewhere"), "{}", ended.stderr);
        // Checking a configuration asks nobody, and looks for no credentials.
        assert_eq!(run_with(&["check", "--config", settings], &[]).code, Some(0));
    }
}
