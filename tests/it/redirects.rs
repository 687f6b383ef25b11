//! Reads by redirect: the client is sent to the CDN, and to storage while the CDN is not well.

use http::Method;

use crate::harness::dead_ends::nobody;
use crate::harness::gateway::{Setup, TestGateway, app_file};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::run;
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::WireCdn;
use safelight::storage::S3Config;

/// What the app's file says of reads.
const BY_REDIRECT: &str = "[Read]\nMode = \"redirect\"\nConnectTimeout = \"10s\"\n";

async fn gateway(storage: &S3Config, cdn_url: Option<&str>) -> TestGateway {
    let head = cdn_url.map(|url| format!("CloudFrontURL = \"{url}\"")).unwrap_or_default();
    Setup::with_app("shop", app_file(storage, &head, BY_REDIRECT)).start().await
}

/// It must send the client elsewhere; where to.
#[track_caller]
fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.body.is_empty());
    answer.header("location").to_owned()
}

fn reads(source: &str) -> String {
    format!("safelight_reads_total{{app=\"shop\",code=\"302\",source=\"{source}\"}}")
}

#[tokio::test]
async fn to_the_cdn() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, JPEG).await;
    let cdn = WireCdn::start().await;
    cdn.put(&photo.cdn_path(), photo.copy());
    let gateway = gateway(&storage, Some(&cdn.url())).await;
    for method in [Method::GET, Method::HEAD] {
        let answer = gateway.request(method, &photo.path()).send().await;
        assert_eq!(location(&answer), format!("{}{}", cdn.url(), photo.cdn_path()));
        assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=redirect");
    }
    let answer = gateway.get(&photo.path()).await;
    let image = Plain::new(Method::GET, location(&answer)).send().await;
    assert!(image.status == 200 && image.body == photo.bytes);

    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&reads("redirect")), 3.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
}

#[tokio::test]
async fn to_storage_without_a_cdn() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, JPEG).await;
    let other = Published::photo(&storage, PNG).await;
    let gateway = gateway(&storage, None).await;
    let url = location(&gateway.get(&photo.path()).await);
    let read = async |url: &str| Plain::new(Method::GET, url).send().await;
    let image = read(&url).await;
    assert!(image.status == 200 && image.body == photo.bytes);

    let of_another = url.replace(&photo.key, &other.key);
    read(&of_another).await.assert_refused_with(&[403], "the URL of another image");
    let unsigned = url.split_once('?').unwrap().0;
    read(unsigned).await.assert_refused_with(&[403], "the URL without its signature");
}

#[tokio::test]
async fn what_the_gateway_knows_to_be_nothing_is_not_looked_for_elsewhere() {
    let storage = Seaweed::shared().await.config();
    let gateway = gateway(&storage, None).await;
    let forged = format!("/darkroom/shop/v2/images/{}-image.jpg", "0".repeat(26));
    gateway.get(&forged).await.assert_problem(404, "not_found");

    let grant = gateway.granted("shop", JPEG.file).await;
    let path = format!("/darkroom/shop/v1/uploads/{}", grant.text("uploadID"));
    let delete = gateway.request(Method::DELETE, &path);
    let token = Some(grant.text("uploadToken"));
    delete.with_header("Upload-Token", token).send().await.assert_success();
    gateway.get(grant.public_url()).await.assert_problem(404, "not_found");
}

/// The gateway sends nobody's bytes, so it asks the CDN itself now and then, and hears that it is
/// gone.
#[tokio::test]
async fn to_storage_while_the_cdn_is_not_well() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, JPEG).await;
    let dead = nobody();
    let gateway = gateway(&storage, Some(&dead)).await;
    // One redirect in a hundred is an occasion, and five failures in a row are enough.
    let mut sent_to_cdn = 0;
    let answer = loop {
        let answer = gateway.get(&photo.path()).await;
        if !location(&answer).starts_with(&dead) {
            break answer;
        }
        sent_to_cdn += 1;
        assert!(sent_to_cdn < 20_000, "nobody notices that the CDN is gone");
    };
    assert_eq!(
        answer.header("cache-status"),
        "safelight; fwd=uri-miss; detail=\"redirect; cdn=breaker_open\""
    );
    let image = Plain::new(Method::GET, location(&answer)).send().await;
    assert!(image.status == 200 && image.body == photo.bytes);
    let metrics = gateway.metrics().await;
    assert!(metrics.fallbacks("shop", "breaker_open", "served") >= 1.0);
    assert!(metrics.value("safelight_cdn_breaker_state{app=\"shop\"}") > 0.0);
    let failed = "safelight_cdn_requests_total{app=\"shop\",outcome=\"connect\"}";
    assert!(metrics.value(failed) >= 5.0);
}

#[test]
fn redirects_that_could_not_keep_a_promise_are_refused() {
    let ready = "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true\n";
    let key_pair = "SigningKeyPairID = \"K2JCJMDEHXQW5F\"\nSigningKeyFile = \"cdn.pem\"\n";
    let key = include_str!("../keys/cloudfront/rsa-2048.pkcs8.pem");
    for (upload, read, expected) in [
        (ready, "", "ServeOnlyReady"),
        ("", key_pair, "SigningKeyPairID"),
        ("", "Mode = \"bounce\"\n", "\"proxy\" or \"redirect\""),
    ] {
        let mode = if read.contains("Mode") { "" } else { "Mode = \"redirect\"\n" };
        let file = format!(
            "CloudFrontURL = \"https://d111111abcdef8.cloudfront.net\"\n[Storage]\n\
             Bucket = \"media\"\nRegion = \"us-east-1\"\nAccessKeyID = \"id\"\n\
             SecretAccessKey = \"secret\"\n{upload}[Read]\n{mode}{read}"
        );
        let (_folder, settings) =
            Setup::with_app("shop", file).and_secret("shop/cdn.pem", key).files();
        let ended = run(&["check", "--config", settings.to_str().unwrap()]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let told = ended.stderr.lines().any(|l| l.contains("Read.Mode") && l.contains(expected));
        assert!(told, "{}", ended.stderr);
    }
}
