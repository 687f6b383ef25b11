//! Larger objects in memory, which the kernel sends from files where it may.

use bytes::Bytes;
use http::header::RANGE;
use http::{HeaderValue, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stale::{ASKED, OVER};
use super::{CACHE, FROM_CDN, HIT, PATIENT, assert_is};
use crate::harness::certificates::{Authority, ServerFiles};
use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::http2_client::{Http2Client, tls, trusting};
use crate::harness::raw::Raw;
use crate::harness::wire_cdn::{CdnObject, WireCdn};

/// Not a whole number of pages, and more than a socket takes at once.
const LENGTH: usize = 7 * (1 << 20) + 4_321;

const PATH: &str = "/darkroom/shop/v2/images/large.jpg";
const CDN_PATH: &str = "/large.jpg";

/// The first of these lies in no page from its start to its end.
const RANGES: [(usize, usize); 4] = [(4_000, 4_200), (0, 0), (1, LENGTH - 1), (123_456, 234_567)];

/// A gateway, and an object that its CDN has.
struct Scene {
    cdn: WireCdn,
    gateway: TestGateway,
    bytes: Vec<u8>,
}

impl Scene {
    async fn new(setup: impl FnOnce(Setup) -> Setup) -> Self {
        let (cdn, bytes) = (WireCdn::start().await, noise(0));
        cdn.put(CDN_PATH, object(&bytes, "\"one\"", &[]));
        let head = format!("AcceptForeignKeys = true\nCloudFrontURL = \"{}\"", cdn.url());
        let read = format!("{PATIENT}\nMemoryCacheMaxObject = \"8MiB\"");
        let plain = Setup::with_app("shop", offline_app_file(&head, &read)).and_settings(CACHE);
        Self { cdn, gateway: setup(plain).start().await, bytes }
    }
}

/// Bytes of which none are like others nearby.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn object(bytes: &[u8], etag: &str, headers: &[(&str, &str)]) -> CdnObject {
    let object = CdnObject { bytes: Bytes::copy_from_slice(bytes), headers: Vec::new() };
    let object = object.and("Content-Type", "image/jpeg").and("ETag", etag);
    headers.iter().fold(object, |object, (name, value)| object.and(name, value))
}

async fn files(gateway: &TestGateway) -> f64 {
    gateway.metrics().await.value("safelight_memory_files")
}

fn range(&(start, end): &(usize, usize)) -> HeaderValue {
    HeaderValue::try_from(format!("bytes={start}-{end}")).unwrap()
}

async fn over_http2(client: &Http2Client, bytes: &[u8]) {
    assert_is(&client.get(PATH).await, bytes, HIT);
    for asked in &RANGES {
        let mut request = client.request(Method::GET, PATH);
        request.headers_mut().insert(RANGE, range(asked));
        let answer = client.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.is_whole), (206, true), "{}", answer.text());
        assert!(answer.body == bytes[asked.0..=asked.1], "{asked:?}");
    }
}

#[tokio::test]
async fn in_the_clear_they_are_sent_from_files() {
    let scene = Scene::new(|setup| setup.and_server("H2C = true")).await;
    let Scene { gateway, bytes, .. } = &scene;
    assert_is(&gateway.get(PATH).await, bytes, FROM_CDN);
    assert_eq!(files(gateway).await, f64::from(u8::from(cfg!(target_os = "linux"))));
    assert_is(&gateway.get(PATH).await, bytes, HIT);
    for asked in &RANGES {
        let value = range(asked);
        let request = gateway.request(Method::GET, PATH);
        let answer = request.with_header("Range", Some(value.to_str().unwrap())).send().await;
        assert_eq!((answer.status.as_u16(), answer.is_whole), (206, true), "{}", answer.text());
        assert!(answer.body == bytes[asked.0..=asked.1], "{asked:?}");
    }
    over_http2(&Http2Client::connect(gateway).await, bytes).await;
    let given = r#"safelight_read_bytes_total{app="shop",source="memory"}"#;
    let parts: usize = RANGES.iter().map(|(start, end)| end - start + 1).sum();
    let all = LENGTH + 2 * (LENGTH + parts);
    assert_eq!(gateway.metrics().await.value(given), all as f64);
}

#[tokio::test]
async fn under_tls_there_are_no_files() {
    let authority = Authority::new();
    let certificate = ServerFiles::new(&authority.issue(2090));
    let settings = format!("\n{}", certificate.settings());
    let scene = Scene::new(|setup| setup.and_settings(&settings)).await;
    let Scene { gateway, bytes, .. } = &scene;
    let config = trusting(&authority.pem(), &["h2"]);
    let client = Http2Client::connect_tls(gateway, &config).await;
    assert_is(&client.get(PATH).await, bytes, FROM_CDN);
    over_http2(&client, bytes).await;
    assert_eq!(files(gateway).await, 0.0);
    let mut stream = tls(gateway, &trusting(&authority.pem(), &["http/1.1"])).await.unwrap();
    let ask = format!("GET {PATH} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(bytes));
}

/// Whoever is in the middle of an object that has made way for another reads it to its end, also what
/// a socket held of it by then.
#[tokio::test]
async fn what_is_forgotten_is_still_read_to_its_end() {
    let Scene { cdn, gateway, bytes } = Scene::new(|setup| setup).await;
    cdn.put(CDN_PATH, object(&bytes, "\"one\"", OVER));
    gateway.get(PATH).await.assert_success();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::connect(&gateway.base).await;
        raw.send(format!("GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(raw.head().await.unwrap().header("cache-status"), ASKED);
        readers.push(raw);
    }
    for seed in 1..4 {
        let others = noise(seed);
        cdn.put(CDN_PATH, object(&others, &format!("\"{seed}\""), OVER));
        assert_is(&gateway.get(PATH).await, &others, ASKED);
    }
    for mut raw in readers {
        assert!(raw.body(LENGTH).await == bytes);
    }
}
