//! What it costs to sign one upload for S3 and one for Google Cloud Storage, beside the least that
//! it could cost and the other ways to do it: `cargo bench --bench signing`. With `--json` it prints for
//! `bench/run signing`, which sets the ways of other languages beside these.
//!
//! Batches of all ways take turns, so that a slow moment of the machine hits all of them, and the
//! median of a way's batches counts. One signature at a time; nothing is sent.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use futures_util::FutureExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use safelight::domain::{MediaType, Secret, Source, StoragePath};
use safelight::storage::{
    AccessKey, GcsConfig, GcsCredentials, GcsStore, GcsTimeouts, ObjectStore as _, Provider,
    PutGrant, S3Config, S3Credentials, S3Store, S3Timeouts, ServiceAccount,
};
use safelight::upstream::{AddressPolicy, Client};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const BUCKET: &str = "my-app-media";
const HOST: &str = "my-app-media.s3.us-east-1.amazonaws.com";
const REGION: &str = "us-east-1";
const KEY: &str = "images/01kamb5x4yt0a9qwe8m3zr6v7d-profile-photo.jpg";
const EXPIRES_IN: Duration = Duration::from_secs(900);
/// 2026-11-21, the same second for everybody: no way may work less because a second is not over.
const NOW: u64 = 1_795_219_200;

/// Batches of each way.
const ROUNDS: usize = 101;

/// A way to sign, and how often in a batch: about a millisecond or more for each.
struct Way<'a> {
    name: &'static str,
    batch: u32,
    sign: Box<dyn FnMut() + 'a>,
    /// Microseconds for one signature, a batch each.
    took: Vec<f64>,
}

impl<'a> Way<'a> {
    fn new(name: &'static str, batch: u32, sign: impl FnMut() + 'a) -> Self {
        Self { name, batch, sign: Box::new(sign), took: Vec::new() }
    }

