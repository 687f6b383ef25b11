//! Buckets of real servers: SeaweedFS, and the embedded store.

use std::time::{Duration, SystemTime};

use safelight::doctor::{Check, CorsConfiguration, Examination, S3Cors};
use safelight::gateway::Prepared;
use safelight::storage::S3Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{OF_STORAGE, PAGE, Rows, app_on, assert_nothing_left, objects};
use crate::harness::dead_ends::nobody;
use crate::harness::embedded;
use crate::harness::gateway::{Setup, app_file};
use crate::harness::seaweed::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Seaweed, with_key};
use crate::harness::signed;
use crate::harness::wire_cdn::{Act, End, WireCdn};

/// Pages on this machine may always use the embedded store.
const LOCAL_PAGE: &str = "http://localhost:3000";

/// Gives the bucket the configuration that the examination would print, as the command line of
/// the provider sends it.
async fn apply(storage: &S3Config, cors: &S3Cors) {
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
pub(super) async fn bucket(name: &str) -> S3Config {
    let storage = S3Config { bucket: name.into(), ..Seaweed::shared().await.config() };
    signed::put_bucket(&storage, "", "").await.assert_success();
    let mut cors = printed_for(&storage).await;
    cors.rules[0].allowed_origins = vec!["https://somebody.example".to_owned()];
    apply(&storage, &cors).await;
    storage
}

/// The CORS configuration that is printed for an app on this storage.
async fn printed_for(storage: &S3Config) -> S3Cors {
    let prepared = app_on(storage, "", "", "").configuration().prepare().await;
    let Prepared { apps, client, .. } = prepared.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let app = apps.get("shop").unwrap();
    let examination = Examination::new(&app, &client, &storage.bucket, None).unwrap();
    match examination.cors_configuration() {
        Some(CorsConfiguration::S3(cors)) => cors,
        other => panic!("{other:?}"),
    }
}

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
    let mut examination = Examination::new(&app, &client, &storage.bucket, None).unwrap();
    tokio::select! {
        _ = examination.run() => panic!("the CDN never answers"),
        () = cdn.until(|seen| !seen.requests.is_empty()) => {}
    }
    assert!(!objects(&storage, "interrupted/").await.is_empty(), "the probe is there");
    examination.clean_up().await.unwrap();
    assert_nothing_left(&objects(&storage, "interrupted/").await);
}
