//! Private images: read by a signed URL or by whom they belong to, and shown to nobody else; not by
//! the gateway, its memory, its CDN, or a cache on the way.

mod outages;
mod owners;
mod refusing;
mod upstream;

use std::time::{Duration, SystemTime};

use http::Method;
use safelight::domain::{AppName, Secret, StoragePath};
use safelight::identity::ReadSignatures;
use safelight::storage::{ObjectStore as _, S3Config};
use serde_json::{Value, json};

use crate::harness::callers::{ANN, BOB, Caller, identity_section};
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file};
use crate::harness::photos::{Photo, WEBP};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::seaweed::{Seaweed, open};
use crate::harness::wire_cdn::{CdnObject, TrustedKey, WireCdn};
use crate::signed_cdn::{KEY_ID, P256, SIGNED};

/// Limits that no loaded machine reaches, and a CDN that answers signed requests only.
const PATIENT: &str = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";

/// Objects are kept in memory.
const MEMORY: &str = "[Cache]\nSize = \"16MiB\"\n";

/// The secret with which the gateways of the tests sign.
const SIGNING_SECRET: &str = "signing-secret-of-the-tests-0123456789abc";

/// A gateway with a private app, `shop`, and its restricted CDN.
struct Scene {
    storage: S3Config,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Scene {
    async fn new() -> Self {
        Self::with("", "").await
    }

    /// With more sections of the app's file, and more settings.
    async fn with(sections: &str, settings: &str) -> Self {
        Self::on(Seaweed::shared().await.config(), sections, settings).await
    }

    async fn on(storage: S3Config, sections: &str, settings: &str) -> Self {
        let cdn = WireCdn::start().await;
        cdn.restrict_to(TrustedKey::p256(KEY_ID, P256));
        let gateway = setup(&storage, &cdn, sections, settings).start().await;
        Self { storage, cdn, gateway }
    }

    /// An upload of `owner-1` that has arrived, of which the CDN has a copy.
    async fn arrived(&self, photo: Photo) -> Grant {
        let grant = self.gateway.uploaded("shop", photo.file, photo.bytes).await;
        let path = StoragePath::from_listing(&format!("images/{}", grant.key()));
        let meta = open(self.storage.clone()).head(&path).await.unwrap();
        let copy = CdnObject::copy_of(&meta, photo.bytes);
        self.cdn.put(&format!("/images/{}", grant.key()), copy);
        grant
    }

    /// One that was found good.
    async fn ready(&self) -> Grant {
        let grant = self.arrived(WEBP).await;
        let finalize = self.gateway.request(Method::POST, grant.text("finalizeURL"));
        finalize.send().await.assert_success();
        grant
    }

    async fn ask_to_sign(&self, caller: Caller, key: &str, body: Value) -> Answer {
        let path = format!("/darkroom/shop/v1/images/{key}/signed-urls");
        let request = self.gateway.request(Method::POST, &path).with_body(body.to_string());
        caller.sends(request).send().await
    }

    /// A signed URL of an image of Ann's.
    async fn signed(&self, grant: &Grant) -> String {
        let answer = self.ask_to_sign(ANN, grant.key(), json!({})).await;
        answer.assert_success();
        answer.json()["data"]["url"].as_str().unwrap().to_owned()
    }

    fn read(&self, url: &str) -> Plain {
        self.gateway.request(Method::GET, url)
    }

    async fn delete(&self, grant: &Grant) {
        let path = format!("/darkroom/shop/v1/images/{}", grant.key());
        ANN.sends(self.gateway.request(Method::DELETE, &path)).send().await.assert_success();
    }
}

fn setup(storage: &S3Config, cdn: &WireCdn, sections: &str, settings: &str) -> Setup {
    let head = format!("Visibility = \"private\"\nCloudFrontURL = \"{}\"", cdn.url());
    let sections = format!("{PATIENT}\n{SIGNED}\n{sections}\n{}", identity_section());
    Setup::with_app("shop", app_file(storage, &head, &sections))
        .and_secret("shop/cloudfront.pem", P256)
        .and_settings(settings)
}

/// A URL as a gateway of the tests signs it.
fn sign(secret: &str, app: &str, grant: &Grant, key: &str, end: SystemTime) -> String {
    let signatures = ReadSignatures::new(vec![Secret::new(secret)]).unwrap();
    let right = signatures.sign(&AppName::parse(app).unwrap(), key, end);
    format!("{}?expires={}&signature={}", grant.public_url(), right.expires, right.signature)
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// What a browser and a cache on the way may make of it.
#[track_caller]
fn assert_is_for_one_reader(answer: &Answer, how: &str) {
    let cache_control = answer.header("cache-control");
    assert!(cache_control.starts_with("private, "), "{how}: {cache_control}");
    for absent in ["access-control-allow-origin", "timing-allow-origin", "age", "expires"] {
        assert!(!answer.headers.contains_key(absent), "{how}: {absent}");
    }
    assert_ne!(answer.header("cross-origin-resource-policy"), "cross-origin", "{how}");
    if answer.status != 304 {
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{how}");
    }
}

#[tokio::test]
async fn a_signed_url_reads_as_a_public_one_does() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    let whole = scene.read(&url).send().await;
    assert!(whole.status == 200 && whole.body == WEBP.bytes, "{}", whole.text());
    assert_eq!(whole.header("content-type"), WEBP.content_type);
    assert_eq!(whole.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
    assert_is_for_one_reader(&whole, "GET");
    let etag = whole.header("etag").to_owned();
    assert!(!etag.is_empty());

    let head = scene.gateway.request(Method::HEAD, &url).send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), WEBP.bytes.len().to_string());
    assert_is_for_one_reader(&head, "HEAD");
    for (name, value, status) in [
        ("Range", "bytes=5-9", 206),
        ("If-None-Match", etag.as_str(), 304),
        ("If-Match", etag.as_str(), 200),
    ] {
        let answer = scene.read(&url).with_header(name, Some(value)).send().await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_is_for_one_reader(&answer, name);
        if status == 206 {
            assert_eq!(answer.body, &WEBP.bytes[5..=9]);
        }
    }
    for (name, value, status) in
        [("If-Match", "\"another\"", 412), ("Range", "bytes=9999999-", 416)]
    {
        let answer = scene.read(&url).with_header(name, Some(value)).send().await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
    }
    // What others add to a URL means nothing.
    let answer = scene.read(&format!("{url}&utm_source=mail")).send().await;
    assert!(answer.status == 200 && answer.body == WEBP.bytes);
}

