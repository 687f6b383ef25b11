//! What happens when the CDN's body breaks off in the middle: it is continued from storage, or it
//! is visibly broken. Never is it spliced from two versions, and never short with a clean end.

mod matrix;

use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use safelight::storage::S3Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::dead_ends::nobody;
use crate::harness::gateway::{Metrics, Setup, TestGateway, app_file, mint_key};
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{Act, CdnObject, End, Framing, Reply, WireCdn};

/// Enough that no socket buffer holds it all, in bytes.
const LARGE: usize = 12 << 20;

/// Limits that no loaded machine reaches.
const PATIENT: &str =
    "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"\nStallTimeout = \"30s\"";

/// The same, but for bodies that stand still.
const NO_STALLING: &str =
    "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"\nStallTimeout = \"500ms\"";

/// The limits for a body that ends this way.
fn limits_for(end: End) -> &'static str {
    if end == End::Stall { NO_STALLING } else { PATIENT }
}

/// A large object in storage, a CDN that has a copy, and a gateway that asks the CDN first.
struct Scene {
    storage: S3Config,
    object: Published,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Scene {
    async fn new(size: usize) -> Self {
        Self::with_limits(size, PATIENT).await
    }

    async fn with_limits(size: usize, limits: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let key = mint_key("shop", SystemTime::now(), "large.jpg");
        let object = Published::under(&storage, &key, "image/jpeg", bytes(size, 1)).await;
        let cdn = WireCdn::start().await;
        cdn.put(&object.cdn_path(), object.copy());
        let head = format!("CloudFrontURL = \"{}\"", cdn.url());
        let gateway = Setup::with_app("shop", app_file(&storage, &head, limits)).start().await;
        Self { storage, object, cdn, gateway }
    }

    /// Lets the CDN have another copy.
    fn cdn_has(&self, change: impl FnOnce(CdnObject) -> CdnObject) {
        self.cdn.put(&self.object.cdn_path(), change(self.object.copy()));
    }

    fn request(&self, range: Option<&str>) -> Plain {
        let request = self.gateway.request(Method::GET, &self.object.path());
        request.with_header("Range", range)
    }

    async fn read(&self, range: Option<&str>) -> Answer {
        self.request(range).send().await
    }

    /// The read is visibly broken, and what came of it is right. What is on its way when a
    /// connection breaks may be lost, with the head if that is on its way too.
    async fn assert_broken(&self, request: Plain, at_most: usize, why: &str) {
        let Ok(answer) = request.try_send().await else { return };
        assert!(!answer.is_whole, "{why}: it ended as if it were whole");
        assert!(answer.body.len() <= at_most, "{why}: {} bytes", answer.body.len());
        assert!(self.object.bytes.starts_with(&answer.body), "{why}: spliced");
    }
}

/// Bytes that differ from place to place, and from seed to seed (a linear congruential generator).
fn bytes(size: usize, seed: u64) -> Bytes {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

fn healed(reason: &str) -> String {
    format!("safelight_streams_healed_total{{app=\"shop\",reason=\"{reason}\"}}")
}

fn aborted(cause: &str) -> String {
    format!("safelight_streams_aborted_total{{app=\"shop\",cause=\"{cause}\"}}")
}

/// A body that breaks off is no failure of the request: the CDN has answered.
#[track_caller]
fn assert_cdn_answered(metrics: &Metrics, why: &str) {
    assert_eq!(metrics.value("safelight_cdn_requests_total{app=\"shop\",outcome=\"ok\"}"), 1.0);
    assert_eq!(metrics.sum("safelight_cdn_requests_total"), 1.0, "{why}");
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0, "{why}");
}

/// It was broken off once, for this cause, and never healed.
#[track_caller]
fn assert_one_abort(metrics: &Metrics, cause: &str, why: &str) {
    assert_eq!(metrics.value(&aborted(cause)), 1.0, "{why}");
    assert_eq!(metrics.sum("safelight_streams_aborted_total"), 1.0, "{why}");
    assert_eq!(metrics.sum("safelight_streams_healed_total"), 0.0, "{why}");
    assert_cdn_answered(metrics, why);
}

#[tokio::test]
async fn a_broken_body_is_continued_from_storage() {
    for (end, reason) in [(End::Close, "short"), (End::Reset, "reset"), (End::Stall, "stall")] {
        for after in [0, 1, 65_536, 1_000_000, (1 << 20) - 1] {
            let name = format!("{end:?} after {after}");
            let scene = Scene::with_limits(1 << 20, limits_for(end)).await;
            scene.cdn.next(Act::broken(after, end));
            let answer = scene.read(None).await;
            assert_eq!(answer.status, 200, "{name}");
            assert_eq!(answer.header("content-length"), (1 << 20).to_string(), "{name}");
            assert!(answer.is_whole && answer.body == scene.object.bytes, "{name}");
            let metrics = scene.gateway.metrics().await;
            assert_eq!(metrics.value(&healed(reason)), 1.0, "{name}");
            assert_eq!(metrics.sum("safelight_streams_healed_total"), 1.0, "{name}");
            assert_eq!(metrics.sum("safelight_streams_aborted_total"), 0.0, "{name}");
            assert_cdn_answered(&metrics, &name);
            assert_eq!(scene.cdn.requests().len(), 1, "{name}: the CDN is not asked again");
        }
    }
}

#[tokio::test]
async fn a_broken_part_is_continued_from_storage() {
    for (act, name) in [
        (Act::broken(1000, End::Close), "the CDN sent the part"),
        (
            Act::Reply(Box::new(|reply, object| {
                *reply = Reply { broken: Some((101_000, End::Close)), ..Reply::whole(object) };
            })),
            "the CDN sent the whole object, and the gateway cut",
        ),
    ] {
        let scene = Scene::new(1 << 20).await;
        scene.cdn.next(act);
        let answer = scene.read(Some("bytes=100000-199999")).await;
        assert_eq!(answer.status, 206, "{name}");
        assert_eq!(answer.header("content-range"), "bytes 100000-199999/1048576", "{name}");
        assert!(answer.is_whole && answer.body == scene.object.bytes[100_000..200_000], "{name}");
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.value(&healed("short")), 1.0, "{name}");
        assert_cdn_answered(&metrics, name);
    }
}

