//! `safelight doctor` against real storage: what is right passes, what is wrong is named with what
//! to change, and nothing is left in the bucket.

use std::collections::BTreeMap;
use std::future::pending;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use safelight::apps::{App, Workshop};
use safelight::dev::DevCdn;
use safelight::doctor::{Check, CorsConfiguration, Examination, Row, Verdict};
use safelight::domain::{MediaType, Source, StoragePath};
use safelight::gateway::{Configuration, Prepared};
use safelight::metrics::Metrics;
use safelight::storage::{
    GetOptions, ListPage, MultipartId, ObjectMeta, ObjectRead, ObjectStore, PartGrant, PutGrant,
    S3Config, SignedRequest, StorageError, StorageErrorKind, UploadedPart,
};
use safelight::upstream::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::dead_ends::nobody;
use crate::harness::embedded;
use crate::harness::gateway::{Setup, app_file};
use crate::harness::seaweed::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Seaweed, open, with_key};
use crate::harness::signed;
use crate::harness::wire_cdn::{Act, End, Reply, WireCdn};

/// Pages on this machine may always use the embedded store.
const LOCAL_PAGE: &str = "http://localhost:3000";
const PAGE: &str = "https://shop.example";

/// The rows of an examination, by what was checked.
struct Rows(BTreeMap<&'static str, Row>);

impl Rows {
    async fn of(setup: Setup, bucket: &str, origin: Option<&str>) -> Self {
        let Prepared { apps, client, .. } =
            setup.configuration().prepare().await.unwrap_or_else(|errors| panic!("{errors:#?}"));
        let app = apps.get("shop").expect("it was built");
        let origin = origin.map(str::to_owned);
        let mut examination = Examination::new(app, &client, bucket, origin).unwrap();
        Self::from(examination.run().await)
    }

    fn from(rows: Vec<Row>) -> Self {
        let checks: Vec<_> = rows.iter().map(|row| row.check).collect();
        assert_eq!(checks, Check::ALL, "each once, in order");
        for row in &rows {
            assert_eq!(row.fix.is_some(), row.verdict == Verdict::Fail, "{row:?}");
            let text = format!("{} {}", row.detail, row.fix.as_deref().unwrap_or_default());
            assert!(!text.contains("Signature=") && !text.contains("X-Amz"), "{text}");
            assert!(!text.contains("a-secret-of-the-tests-only"), "{text}");
        }
        Self(rows.into_iter().map(|row| (row.check.name(), row)).collect())
    }

    /// These fail, and no others.
    #[track_caller]
    fn assert_only_fail(&self, checks: &[Check]) {
        let failed = self.0.values().filter(|row| row.verdict == Verdict::Fail);
        let mut failed: Vec<_> = failed.map(|row| row.check.name()).collect();
        let mut expected: Vec<_> = checks.iter().map(|check| check.name()).collect();
        failed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(failed, expected, "{:#?}", self.0);
    }

    #[track_caller]
    fn assert_passed(&self, checks: &[Check]) {
        for check in checks {
            let row = &self.0[check.name()];
            assert_eq!(row.verdict, Verdict::Pass, "{row:?}");
        }
    }

    #[track_caller]
    fn assert_not_checked(&self, check: Check, why: &str) {
        let row = &self.0[check.name()];
        assert_eq!(row.verdict, Verdict::NotChecked, "{row:?}");
        assert!(row.detail.contains(why), "{row:?}");
    }

    /// It failed, and the detail and the fix have these words.
    #[track_caller]
    fn assert_failed(&self, check: Check, detail: &str, fix: &str) {
        let row = &self.0[check.name()];
        assert_eq!(row.verdict, Verdict::Fail, "{row:?}");
        assert!(row.detail.contains(detail), "{detail:?} is not in {row:?}");
        let known = row.fix.as_deref().expect("a failure has a fix");
        assert!(known.contains(fix), "{fix:?} is not in {known:?}");
    }
}

/// An app on this storage, under a prefix of its own, that lets `PAGE` upload.
fn app_on(storage: &S3Config, prefix: &str, head: &str, sections: &str) -> Setup {
    let sections = format!("{sections}\n[CORS]\nAllowedOrigins = [\"{PAGE}\"]");
    let file = app_file(storage, head, &sections)
        .replace("KeyPrefix = \"images/\"", &format!("KeyPrefix = \"{prefix}\""));
    Setup::with_app("shop", file)
}

#[track_caller]
fn assert_nothing_left(left: &[String]) {
    assert!(left.is_empty(), "{left:?}");
}

/// What lies under a prefix.
async fn objects(storage: &S3Config, prefix: &str) -> Vec<String> {
    let page = open(storage.clone()).list(prefix, None, 100).await.unwrap();
    page.objects.iter().map(|object| object.path.as_str().to_owned()).collect()
}

/// Gives the bucket the configuration that the examination would print, as the command line of
/// the provider sends it.
async fn apply(storage: &S3Config, cors: &CorsConfiguration) {
    let element = |name: &str, text: &str| format!("<{name}>{text}</{name}>");
    let all = |name: &str, texts: &[&str]| -> String {
        texts.iter().map(|text| element(name, text)).collect()
    };
    let rules = cors.rules.iter().map(|rule| {
        let origins: Vec<_> = rule.allowed_origins.iter().map(String::as_str).collect();
        let parts = [
            all("AllowedOrigin", &origins),
            all("AllowedMethod", &rule.allowed_methods),
            all("AllowedHeader", &rule.allowed_headers),
            all("ExposeHeader", &rule.expose_headers),
            element("MaxAgeSeconds", &rule.max_age_seconds.to_string()),
        ];
        element("CORSRule", &parts.concat())
    });
    let document = element("CORSConfiguration", &rules.collect::<String>());
    signed::put_bucket(storage, "cors", &document).await.assert_success();
}

/// A bucket of its own, whose CORS configuration no other test sees. It opens itself to the pages
/// of somebody else: SeaweedFS opens one without a configuration to all.
async fn bucket(name: &str) -> S3Config {
    let storage = S3Config { bucket: name.into(), ..Seaweed::shared().await.config() };
    signed::put_bucket(&storage, "", "").await.assert_success();
    let mut cors = printed_for(&storage).await;
    cors.rules[0].allowed_origins = vec!["https://somebody.example".to_owned()];
    apply(&storage, &cors).await;
    storage
}

/// The CORS configuration that is printed for an app on this storage.
async fn printed_for(storage: &S3Config) -> CorsConfiguration {
    let prepared = app_on(storage, "", "", "").configuration().prepare().await;
    let Prepared { apps, client, .. } = prepared.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let app = apps.get("shop").unwrap();
    let examination = Examination::new(app, &client, &storage.bucket, None).unwrap();
    examination.cors_configuration().expect("there are pages")
}

/// The checks that need nothing but storage.
const OF_STORAGE: [Check; 8] = [
    Check::Put,
    Check::Clock,
    Check::OtherType,
    Check::Expired,
    Check::Head,
    Check::Range,
    Check::IfMatch,
    Check::Missing,
];

#[tokio::test]
async fn everything_passes_on_the_embedded_store() {
    let storage = embedded::start().await;
    let file = format!(
        "AllowPublicUpload = true\n[Storage]\nKind = \"embedded\"\nBucket = \"{}\"\n\
         KeyPrefix = \"images/\"\n[Upload]\nPreventOverwrite = true\nRequireSize = true\n\
         [CORS]\nAllowedOrigins = [\"{LOCAL_PAGE}\"]\n",
        embedded::BUCKET
    );
    let setup = Setup::with_app("shop", file).and_embedded(embedded::access(&storage));
    let rows = Rows::of(setup, embedded::BUCKET, None).await;
    rows.assert_only_fail(&[]);
    rows.assert_passed(&OF_STORAGE);
    rows.assert_passed(&[Check::CreateOnce, Check::OriginAllowed]);
    rows.assert_passed(&[Check::Preflight, Check::ExposedEtag, Check::Delete]);
    rows.assert_not_checked(Check::CdnAnswers, "CloudFrontURL");
    assert_nothing_left(&objects(&storage, "").await);
}

#[tokio::test]
async fn pages_that_the_bucket_refuses_pass_with_the_configuration_that_is_printed() {
    let storage = bucket("doctor-cors").await;
    let setup = || app_on(&storage, "cors/", "", "[Upload]\nPreventOverwrite = true");
    let rows = Rows::of(setup(), "doctor-cors", None).await;
    rows.assert_only_fail(&[Check::Preflight, Check::ExposedEtag]);
    rows.assert_failed(Check::Preflight, PAGE, "apply the CORS configuration below");
    rows.assert_failed(Check::ExposedEtag, PAGE, "apply the CORS configuration below");

    apply(&storage, &printed_for(&storage).await).await;
    let rows = Rows::of(setup(), "doctor-cors", None).await;
    rows.assert_only_fail(&[]);
    rows.assert_passed(&OF_STORAGE);
    rows.assert_passed(&[Check::CreateOnce, Check::Preflight, Check::ExposedEtag, Check::Delete]);

    // A page that the bucket and the app do not know.
    let rows = Rows::of(setup(), "doctor-cors", Some("https://other.example")).await;
    rows.assert_only_fail(&[Check::OriginAllowed, Check::Preflight, Check::ExposedEtag]);
    rows.assert_failed(Check::OriginAllowed, "other.example", "[CORS] AllowedOrigins");
    assert_nothing_left(&objects(&storage, "").await);
}

#[tokio::test]
async fn an_etag_that_is_not_exposed_is_told() {
    let storage = bucket("doctor-unexposed").await;
    let setup = || app_on(&storage, "", "", "");
    let mut cors = printed_for(&storage).await;
    cors.rules[0].expose_headers.clear();
    apply(&storage, &cors).await;
    let rows = Rows::of(setup(), "doctor-unexposed", None).await;
    rows.assert_only_fail(&[Check::ExposedEtag]);
    rows.assert_failed(Check::ExposedEtag, "Access-Control-Expose-Headers", "exposes ETag");
}

#[tokio::test]
async fn a_bucket_that_keeps_versions_keeps_none_of_the_probe() {
    let storage = Seaweed::shared().await.versioned_config();
    let rows = Rows::of(app_on(&storage, "doctor/", "", ""), &storage.bucket, None).await;
    rows.assert_passed(&OF_STORAGE);
    rows.assert_passed(&[Check::Delete]);
    assert_nothing_left(&objects(&storage, "doctor/").await);
}

/// An app with no pages, on storage that is described wrongly: all that fails is the PUT, and what
/// needs it is not checked.
async fn assert_put_fails(storage: &S3Config, detail: &str, fix: &str) {
    let setup = Setup::with_app("shop", app_file(storage, "", ""));
    let rows = Rows::of(setup, &storage.bucket, None).await;
    rows.assert_only_fail(&[Check::Put]);
    rows.assert_failed(Check::Put, detail, fix);
    for check in [Check::OtherType, Check::Expired, Check::Head, Check::Missing, Check::Delete] {
        rows.assert_not_checked(check, "could not be written");
    }
    rows.assert_not_checked(Check::Preflight, "--origin");
}

#[tokio::test]
async fn wrong_credentials_are_named() {
    let good = Seaweed::shared().await.config();
    let secret = with_key(&good, ACCESS_KEY_ID, "another");
    assert_put_fails(&secret, "403 SignatureDoesNotMatch", "Storage.SecretAccessKey").await;
    let id = with_key(&good, "AKIDNOBODY", SECRET_ACCESS_KEY);
    assert_put_fails(&id, "403 InvalidAccessKeyId", "Storage.AccessKeyID").await;
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let storage = S3Config { bucket: "no-such-bucket".into(), ..Seaweed::shared().await.config() };
    assert_put_fails(&storage, "404 NoSuchBucket", "create the bucket no-such-bucket").await;
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let endpoint = Some(nobody().parse().unwrap());
    let storage = S3Config { endpoint, ..Seaweed::shared().await.config() };
    assert_put_fails(&storage, "cannot connect", "correct Storage.Endpoint").await;
}

/// The settings of a server that gives the same answer to everything, once on each connection.
async fn always(answer: String) -> S3Config {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            // Whoever closes on unread bytes resets the connection, answer and all.
            while matches!(stream.read(&mut [0; 4_096]).await, Ok(1..)) {}
        }
    });
    S3Config { endpoint: Some(url.parse().unwrap()), ..Seaweed::shared().await.config() }
}