/// The browser's cache never outlives the signature, nor the app's own value, nor 60 s while the
/// object may still change.
#[tokio::test]
async fn no_answer_is_kept_for_longer_than_its_url_holds() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let max_age = async |expires_in: u64| {
        let body = json!({ "expiresIn": expires_in });
        let signed = scene.ask_to_sign(ANN, grant.key(), body).await.json();
        let answer = scene.read(signed["data"]["url"].as_str().unwrap()).send().await;
        answer.assert_success();
        let cache_control = answer.header("cache-control");
        let seconds = cache_control.strip_prefix("private, max-age=").unwrap();
        seconds.strip_suffix(", must-revalidate").unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(max_age(3600).await, 60, "its key is young");
    assert!(max_age(30).await <= 30);

    let strict = Scene::with("CacheControl = \"private, no-store\"", "").await;
    let grant = strict.ready().await;
    let answer = strict.read(&strict.signed(&grant).await).send().await;
    assert_eq!(answer.header("cache-control"), "private, no-store");
}

#[tokio::test]
async fn what_the_signing_endpoint_says() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let before = jiff::Timestamp::now().as_second();
    for (body, seconds) in [(json!({}), 3600), (json!({"expiresIn": 604_800, "x": 1}), 604_800)] {
        let answer = scene.ask_to_sign(ANN, grant.key(), body).await;
        answer.assert_success();
        assert_eq!(answer.header("cache-control"), "no-store");
        let data = answer.json()["data"].clone();
        let ends = data["expiresAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let (ends, after) = (ends.as_second(), jiff::Timestamp::now().as_second());
        assert!((before + seconds..=after + seconds).contains(&ends), "{data}");
        let url = data["url"].as_str().unwrap();
        let (base, query) = url.split_once('?').unwrap();
        assert_eq!(base, grant.public_url());
        assert!(query.starts_with(&format!("expires={ends}&signature=")), "{query}");
    }
    // Without a body at all.
    let path = format!("/darkroom/shop/v1/images/{}/signed-urls", grant.key());
    ANN.sends(scene.gateway.request(Method::POST, &path)).send().await.assert_success();
    let ok = "safelight_signed_urls_total{app=\"shop\",outcome=\"ok\"}";
    assert_eq!(scene.gateway.metrics().await.value(ok), 3.0);
}

/// Memory keeps the bytes, and asks everybody for the right to them.
#[tokio::test]
async fn memory_answers_only_those_who_may() {
    let scene = Scene::with("", MEMORY).await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    scene.read(&url).send().await.assert_success();
    let hit = scene.read(&url).send().await;
    assert_eq!(hit.header("cache-status"), "safelight; hit");
    assert!(hit.body == WEBP.bytes);
    assert_is_for_one_reader(&hit, "from memory");
    scene.read(grant.public_url()).send().await.assert_problem(401, "unauthenticated");
    let forged = format!("{}0", &url[..url.len() - 1]);
    let forged = if forged == url { format!("{}1", &url[..url.len() - 1]) } else { forged };
    scene.read(&forged).send().await.assert_problem(403, "forbidden");
    BOB.sends(scene.read(grant.public_url())).send().await.assert_problem(404, "not_found");
    scene.delete(&grant).await;
    scene.read(&url).send().await.assert_problem(404, "not_found");
}