#[tokio::test]
async fn two_versions_are_never_spliced() {
    const AFTER: usize = 300_000;
    for (name, other) in [
        ("as long", bytes(1 << 20, 2)),
        ("shorter than what was sent", bytes(1000, 2)),
        ("longer", bytes(2 << 20, 2)),
    ] {
        for end in [End::Close, End::Reset, End::Stall] {
            let scene = Scene::with_limits(1 << 20, limits_for(end)).await;
            scene.object.replace(&scene.storage, other.clone()).await;
            scene.cdn.next(Act::broken(AFTER, end));
            scene.assert_broken(scene.request(None), AFTER, name).await;
            assert_one_abort(&scene.gateway.metrics().await, "changed", name);
        }
    }
}

#[tokio::test]
async fn what_was_delivered_before_the_break_was_right() {
    let scene = Scene::with_limits(1 << 20, NO_STALLING).await;
    scene.object.replace(&scene.storage, bytes(1 << 20, 2)).await;
    scene.cdn.next(Act::broken(300_000, End::Stall));
    // All of it has been delivered by the time the stall is noticed.
    let answer = scene.read(None).await;
    assert_eq!((answer.status.as_u16(), answer.is_whole), (200, false));
    assert_eq!(answer.header("content-length"), (1 << 20).to_string());
    assert!(answer.body == scene.object.bytes[..300_000], "{} bytes", answer.body.len());
}

#[tokio::test]
async fn what_the_cdn_had_is_gone_from_storage() {
    let scene = Scene::new(1 << 20).await;
    let storage = crate::harness::seaweed::open(scene.storage.clone());
    let path = format!("images/{}", scene.object.key);
    let path = safelight::domain::StoragePath::from_listing(&path);
    safelight::storage::ObjectStore::delete(&storage, &path, None).await.unwrap();
    scene.cdn.next(Act::broken(1000, End::Close));
    scene.assert_broken(scene.request(None), 1000, "deleted").await;
    assert_one_abort(&scene.gateway.metrics().await, "changed", "deleted");
}