    fn run(&mut self) {
        let start = Instant::now();
        for _ in 0..self.batch {
            (self.sign)();
        }
        self.took.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(self.batch));
    }

    fn median(&mut self) -> f64 {
        self.took.sort_by(f64::total_cmp);
        self.took[self.took.len() / 2]
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The gateway's store, opened as the gateway opens it.
fn store() -> S3Store {
    let config = S3Config {
        bucket: BUCKET.into(),
        provider: Provider::Aws,
        region: REGION.into(),
        endpoint: None,
        path_style: false,
        credentials: S3Credentials::Key(AccessKey {
            access_key_id: ACCESS_KEY_ID.into(),
            secret_access_key: Secret::new(SECRET_ACCESS_KEY),
            session_token: None,
        }),
        source: Source::S3,
        timeouts: S3Timeouts::default(),
    };
    let client = Client::new(AddressPolicy::default()).expect("certificate authorities");
    S3Store::new(config, client).expect("the settings are right")
}

fn ours(store: &S3Store, path: &StoragePath, strict: bool) -> String {
    let grant = PutGrant {
        path,
        media_type: MediaType::Jpeg,
        size: strict.then_some(123_456),
        sha256: strict.then_some([7; 32]),
        prevent_overwrite: strict,
        expires_in: EXPIRES_IN,
    };
    let signed = store.sign_put(&grant, now()).now_or_never().expect("signing waits for nobody");
    signed.expect("the request can be signed").url
}

/// The canonical request of the plain upload, and what is signed besides its digest.
fn texts(url: &str) -> (String, String) {
    let (_, query) = url.split_once('?').expect("a query");
    let (query, _) = query.split_once("&X-Amz-Signature=").expect("a signature");
    let request = format!(
        "PUT\n/{KEY}\n{query}\ncontent-type:image/jpeg\nhost:{HOST}\n\ncontent-type;host\n\
         UNSIGNED-PAYLOAD"
    );
    let scope = format!("{}/{REGION}/s3/aws4_request", &date(query)[..8]);
    (request, format!("AWS4-HMAC-SHA256\n{}\n{scope}\n", date(query)))
}

fn date(query: &str) -> &str {
    let (_, rest) = query.split_once("X-Amz-Date=").expect("a date");
    &rest[..16]
}

fn day_key(date: &str) -> [u8; 32] {
    let first = format!("AWS4{SECRET_ACCESS_KEY}").into_bytes();
    [date, REGION, "s3", "aws4_request"].iter().fold(first, |key, step| hmac(&key, step).to_vec())
        [..]
        .try_into()
        .expect("32 bytes")
}

fn hmac(key: &[u8], message: impl AsRef<[u8]>) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

fn hex(bytes: [u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
    }
    text
}

/// The floor: what no signer can leave out. Texts and the key of the day are there already.
fn bare_chain(key: &[u8; 32], canonical_request: &str, head: &str) -> String {
    let mut to_sign = String::with_capacity(head.len() + 64);
    to_sign.push_str(head);
    to_sign.push_str(&hex(Sha256::digest(canonical_request).into()));
    hex(hmac(key, to_sign))
}

fn sdk() -> aws_sdk_s3::Client {
    let credentials = aws_sdk_s3::config::Credentials::new(
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        None,
        None,
        "benchmark",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn sdk_presigned(client: &aws_sdk_s3::Client) -> String {
    let config = PresigningConfig::builder().start_time(now()).expires_in(EXPIRES_IN);
    let request = client.put_object().bucket(BUCKET).key(KEY).content_type("image/jpeg");
    let signed = request.presigned(config.build().expect("a valid life")).await;
    signed.expect("the request can be signed").uri().to_owned()
}

fn crate_signed() -> String {
    let credentials = aws_credential_types::Credentials::new(
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        None,
        None,
        "benchmark",
    );
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(EXPIRES_IN);
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    let params = v4::SigningParams::builder().identity(&identity).region(REGION).name("s3");
    let params = params.time(now()).settings(settings).build().expect("complete").into();
    let url = format!("https://{HOST}/{KEY}");
    let headers = [("content-type", "image/jpeg")].into_iter();
    let body = SignableBody::UnsignedPayload;
    let request = SignableRequest::new("PUT", &url, headers, body).expect("a request");
    let (instructions, _) = sign(request, &params).expect("a signature").into_parts();
    let mut request = http::Request::put(&url).body(()).expect("a request");
    instructions.apply_to_request_http1x(&mut request);
    request.uri().to_string()
}

/// A service account's key file that opens nothing.
const KEY_FILE: &str = include_str!("../tests/keys/service-account.json");

/// The gateway's store at Google, opened as the gateway opens it, inside of a runtime.
fn gcs_store() -> GcsStore {
    let account = ServiceAccount::parse(Secret::new(KEY_FILE)).expect("a key file");
    let config = GcsConfig {
        bucket: BUCKET.into(),
        endpoint: None,
        credentials: GcsCredentials::Account(account),
        timeouts: GcsTimeouts::default(),
    };
    let client = Client::new(AddressPolicy::default()).expect("certificate authorities");
    GcsStore::new(config, client).expect("the settings are right")
}

/// As the gateway does it: the RSA on a thread for such work, and back to whoever waits for the URL.
async fn gcs_signed(store: &GcsStore, path: &StoragePath) -> String {
    let grant = PutGrant {
        path,
        media_type: MediaType::Jpeg,
        size: Some(123_456),
        sha256: None,
        prevent_overwrite: true,
        expires_in: EXPIRES_IN,
    };
    store.sign_put(&grant, now()).await.expect("the request can be signed").url
}

fn rsa_key() -> RsaKeyPair {
    let file: serde_json::Value = serde_json::from_str(KEY_FILE).expect("JSON");
    let pem = file["private_key"].as_str().expect("a key").as_bytes();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).expect("PEM");
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("an RSA key")
}

/// The floor: what no signer can leave out. The text is there already.
fn raw_rsa(key: &RsaKeyPair, text: &str) -> Vec<u8> {
    let mut signature = vec![0; key.public().modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("it signs");
    signature
}

/// What is signed for a URL of Google's, by its documentation.
fn string_to_sign(url: &str) -> String {
    let (_, query) = url.split_once('?').expect("a query");
    let (query, _) = query.split_once("&X-Goog-Signature=").expect("a signature");
    let (_, date) = query.split_once("X-Goog-Date=").expect("a date");
    let date = &date[..16];
    let request = format!(
        "PUT\n/{BUCKET}/{KEY}\n{query}\ncontent-type:image/jpeg\nhost:storage.googleapis.com\n\
         x-goog-content-length-range:123456,123456\nx-goog-if-generation-match:0\n\n\
         content-type;host;x-goog-content-length-range;x-goog-if-generation-match\n\
         UNSIGNED-PAYLOAD"
    );
    let digest = hex(Sha256::digest(request).into());
    let scope = format!("{}/auto/storage/goog4_request", &date[..8]);
    format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{digest}")
}

/// Whether a URL of Google's holds the account's signature of that text.
fn is_signed(key: &RsaKeyPair, url: &str, text: &str) -> bool {
    let (_, digits) = url.split_once("X-Goog-Signature=").expect("a signature");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    let signature: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
    public.verify(text.as_bytes(), &signature).is_ok()
}

fn signature(url: &str) -> &str {
    let (_, rest) = url.split_once("X-Amz-Signature=").expect("a signature");
    rest.split('&').next().unwrap_or(rest)
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    let (s3, gcs) = (s3(&runtime), gcs(&runtime));
    if std::env::args().any(|argument| argument == "--json") {
        println!("{}", serde_json::json!({ "s3": s3, "gcs": gcs }));
        return;
    }
    println!("{:48} {:>9} {:>8}", "one upload URL for S3", "µs", "of (a)");
    for (name, median) in &s3 {
        println!("{name:48} {median:9.2} {:7.1}x", median / s3[0].1);
    }
    println!("\n{:48} {:>9} {:>8}", "one upload URL for Google Cloud Storage", "µs", "rate");
    for (name, median) in &gcs {
        println!("{name:48} {median:9.1} {:7.0}%", 100.0 * gcs[0].1 / median);
    }
}

/// A way's name, and its median in microseconds.
type Median = (&'static str, f64);

fn s3(runtime: &Runtime) -> Vec<Median> {
    let (store, sdk, path) = (store(), sdk(), StoragePath::from_listing(KEY));

    // All sign the same request, so all signatures must be the same (the SDK signs its own
    // `x-id=PutObject` as well).
    let url = ours(&store, &path, false);
    let (canonical_request, head) = texts(&url);
    let key = day_key(&date(&url)[..8]);
    assert_eq!(signature(&url), bare_chain(&key, &canonical_request, &head), "the bare chain");
    assert_eq!(signature(&url), signature(&crate_signed()), "aws-sigv4");
    assert!(runtime.block_on(sdk_presigned(&sdk)).contains("X-Amz-Signature="), "aws-sdk-s3");

    let mut ways = [
        Way::new("(a) bare chain: SHA-256 and HMAC, key cached", 1_000, || {
            black_box(bare_chain(black_box(&key), black_box(&canonical_request), &head));
        }),
        Way::new("(b) S3Store::sign_put", 1_000, || {
            black_box(ours(&store, black_box(&path), false));
        }),
        Way::new("(b') … with size, checksum, create-once", 1_000, || {
            black_box(ours(&store, black_box(&path), true));
        }),
        Way::new("(c) aws-sdk-s3 presigned()", 50, || {
            black_box(runtime.block_on(sdk_presigned(black_box(&sdk))));
        }),
        Way::new("(d) aws-sigv4, key derived for each", 100, || {
            black_box(crate_signed());
        }),
    ];
    medians(&mut ways)
}

fn gcs(runtime: &Runtime) -> Vec<Median> {
    let (store, path, key) = (gcs_store(), StoragePath::from_listing(KEY), rsa_key());
    let url = runtime.block_on(gcs_signed(&store, &path));
    let text = string_to_sign(&url);
    assert!(is_signed(&key, &url, &text), "the gateway signs what (e) signs");
    let mut ways = [
        Way::new("(e) raw RSA-2048 PKCS #1 v1.5, SHA-256 (ring)", 10, || {
            black_box(raw_rsa(black_box(&key), black_box(&text)));
        }),
        Way::new("(f) GcsStore::sign_put, size and create-once", 10, || {
            black_box(runtime.block_on(gcs_signed(&store, black_box(&path))));
        }),
    ];
    medians(&mut ways)
}

/// Has all ways take turns, and gives the median of each.
fn medians(ways: &mut [Way<'_>]) -> Vec<Median> {
    for _ in 0..ROUNDS {
        ways.iter_mut().for_each(Way::run);
    }
    ways.iter_mut().map(|way| (way.name, way.median())).collect()
}
