//! Buckets of Google Cloud Storage, as far as a machine of one's own can have them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use safelight::dev::DevCdn;
use safelight::doctor::{Check, Examination};
use safelight::gateway::Prepared;
use safelight::storage::{GcsConfig, ObjectStore as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{OF_STORAGE, PAGE, Rows, assert_nothing_left};
use crate::harness::fake_gcs::{self, BUCKET, FakeGcs, KEY_FILE, Manners, open};
use crate::harness::gateway::Setup;
use crate::harness::wire_cdn::{Act, WireCdn};

const STRICT: &str = "[Upload]\nPreventOverwrite = true\nRequireSize = true";

/// An app on this bucket, under a prefix of its own, that lets `PAGE` upload.
fn app_on(bucket: &GcsConfig, prefix: &str, head: &str, sections: &str) -> Setup {
    let endpoint = bucket.endpoint.as_ref().expect("the tests' buckets have endpoints");
    let storage = fake_gcs::storage_section(endpoint)
        .replace("KeyPrefix = \"images/\"", &format!("KeyPrefix = \"{prefix}\""));
    let file = format!(
        "AllowPublicUpload = true\n{head}\n{storage}{sections}\n\
         [CORS]\nAllowedOrigins = [\"{PAGE}\"]\n"
    );
    Setup::with_app("shop", file).and_secret("shop/key.json", KEY_FILE)
}

/// The CORS configuration that is printed for such an app.
async fn printed() -> Value {
    let bucket = FakeGcs::shared().await.config().await;
    let prepared = app_on(&bucket, "", "", "").configuration().prepare().await;
    let Prepared { apps, client, .. } = prepared.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let app = apps.get("shop").unwrap();
    let examination = Examination::new(&app, &client, BUCKET, None).unwrap();
    serde_json::to_value(examination.cors_configuration()).unwrap()
}

/// Examines an app on a server with these manners; nothing may be left there.
async fn examined(prefix: &str, manners: Manners) -> Rows {
    let bucket = FakeGcs::shared().await.config_with(manners).await;
    let rows = Rows::of(app_on(&bucket, prefix, "", STRICT), BUCKET, None).await;
    let honest = open(FakeGcs::shared().await.config().await);
    let left = honest.list(prefix, None, 100).await.unwrap().objects;
    let left: Vec<_> = left.iter().map(|object| object.path.as_str().to_owned()).collect();
    assert_nothing_left(&left);
    rows
}

#[tokio::test]
async fn everything_passes_with_the_cors_configuration_that_is_printed() {
    let cors = printed().await;
    let rows = examined("in-order/", Manners { cors, ..Manners::default() }).await;
    rows.assert_only_fail(&[]);
    let enforced = OF_STORAGE.iter().copied().filter(|check| *check != Check::OtherContent);
    rows.assert_passed(&enforced.collect::<Vec<_>>());
    rows.assert_passed(&[Check::CreateOnce, Check::Preflight, Check::ExposedEtag, Check::Delete]);
    rows.assert_not_checked(Check::OtherContent, "does not check a SHA-256");
    for (check, seen) in [
        ("other-type", "403 SignatureDoesNotMatch"),
        ("other-size", "400 EntityTooLarge"),
        ("expired", "400 ExpiredToken"),
        ("create-once", "412 to a second x-goog-if-generation-match: 0"),
        ("anonymous-write", "401 AuthenticationRequired"),
    ] {
        assert_eq!(rows.0[check].detail, seen);
    }
}

#[tokio::test]
async fn a_bucket_without_cors_is_told_and_so_is_one_header_that_it_lacks() {
    let rows = examined("no-cors/", Manners::default()).await;
    rows.assert_only_fail(&[Check::Preflight, Check::ExposedEtag]);
    let fix = "apply the CORS configuration below";
    rows.assert_failed(Check::Preflight, "Access-Control-Allow-Origin does not name it", fix);
    rows.assert_failed(Check::ExposedEtag, PAGE, fix);

    let mut cors = printed().await;
    cors[0]["responseHeader"] = json!(["Content-Type", "ETag", "x-goog-if-generation-match"]);
    let rows = examined("sizeless/", Manners { cors, ..Manners::default() }).await;
    rows.assert_only_fail(&[Check::Preflight]);
}

#[tokio::test]
async fn a_server_that_ignores_what_was_signed_fails_in_that() {
    let cors = printed().await;
    let ignores = &["x-goog-if-generation-match"];
    let rows = examined("twice/", Manners { cors: cors.clone(), ignores, ..Default::default() });
    let rows = rows.await;
    rows.assert_only_fail(&[Check::CreateOnce]);
    rows.assert_failed(
        Check::CreateOnce,
        "200 to a second PUT",
        "turn off Upload.PreventOverwrite: this provider ignores x-goog-if-generation-match",
    );
    let ignores = &["x-goog-content-length-range"];
    let rows = examined("any-size/", Manners { cors, ignores, ..Default::default() }).await;
    rows.assert_only_fail(&[Check::OtherSize]);
    let fix = "this provider ignores x-goog-content-length-range: turn off Upload.RequireSize";
    rows.assert_failed(Check::OtherSize, "it was accepted", fix);
}

#[tokio::test]
async fn a_missing_permission_is_named_as_google_names_it() {
    let cors = printed().await;
    let rows = examined("unlisted/", Manners { cors, denies_list: true, ..Default::default() });
    let rows = rows.await;
    rows.assert_only_fail(&[Check::List, Check::Missing]);
    for words in [
        "allow storage.objects.list on gs://media to the service account of [Storage]",
        "gcloud storage buckets add-iam-policy-binding gs://media",
        "docs/providers/gcs.md",
    ] {
        rows.assert_failed(Check::List, "403 AccessDenied", words);
        rows.assert_failed(Check::Missing, "403 AccessDenied", words);
    }
    rows.assert_failed(Check::Missing, "403", "502 instead of 404");
}

/// An hour is longer than a URL of the examination lives: the refusal has to be told as the clock's.
#[tokio::test]
async fn a_clock_that_is_wrong_by_an_hour_is_told_as_what_it_is() {
    let clock_ahead = Duration::from_secs(3_600);
    let rows = examined("late/", Manners { clock_ahead, ..Manners::default() }).await;
    rows.assert_only_fail(&[Check::Put, Check::Clock]);
    rows.assert_failed(Check::Put, "400 ExpiredToken", "set this machine's clock");
    rows.assert_failed(Check::Clock, "behind storage", "NTP");
    rows.assert_not_checked(Check::Expired, "could not be written");
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_bucket_are_told() {
    let bucket = FakeGcs::shared().await.config().await;
    let stranger = KEY_FILE.replace("gateway@", "stranger@");
    let setup = app_on(&bucket, "key/", "", "").and_secret("shop/key.json", &stranger);
    let rows = Rows::of(setup, BUCKET, None).await;
    rows.assert_only_fail(&[Check::Put]);
    rows.assert_failed(Check::Put, "403", "Storage.CredentialsFile");
    rows.assert_failed(Check::Put, "403", "gcloud iam service-accounts keys create");

    let endpoint = bucket.endpoint.unwrap();
    let section = fake_gcs::storage_section(&endpoint).replace("\"media\"", "\"elsewhere\"");
    let setup = Setup::with_app("shop", section).and_secret("shop/key.json", KEY_FILE);
    let rows = Rows::of(setup, "elsewhere", None).await;
    rows.assert_only_fail(&[Check::Put]);
    rows.assert_failed(
        Check::Put,
        "404 NoSuchBucket",
        "gcloud storage buckets create gs://elsewhere",
    );
}

#[tokio::test]
async fn a_cdn_before_the_bucket_is_examined_as_any() {
    let manners = Manners { cors: printed().await, ..Manners::default() };
    let bucket = FakeGcs::shared().await.config_with(manners).await;
    let behind = async |url: &str| {
        let head = format!("CloudFrontURL = \"{url}\"");
        let patient = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";
        Rows::of(app_on(&bucket, "cdn/", &head, patient), BUCKET, None).await
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(DevCdn::new(Arc::new(open(bucket.clone()))).serve(listener, pending()));
    let rows = behind(&url).await;
    rows.assert_only_fail(&[]);
    rows.assert_passed(&[Check::CdnAnswers, Check::CdnOrigin, Check::CdnSame]);
    rows.assert_passed(&[Check::CdnCaching, Check::CdnRange]);

    let refusing = WireCdn::start().await;
    refusing.next(Act::status(403));
    let rows = behind(&refusing.url()).await;
    rows.assert_only_fail(&[Check::CdnAnswers]);
    rows.assert_failed(Check::CdnAnswers, "`status_403`", "roles/storage.legacyObjectReader");

    let gateway = app_on(&bucket, "cdn/", "", "").start().await;
    let rows = behind(&gateway.base).await;
    rows.assert_only_fail(&[Check::CdnAnswers, Check::CdnOrigin]);
    rows.assert_failed(Check::CdnOrigin, "CDN-Loop", "origin at the bucket, not at the gateway");
}

#[tokio::test]
async fn the_command_prints_what_gcloud_takes() {
    let bucket = FakeGcs::shared().await.config().await;
    let setup = app_on(&bucket, "command/", "", "");
    let (status, out, err) = super::command::command(&setup, &["--app", "shop"]).await;
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("FAIL  browsers may PUT to the bucket"), "{out}");
    assert!(out.contains("\"responseHeader\": ["), "{out}");
    let command = "gcloud storage buckets update gs://media --cors-file=cors.json";
    assert!(out.contains(command), "{out}");

    let json = ["--app", "shop", "--format", "json"];
    let (_, out, _) = super::command::command(&setup, &json).await;
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["provider"], "gcs");
    assert_eq!(document["cors"], printed().await);
}