#[tokio::test]
async fn something_that_is_not_storage_is_named_and_what_may_be_left_behind() {
    let storage = always("220 mail.example ESMTP\r\n\r\n".to_owned()).await;
    let setup = Setup::with_app("shop", app_file(&storage, "", ""));
    let rows = Rows::of(setup, &storage.bucket, None).await;
    rows.assert_only_fail(&[Check::Put, Check::Delete]);
    rows.assert_failed(Check::Put, "not a valid HTTP response", "something answers");
    // It may have taken the object all the same.
    rows.assert_failed(Check::Delete, "", "images/safelight-doctor-");
}

#[tokio::test]
async fn a_wrong_clock_is_told_by_the_refusal_that_it_causes() {
    let xml = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    let date = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(3_600));
    let length = xml.len();
    let storage = always(format!(
        "HTTP/1.1 403 No\r\nDate: {date}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{xml}"
    ));
    let storage = storage.await;
    let setup = Setup::with_app("shop", app_file(&storage, "", ""));
    let rows = Rows::of(setup, &storage.bucket, None).await;
    rows.assert_only_fail(&[Check::Put, Check::Clock]);
    rows.assert_failed(Check::Put, "403 RequestTimeTooSkewed", "clock");
    rows.assert_failed(Check::Clock, "ahead of storage", "NTP");
}