#[tokio::test]
async fn without_proof_of_the_version_nothing_is_continued() {
    let weak = |object: CdnObject| {
        let tag = object.headers.iter().find(|(name, _)| name == "ETag").unwrap().1.clone();
        object.and("ETag", &format!("W/{tag}"))
    };
    let none = |mut object: CdnObject| {
        object.headers.retain(|(name, _)| name != "ETag");
        object
    };
    let encoded = |object: CdnObject| object.and("Content-Encoding", "gzip");
    type Change = fn(CdnObject) -> CdnObject;
    let rows: [(&str, Change); 3] = [("weak", weak), ("none", none), ("encoded", encoded)];
    for (name, change) in rows {
        let scene = Scene::new(1 << 20).await;
        scene.cdn_has(change);
        scene.cdn.next(Act::broken(1000, End::Close));
        scene.assert_broken(scene.request(None), 1000, name).await;
        assert_one_abort(&scene.gateway.metrics().await, "no_validator", name);
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_visibly_broken() {
    let scene = Scene::new(1 << 20).await;
    scene.cdn.next(Act::but(|reply| {
        reply.framing = Framing::Chunked;
        reply.broken = Some((1000, End::Close));
    }));
    scene.assert_broken(scene.request(None), 1000, "chunked").await;
    assert_one_abort(&scene.gateway.metrics().await, "no_validator", "chunked");
}

#[tokio::test]
async fn storage_dies_too() {
    let scene = Scene::new(1 << 20).await;
    let endpoint = Some(url::Url::parse(&nobody()).unwrap());
    let dead = S3Config { endpoint, ..scene.storage.clone() };
    let head = format!("CloudFrontURL = \"{}\"", scene.cdn.url());
    let gateway = Setup::with_app("shop", app_file(&dead, &head, PATIENT)).start().await;
    scene.cdn.next(Act::broken(1000, End::Reset));
    let request = gateway.request(Method::GET, &scene.object.path());
    scene.assert_broken(request, 1000, "storage is down").await;
    assert_one_abort(&gateway.metrics().await, "storage_failed", "storage is down");
}

#[tokio::test]
async fn more_than_was_promised() {
    // A part of ten bytes whose chunks hold eleven: no framing tells, only the count.
    let scene = Scene::new(1 << 20).await;
    scene.cdn.next(Act::Reply(Box::new(|reply, object| {
        reply.framing = Framing::Chunked;
        reply.body = object.bytes.slice(..11);
    })));
    scene.assert_broken(scene.request(Some("bytes=0-9")), 10, "eleven bytes").await;
    assert_one_abort(&scene.gateway.metrics().await, "overrun", "overrun");

    // Bytes after the end of the body belong to no answer: the body is whole, and the connection
    // that they came on is not used again.
    let scene = Scene::new(1 << 20).await;
    scene.cdn.next(Act::but(|reply| reply.surplus = Bytes::from_static(b"HTTP/1.1 200 Surplus")));
    for connection in 1..=2 {
        let answer = scene.read(None).await;
        assert!(answer.is_whole && answer.body == scene.object.bytes);
        assert_eq!(scene.cdn.requests().last().unwrap().connection, connection);
    }
}

/// A store on a bare socket, which takes any signature and has the object of a scene.
async fn wire_store(scene: &Scene) -> (WireCdn, S3Config) {
    let store = WireCdn::start().await;
    let path = format!("/{}{}", scene.storage.bucket, scene.object.cdn_path());
    store.put(&path, scene.object.copy());
    let endpoint = Some(url::Url::parse(&store.url()).unwrap());
    let config = S3Config { endpoint, ..scene.storage.clone() };
    (store, config)
}

#[tokio::test]
async fn storage_is_asked_for_just_the_rest_of_just_this_version() {
    let scene = Scene::new(1 << 20).await;
    let (store, config) = wire_store(&scene).await;
    let head = format!("CloudFrontURL = \"{}\"", scene.cdn.url());
    let gateway = Setup::with_app("shop", app_file(&config, &head, PATIENT)).start().await;
    scene.cdn.next(Act::broken(300_000, End::Close));
    let answer = gateway.get(&scene.object.path()).await;
    assert!(answer.is_whole && answer.body == scene.object.bytes);
    let requests = store.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.header("range"), Some("bytes=300000-1048575"));
    assert_eq!(request.header("if-match"), Some(scene.object.etag()));
}

#[tokio::test]
async fn storage_that_does_not_give_the_rest() {
    // None of these may be spliced. Whether it is the object or storage that is to blame is what
    // the cause says.
    let status = |status| Act::but(move |reply| reply.status = status);
    let rows: Vec<(&str, &str, Act)> = vec![
        ("412", "changed", Act::status(412)),
        ("404", "changed", Act::status(404)),
        ("416", "changed", Act::status(416)),
        ("403", "storage_failed", Act::status(403)),
        ("400", "storage_failed", Act::status(400)),
        ("the whole object", "storage_failed", Act::whole()),
        ("a 200 with the rest", "storage_failed", status(200)),
        ("another tag", "changed", Act::but(|reply| reply.set("ETag", "\"another\""))),
        ("a weak tag", "changed", Act::but(|reply| reply.set("ETag", "W/\"another\""))),
        ("no tag", "changed", Act::but(|reply| reply.headers.retain(|(name, _)| name != "ETag"))),
        (
            "another total",
            "changed",
            Act::but(|reply| reply.set("Content-Range", "bytes 1000-1048575/1048577")),
        ),
        (
            "another start",
            "storage_failed",
            Act::but(|reply| reply.set("Content-Range", "bytes 1001-1048575/1048576")),
        ),
        (
            "another end",
            "storage_failed",
            Act::but(|reply| reply.set("Content-Range", "bytes 1000-1048574/1048576")),
        ),
    ];
    for (name, cause, act) in rows {
        let scene = Scene::new(1 << 20).await;
        let (store, config) = wire_store(&scene).await;
        let head = format!("CloudFrontURL = \"{}\"", scene.cdn.url());
        let gateway = Setup::with_app("shop", app_file(&config, &head, PATIENT)).start().await;
        scene.cdn.next(Act::broken(1000, End::Close));
        store.next(act);
        let request = gateway.request(Method::GET, &scene.object.path());
        scene.assert_broken(request, 1000, name).await;
        assert_one_abort(&gateway.metrics().await, cause, name);
    }
}

#[tokio::test]
async fn a_body_is_continued_twice_at_most() {
    for (breaks, is_whole) in [(1, true), (2, true), (3, false)] {
        let scene = Scene::new(1 << 20).await;
        let (store, config) = wire_store(&scene).await;
        let gateway = Setup::with_app("shop", app_file(&config, "", NO_STALLING)).start().await;
        for end in [End::Close, End::Stall, End::Reset].into_iter().take(breaks) {
            store.next(Act::broken(1000, end));
        }
        let request = gateway.request(Method::GET, &scene.object.path());
        if is_whole {
            let answer = request.send().await;
            assert!(answer.is_whole && answer.body == scene.object.bytes, "{breaks}");
        } else {
            scene.assert_broken(request, 3000, "three breaks").await;
        }
        let metrics = gateway.metrics().await;
        let heals = f64::from(u32::try_from(breaks.min(2)).unwrap());
        assert_eq!(metrics.sum("safelight_streams_healed_total"), heals, "{breaks}");
        let aborts = if is_whole { 0.0 } else { 1.0 };
        assert_eq!(metrics.value(&aborted("limit")), aborts, "{breaks}");
        assert_eq!(metrics.sum("safelight_streams_aborted_total"), aborts, "{breaks}");
    }
}

/// A client's connection on which a read has been asked for.
async fn asking(scene: &Scene) -> TcpStream {
    let address = scene.gateway.base.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: media.test\r\n\r\n", scene.object.path());
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// The CDN is told that its answer is not wanted any more, and is not blamed.
async fn assert_no_blame(scene: &Scene, requests: f64) {
    scene.cdn.until(|seen| seen.closed_by_peer == 1).await;
    let metrics = scene.gateway.metrics().await;
    let ok = "safelight_cdn_requests_total{app=\"shop\",outcome=\"ok\"}";
    assert_eq!(metrics.value(ok), requests);
    assert_eq!(metrics.sum("safelight_cdn_requests_total"), requests);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
    assert_eq!(metrics.sum("safelight_streams_healed_total"), 0.0);
    assert_eq!(metrics.sum("safelight_streams_aborted_total"), 0.0);
}

#[tokio::test]
async fn the_client_hangs_up_in_the_middle_of_the_body() {
    let scene = Scene::new(LARGE).await;
    let mut client = asking(&scene).await;
    client.read_exact(&mut [0; 100_000]).await.unwrap();
    drop(client);
    assert_no_blame(&scene, 1.0).await;
}

#[tokio::test]
async fn the_client_hangs_up_before_the_head() {
    let scene = Scene::new(1000).await;
    scene.cdn.next(Act::no_byte(End::Stall));
    let client = asking(&scene).await;
    scene.cdn.until(|seen| seen.requests.len() == 1).await;
    drop(client);
    assert_no_blame(&scene, 0.0).await;
    let gone = "safelight_reads_total{app=\"shop\",code=\"499\",source=\"none\"}";
    assert_eq!(scene.gateway.metrics().await.value(gone), 1.0);
}

#[tokio::test]
async fn a_slow_client_is_not_held_against_the_cdn() {
    let scene = Scene::with_limits(LARGE, NO_STALLING).await;
    let mut client = asking(&scene).await;
    // Until the CDN cannot write any more and stands still, well beyond the stall timeout: the
    // pause is the fault itself, and no outcome depends on how long it is.
    client.read_exact(&mut [0; 1000]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    let mut received = 1000;
    let mut buffer = vec![0; 1 << 16];
    while received < LARGE {
        let read = client.read(&mut buffer).await.unwrap();
        assert!(read > 0, "it broke off after {received} bytes");
        received += read;
    }
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.sum("safelight_streams_healed_total"), 0.0);
    assert_eq!(metrics.sum("safelight_streams_aborted_total"), 0.0);
    assert_cdn_answered(&metrics, "a slow client");
}
