//! A CDN that answers signed requests only, as a restricted CloudFront distribution does: reads come
//! through it, one signature serves many of them, and nobody else ever sees it.

use std::time::{Duration, SystemTime};

use http::Method;
use ring::rsa::PublicKeyComponents;
use ring::signature::RsaKeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::harness::gateway::{Metrics, Setup, TestGateway, app_file};
use crate::harness::photos;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::Program;
use crate::harness::published::Published;
use crate::harness::python;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{SeenRequest, TrustedKey, WireCdn, cookie};

/// The id of the key in the key group.
pub const KEY_ID: &str = "K2JCJMDEHXQW5F";

/// A key of the group, which the app has in the file `cloudfront.pem` of its secrets.
pub const P256: &str = include_str!("../keys/cloudfront/p256.pkcs8.pem");

/// Another one.
const RSA: &str = include_str!("../keys/cloudfront/rsa-2048.pkcs8.pem");

/// What the app's file says of it, in its `[Read]`.
pub const SIGNED: &str =
    "SigningKeyPairID = \"K2JCJMDEHXQW5F\"\nSigningKeyFile = \"cloudfront.pem\"";

/// The names of the cookies that make a signed request.
const COOKIES: [&str; 4] = [
    "CloudFront-Policy",
    "CloudFront-Signature",
    "CloudFront-Key-Pair-Id",
    "CloudFront-Hash-Algorithm",
];

/// A photo in storage and at a restricted CDN.
struct Scene {
    photo: Published,
    cdn: WireCdn,
    setup: Setup,
}

impl Scene {
    /// With the app's key and what its `[Read]` says, at a CDN that trusts this one.
    async fn new(trusted: TrustedKey, pem: &str, read: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let photo = Published::photo(&storage, photos::WEBP).await;
        let cdn = WireCdn::start().await;
        cdn.put(&photo.cdn_path(), photo.copy());
        cdn.restrict_to(trusted);
        let head = format!("CloudFrontURL = \"{}\"", cdn.url());
        let patient = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";
        let file = app_file(&storage, &head, &format!("{patient}\n{read}"));
        let setup = Setup::with_app("shop", file).and_secret("shop/cloudfront.pem", pem);
        Self { photo, cdn, setup }
    }

    async fn start(self) -> (Published, WireCdn, TestGateway) {
        (self.photo, self.cdn, self.setup.start().await)
    }
}

fn asked(metrics: &Metrics, outcome: &str) -> f64 {
    let labels = format!("app=\"shop\",outcome=\"{outcome}\"");
    metrics.value(&format!("safelight_cdn_requests_total{{{labels}}}"))
}

/// The texts that nobody but the CDN may see: the key's id, and what is in the cookies.
fn secrets_of(request: &SeenRequest) -> Vec<String> {
    let mut secrets: Vec<_> =
        COOKIES[..3].iter().map(|name| cookie(request, name).expect("it is signed")).collect();
    secrets.extend(COOKIES.map(str::to_owned));
    secrets
}

#[track_caller]
fn assert_tells_none(text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
    }
}

fn whole_text(answer: &Answer) -> String {
    format!("{:?}\n{}", answer.headers, String::from_utf8_lossy(&answer.body))
}

#[tokio::test]
async fn every_read_is_signed_and_all_with_one_signature() {
    for (trusted, pem) in
        [(TrustedKey::rsa(KEY_ID, RSA), RSA), (TrustedKey::p256(KEY_ID, P256), P256)]
    {
        let (photo, cdn, gateway) = Scene::new(trusted, pem, SIGNED).await.start().await;
        let read = |method| gateway.request(method, &photo.path());
        let cases = [
            (read(Method::GET), 200),
            (read(Method::GET), 200),
            (read(Method::HEAD), 200),
            (read(Method::GET).with_header("Range", Some("bytes=1-9")), 206),
            (read(Method::GET).with_header("If-None-Match", Some(photo.etag())), 304),
            // What a client sends of the kind is nobody's business upstream.
            (read(Method::GET).with_header("Cookie", Some("CloudFront-Policy=a; b=c")), 200),
        ];
        let count = cases.len();
        let mut answers = Vec::new();
        for (request, status) in cases {
            let answer = request.send().await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
            answers.push(answer);
        }
        assert!(answers[1].body == photo.bytes);
        let metrics = gateway.metrics().await;
        assert_eq!(asked(&metrics, "ok"), 6.0);
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);

        let requests = cdn.requests();
        assert_eq!(requests.len(), count);
        let first = requests[0].header("cookie").expect("it is signed");
        let names = first.split("; ").map(|pair| pair.split_once('=').unwrap().0);
        assert_eq!(names.collect::<Vec<_>>(), COOKIES);
        for request in &requests {
            // ECDSA signs the same policy with other bytes each time: these are of one signature.
            assert_eq!(request.header("cookie"), Some(first));
            let cookies = request.headers.iter().filter(|(name, _)| name == "cookie");
            assert_eq!(cookies.count(), 1, "{request:?}");
            assert_eq!(request.target, photo.cdn_path(), "the URL is the one that is cached");
        }
        let secrets = secrets_of(&requests[0]);
        for answer in &answers {
            assert_tells_none(&whole_text(answer), &secrets);
        }
    }
}