/// Storage as it is for whoever may not list, or may not delete.
struct Denying {
    store: Arc<dyn ObjectStore>,
    denies_delete: bool,
}

fn denied() -> StorageError {
    StorageError::new(StorageErrorKind::AccessDenied, "403 AccessDenied")
}

#[async_trait]
impl ObjectStore for Denying {
    fn source(&self) -> Source {
        self.store.source()
    }
    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.store.sign_put(grant, now).await
    }
    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        self.store.head(path).await.map_err(|error| match error.kind {
            StorageErrorKind::NotFound => denied(),
            _ => error,
        })
    }
    async fn get(&self, path: &StoragePath, o: &GetOptions) -> Result<ObjectRead, StorageError> {
        self.store.get(path, o).await
    }
    async fn put(&self, _: &StoragePath, _: &str, _: Bytes) -> Result<ObjectMeta, StorageError> {
        unreachable!("what is written is written as clients do")
    }
    async fn delete(&self, path: &StoragePath, o: Option<&ObjectMeta>) -> Result<(), StorageError> {
        if self.denies_delete { Err(denied()) } else { self.store.delete(path, o).await }
    }
    async fn list(&self, _: &str, _: Option<&str>, _: u16) -> Result<ListPage, StorageError> {
        unreachable!("nobody lists")
    }
    async fn create_multipart(
        &self,
        _: &StoragePath,
        _: MediaType,
        _: bool,
    ) -> Result<MultipartId, StorageError> {
        unreachable!("the probe is small")
    }
    async fn sign_part(
        &self,
        _: &PartGrant<'_>,
        _: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        unreachable!("the probe is small")
    }
    async fn list_parts(
        &self,
        _: &StoragePath,
        _: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        unreachable!("the probe is small")
    }
    async fn complete_multipart(
        &self,
        _: &StoragePath,
        _: &MultipartId,
        _: &[UploadedPart],
    ) -> Result<(), StorageError> {
        unreachable!("the probe is small")
    }
    async fn abort_multipart(&self, _: &StoragePath, _: &MultipartId) -> Result<(), StorageError> {
        unreachable!("the probe is small")
    }
}