#[tokio::test]
async fn what_the_cdn_does_not_trust_is_a_fallback_and_counted_as_403() {
    let trusted = || TrustedKey::p256(KEY_ID, P256);
    for (why, trusted, pem, read) in [
        ("another key under that id", TrustedKey::rsa(KEY_ID, RSA), P256, SIGNED),
        ("another id", TrustedKey::p256("K3", P256), P256, SIGNED),
        ("not signed", trusted(), P256, ""),
    ] {
        let (photo, cdn, gateway) = Scene::new(trusted, pem, read).await.start().await;
        let answer = gateway.get(&photo.path()).await;
        assert_eq!(answer.status, 200, "{why}");
        assert!(answer.is_whole && answer.body == photo.bytes, "{why}");
        let explained = "safelight; fwd=uri-miss; detail=\"storage; cdn=status_403\"";
        assert_eq!(answer.header("cache-status"), explained, "{why}");
        assert_eq!(cdn.requests().len(), 1, "{why}: once");
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.fallbacks("shop", "status_403", "served"), 1.0, "{why}");
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0, "{why}");
        assert_eq!(asked(&metrics, "status_403"), 1.0, "{why}");
    }
}

/// What a pass is good for, by the verifier's own word: the app's prefix, and fifteen minutes.
#[tokio::test]
async fn a_signature_is_for_the_apps_prefix_and_for_minutes() {
    let key = TrustedKey::p256(KEY_ID, P256);
    let (photo, cdn, gateway) = Scene::new(key, P256, SIGNED).await.start().await;
    gateway.get(&photo.path()).await.assert_success();
    let (key, request) = (TrustedKey::p256(KEY_ID, P256), cdn.requests().remove(0));
    let now = SystemTime::now();
    let minutes = |minutes: u64| now + Duration::from_secs(60 * minutes);
    let aimed_at = |target: &str| SeenRequest { target: target.to_owned(), ..request.clone() };
    let changed = |from: &str, to: &str| {
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.replace(from, to)));
        SeenRequest { headers: headers.collect(), ..request.clone() }
    };
    let other_end = cookie(&request, "CloudFront-Policy").unwrap();
    for (request, now, expected) in [
        (request.clone(), now, Ok(())),
        (request.clone(), minutes(14), Ok(())),
        (request.clone(), minutes(16), Err("it has run out")),
        (aimed_at("/images/a/b.jpg"), now, Ok(())),
        (aimed_at("/image"), now, Err("another URL")),
        (aimed_at("/other/images/a.jpg"), now, Err("another URL")),
        (changed("127.0.0.1", "cdn.example"), now, Err("another URL")),
        (changed("; CloudFront-Hash-Algorithm=SHA256", ""), now, Err("a cookie is missing")),
        (changed(KEY_ID, "K3"), now, Err("unknown key")),
        (changed(&other_end, "e30_"), now, Err("wrong signature")),
    ] {
        assert_eq!(key.check(&request, now), expected, "{}", request.target);
    }
}

/// The whole program, with a log that leaves nothing out: reads that the CDN answers, one that it
/// refuses, and one of an object that is nowhere.
#[tokio::test]
async fn nobody_but_the_cdn_sees_the_signature() {
    let scene = Scene::new(TrustedKey::rsa(KEY_ID, RSA), RSA, SIGNED).await;
    let (_folder, settings) = scene.setup.files();
    let start = move || Program::serve(&settings, &[("SAFELIGHT_LOG", "trace")]);
    let mut program = tokio::task::spawn_blocking(start).await.unwrap();
    let (mut program, base, admin) = tokio::task::spawn_blocking(move || {
        let (base, admin) = program.addresses();
        (program, base, admin)
    })
    .await
    .unwrap();
    let get = |url: String| Plain::new(Method::GET, url).send();
    let path = scene.photo.path();
    let mut said = String::new();
    for (path, status, trusted) in [
        (path.clone(), 200, TrustedKey::rsa(KEY_ID, RSA)),
        (path.replace("images/", "images/x"), 404, TrustedKey::rsa(KEY_ID, RSA)),
        (path.clone(), 200, TrustedKey::rsa("K3", RSA)),
    ] {
        scene.cdn.restrict_to(trusted);
        let answer = get(format!("{base}{path}")).await;
        assert_eq!(answer.status, status, "{path}");
        said += &whole_text(&answer);
    }
    let requests = scene.cdn.requests();
    let apps = get(format!("{admin}/apps")).await;
    assert!(apps.text().contains("shop"));
    said += &apps.text();
    said += &get(format!("{admin}/metrics")).await.text();
    let ended = tokio::task::spawn_blocking(move || {
        program.wait_for("the CDN failed");
        program.terminate();
        program.ended()
    })
    .await
    .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    said += &ended.stdout;
    said += &ended.stderr;
    assert!(ended.stderr.contains("status_403"), "the log is there");
    assert_tells_none(&said, &secrets_of(&requests[0]));
    for line in RSA.lines().filter(|line| !line.starts_with('-')) {
        assert!(!said.contains(line), "a line of the key is told");
    }
}

/// The policy is the one that botocore builds, in its encoding, and RSA as its standard defines it
/// says that the signature is right.
#[tokio::test]
async fn the_cookies_are_those_of_botocore() {
    let scene = Scene::new(TrustedKey::rsa(KEY_ID, RSA), RSA, SIGNED).await;
    let (photo, cdn, gateway) = scene.start().await;
    gateway.get(&photo.path()).await.assert_success();
    let request = cdn.requests().remove(0);
    let der = PrivatePkcs8KeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    let public = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public: PublicKeyComponents<Vec<u8>> = public.public().into();
    let modulus: String = public.n.iter().map(|byte| format!("{byte:02x}")).collect();
    let cookies = COOKIES.map(|name| (name.to_owned(), cookie(&request, name).unwrap().into()));
    let given = json!({
        "cookies": serde_json::Map::from_iter(cookies),
        "resource": format!("{}/images/*", cdn.url()),
        "id": KEY_ID,
        "n": modulus,
    });
    let verify = move || python::run("signed_cdn/botocore_verify.py", format!("{given}\n"));
    tokio::task::spawn_blocking(verify).await.unwrap();
}