#[tokio::test]
async fn permissions_that_are_missing_are_named_and_so_is_what_is_left_behind() {
    let storage = Seaweed::shared().await.config();
    for (denies_delete, failing) in
        [(false, &[Check::Missing][..]), (true, &[Check::Missing, Check::Delete])]
    {
        let prefix = "denied/";
        let Configuration { settings, mut apps, .. } =
            app_on(&storage, prefix, "", "").configuration();
        let client = Client::new(settings.server.address_policy.clone()).unwrap();
        let workshop = Workshop {
            client: &client,
            metrics: &Metrics::new(),
            public_base_url: &settings.server.public_base_url,
            loop_token: &HeaderValue::from_static("a-mark"),
            embedded: None,
            process: None,
            apps: 1,
        };
        let mut app = App::build(apps.remove(0), &workshop).unwrap();
        app.store = Arc::new(Denying { store: app.store, denies_delete });
        let page = Some("http://localhost".to_owned());
        let mut examination = Examination::new(&app, &client, &storage.bucket, page).unwrap();
        let rows = Rows::from(examination.run().await);
        let failing: Vec<_> = failing.iter().copied().chain([Check::OriginAllowed]).collect();
        rows.assert_only_fail(&failing);
        rows.assert_failed(Check::Missing, "403", "allow s3:ListBucket on arn:aws:s3:::media");
        rows.assert_failed(Check::Missing, "403", "502 instead of 404");
        let left = objects(&storage, prefix).await;
        if denies_delete {
            rows.assert_failed(Check::Delete, "403", "allow s3:DeleteObject");
            rows.assert_failed(Check::Delete, "403", &format!("{} by hand", left[0]));
            assert!(examination.clean_up().await.unwrap_err().contains(&left[0]));
            open(storage.clone()).delete(&StoragePath::from_listing(&left[0]), None).await.unwrap();
        } else {
            assert_nothing_left(&left);
        }
    }
}

#[tokio::test]
async fn an_examination_that_is_interrupted_leaves_nothing() {
    let storage = Seaweed::shared().await.config();
    let cdn = WireCdn::start().await;
    cdn.next(Act::no_byte(End::Stall));
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    let patient = "[Read]\nFirstByteTimeout = \"5m\"";
    let setup = app_on(&storage, "interrupted/", &head, patient);
    let Prepared { apps, client, .. } = setup.configuration().prepare().await.ok().unwrap();
    let app = apps.get("shop").unwrap();
    let mut examination = Examination::new(app, &client, &storage.bucket, None).unwrap();
    tokio::select! {
        _ = examination.run() => panic!("the CDN never answers"),
        () = cdn.until(|seen| !seen.requests.is_empty()) => {}
    }
    assert_eq!(objects(&storage, "interrupted/").await.len(), 1, "the probe");
    examination.clean_up().await.unwrap();
    assert_nothing_left(&objects(&storage, "interrupted/").await);
}

/// An app on storage that is in order, behind the CDN at this URL.
async fn behind(cdn_url: &str, sections: &str) -> Rows {
    let storage = Seaweed::shared().await.config();
    let patient = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";
    let head = format!("CloudFrontURL = \"{cdn_url}\"");
    let file = app_file(&storage, &head, &format!("{patient}\n{sections}"));
    let rows = Rows::of(Setup::with_app("shop", file), &storage.bucket, None).await;
    rows.assert_passed(&OF_STORAGE);
    rows.assert_passed(&[Check::Delete]);
    rows
}

#[tokio::test]
async fn a_cdn_that_serves_what_storage_has_passes() {
    let storage = Seaweed::shared().await.config();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cdn = DevCdn::new(Arc::new(open(storage)));
    tokio::spawn(cdn.serve(listener, pending()));
    let rows = behind(&url, "").await;
    rows.assert_only_fail(&[]);
    rows.assert_passed(&[Check::CdnAnswers, Check::CdnOrigin, Check::CdnSame]);
    rows.assert_passed(&[Check::CdnCaching, Check::CdnRange]);
}

#[tokio::test]
async fn a_cdn_that_fails_is_told_with_the_reason_that_would_be_counted() {
    for (status, reason, fix) in [
        (403, "`status_403`", "let the CDN read the bucket"),
        (404, "`status_404`", "CloudFrontPathPrefix"),
        (301, "`redirect`", "correct CloudFrontURL"),
        (502, "`status_5xx`", "origin settings"),
    ] {
        let cdn = WireCdn::start().await;
        cdn.next(Act::status(status));
        let rows = behind(&cdn.url(), "").await;
        rows.assert_only_fail(&[Check::CdnAnswers]);
        rows.assert_failed(Check::CdnAnswers, reason, fix);
        rows.assert_passed(&[Check::CdnOrigin]);
        for check in [Check::CdnSame, Check::CdnCaching, Check::CdnRange] {
            rows.assert_not_checked(check, "does not serve");
        }
    }
    let rows = behind(&nobody(), "").await;
    rows.assert_only_fail(&[Check::CdnAnswers]);
    rows.assert_failed(Check::CdnAnswers, "`connect`", "correct CloudFrontURL");
    rows.assert_not_checked(Check::CdnOrigin, "does not answer");
}

#[tokio::test]
async fn a_cdn_that_rewrites_forbids_caching_and_ignores_ranges_fails_in_each() {
    let cdn = WireCdn::start().await;
    for _ in 0..2 {
        let change = |reply: &mut Reply| {
            reply.status = 200;
            reply.set("Cache-Control", "no-store");
        };
        cdn.next(Act::but(change));
    }
    let rows = behind(&cdn.url(), "").await;
    rows.assert_only_fail(&[Check::CdnSame, Check::CdnCaching, Check::CdnRange]);
    rows.assert_failed(Check::CdnSame, "others than storage's", "compression");
    rows.assert_failed(Check::CdnCaching, "no-store", "goes through to storage");
    rows.assert_failed(Check::CdnRange, "whole object", "Range");
}

#[tokio::test]
async fn a_cdn_whose_origin_is_the_gateway_is_told() {
    let storage = Seaweed::shared().await.config();
    // The same deployment: the gateways of the tests have one public URL and so one mark.
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let rows = behind(&gateway.base, "").await;
    rows.assert_only_fail(&[Check::CdnAnswers, Check::CdnOrigin]);
    rows.assert_failed(Check::CdnAnswers, "508", "see below");
    rows.assert_failed(Check::CdnOrigin, "CDN-Loop", "origin at the bucket, not at the gateway");

    // Another one's gateway shows by its answers.
    let cdn = WireCdn::start().await;
    cdn.next(Act::but(|reply| {
        reply.set("Cache-Status", "edge; hit, safelight; fwd=uri-miss; detail=storage");
    }));
    let rows = behind(&cdn.url(), "").await;
    rows.assert_failed(Check::CdnOrigin, "Cache-Status", "another distribution");
}

/// Runs the command: its exit status, and what it says.
async fn command(setup: &Setup, args: &[&str]) -> (i32, String, String) {
    let (_folder, settings) = setup.files();
    let mut command = Command::new(env!("CARGO_BIN_EXE_safelight"));
    command.arg("doctor").arg("--config").arg(&settings).args(args);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (run.status.code().expect("no signal"), text(run.stdout), text(run.stderr))
}

#[tokio::test]
async fn the_command_tells_by_its_exit_status_what_came_of_it() {
    let storage = bucket("doctor-command").await;
    let good = Setup::with_app("shop", app_file(&storage, "", ""));
    let (status, out, err) = command(&good, &["--app", "shop"]).await;
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("pass         a signed PUT is accepted"), "{out}");
    assert!(out.contains("the bucket needs no CORS configuration"), "{out}");

    let (status, out, _) = command(&good, &["--app", "shop", "--origin", PAGE]).await;
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("FAIL         browsers may PUT") && out.contains("fix: "), "{out}");
    assert!(out.contains("put-bucket-cors --bucket doctor-command"), "{out}");

    let (status, out, err) = command(&good, &["--app", "shop", "--format", "json"]).await;
    assert_eq!(status, 0, "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["app"], "shop");
    assert_eq!(document["checks"][0]["check"], "put");
    assert_eq!(document["checks"][0]["verdict"], "pass");
    assert_eq!(document["checks"].as_array().unwrap().len(), Check::ALL.len());

    let (status, _, err) = command(&good, &["--app", "shoop"]).await;
    assert_eq!(status, 78);
    assert!(err.contains("\"shoop\"") && err.contains("has shop"), "{err}");
    let bad = Setup::with_app("shop", "Nonsense = 1");
    assert_eq!(command(&bad, &["--app", "shop"]).await.0, 78);
    assert_eq!(command(&good, &[]).await.0, 2, "the usage is told");
    let (status, _, err) = command(&good, &["--app", "shop", "--origin", "shop.example/"]).await;
    assert!(status == 2 && err.contains("https://www.example.com"), "{err}");
}
