//! Objects in memory: one fetch for all who want one, the same answers as from their source, and
//! nothing served longer than it may be.

mod files;
mod stale;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use safelight::domain::StoragePath;
use safelight::storage::{ObjectStore as _, S3Config};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::gateway::{Setup, TestGateway, app_file, mint_key, offline_app_file};
use crate::harness::photos::{JPEG, WEBP};
use crate::harness::plain_client::Answer;
use crate::harness::published::Published;
use crate::harness::seaweed::{Seaweed, open};
use crate::harness::wire_cdn::{Act, CdnObject, End, WireCdn};

const CACHE: &str = "[Cache]\nSize = \"64MiB\"";

/// Limits that no loaded machine reaches.
const PATIENT: &str = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";

const HIT: &str = "safelight; hit";
const FROM_CDN: &str = "safelight; fwd=uri-miss; detail=cdn";

/// A gateway that keeps objects in memory, and the CDN of its app `shop`.
struct Scene {
    storage: S3Config,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Scene {
    async fn new() -> Self {
        Self::with(PATIENT).await
    }

    async fn with(sections: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let cdn = WireCdn::start().await;
        let head = format!("AcceptForeignKeys = true\nCloudFrontURL = \"{}\"", cdn.url());
        let file = app_file(&storage, &head, sections);
        let gateway = Setup::with_app("shop", file).and_settings(CACHE).start().await;
        Self { storage, cdn, gateway }
    }

    /// A photo in storage, of which the CDN has a copy with these headers besides.
    async fn photo(&self, headers: &[(&str, &str)]) -> Published {
        let photo = Published::photo(&self.storage, WEBP).await;
        let copy = headers.iter().fold(photo.copy(), |copy, (name, value)| copy.and(name, value));
        self.cdn.put(&photo.cdn_path(), copy);
        photo
    }

    async fn ask(&self, method: Method, path: &str, header: (&str, &str)) -> Answer {
        let (name, value) = header;
        self.gateway.request(method, path).with_header(name, Some(value)).send().await
    }

    async fn lookups(&self, outcome: &str) -> f64 {
        self.counted("lookups", outcome).await
    }

    async fn counted(&self, what: &str, outcome: &str) -> f64 {
        let series = format!("safelight_memory_{what}_total{{app=\"shop\",outcome=\"{outcome}\"}}");
        self.gateway.metrics().await.value(&series)
    }
}

fn assert_is(answer: &Answer, bytes: &[u8], cache_status: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-status"), cache_status);
    assert!(answer.is_whole);
    assert_eq!(Sha256::digest(&answer.body), Sha256::digest(bytes));
}

#[tokio::test]
async fn many_readers_are_one_request_to_the_cdn() {
    let scene = Scene::new().await;
    let photo = scene.photo(&[]).await;
    let path = photo.path();
    let answers = join_all((0..200).map(|_| scene.gateway.get(&path))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(Sha256::digest(&answer.body), Sha256::digest(&photo.bytes));
    }
    assert_eq!(scene.cdn.requests().len(), 1);
    let metrics = scene.gateway.metrics().await;
    let lookups = |outcome| {
        metrics
            .value(&format!("safelight_memory_lookups_total{{app=\"shop\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!(lookups("miss"), 1.0);
    assert_eq!(lookups("hit") + lookups("joined"), 199.0);
    assert_eq!(metrics.value("safelight_memory_entries"), 1.0);
    let hits = "safelight_reads_total{app=\"shop\",code=\"200\",source=\"memory\"}";
    assert_eq!(metrics.value(hits), lookups("hit"), "who waited was answered by the CDN");
}

#[tokio::test]
async fn many_readers_of_nothing_are_one_question_a_second() {
    let scene = Scene::new().await;
    let path = format!("/darkroom/shop/v2/images/{}", mint_key("shop", SystemTime::now(), "x.jpg"));
    let begun = Instant::now();
    let answers = join_all((0..200).map(|_| scene.gateway.get(&path))).await;
    let seconds = begun.elapsed().as_secs_f64();
    for answer in &answers {
        answer.assert_problem(404, "not_found");
    }
    let metrics = scene.gateway.metrics().await;
    let asked = metrics.fallbacks("shop", "status_404", "missing");
    assert!((1.0..=1.0 + seconds.floor()).contains(&asked), "{asked} in {seconds} s");
    assert_eq!(scene.cdn.requests().len() as f64, asked);
}

#[tokio::test]
async fn a_fallback_is_counted_once_for_all_who_wait() {
    let scene = Scene::new().await;
    let photo = scene.photo(&[]).await;
    scene.cdn.next(Act::status(503));
    let path = photo.path();
    let answers = join_all((0..50).map(|_| scene.gateway.get(&path))).await;
    assert!(answers.iter().all(|answer| answer.body == photo.bytes));
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.fallbacks("shop", "status_5xx", "served"), 1.0);
    assert_eq!(scene.cdn.requests().len(), 1);
}

#[tokio::test]
async fn memory_answers_as_the_cdn_does() {
    let scene = Scene::new().await;
    let head = format!("CloudFrontURL = \"{}\"", scene.cdn.url());
    let file = app_file(&scene.storage, &head, PATIENT);
    let plain = Setup::with_app("shop", file).start().await;
    let photo = scene.photo(&[("Age", "7")]).await;
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);

    let (get, head) = (Method::GET, Method::HEAD);
    let etag = photo.etag();
    let weak = format!("W/{etag}");
    for (method, name, value, status) in [
        (&get, "Accept", "*/*", 200),
        (&head, "Accept", "*/*", 200),
        (&get, "If-None-Match", etag, 304),
        (&get, "If-None-Match", &weak, 304),
        (&get, "If-None-Match", "*", 304),
        (&head, "If-None-Match", etag, 304),
        (&get, "If-None-Match", "\"another\"", 200),
        (&get, "If-Match", "\"another\"", 412),
        (&get, "If-Match", etag, 200),
        (&get, "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 304),
        (&get, "If-Unmodified-Since", "Thu, 01 Jan 1998 00:00:00 GMT", 412),
        (&get, "Range", "bytes=0-9", 206),
        (&get, "Range", "bytes=-5", 206),
        (&get, "Range", "bytes=45000-", 206),
        (&get, "Range", "bytes=99999999-", 416),
        (&get, "Range", "bytes=0-1,5-6", 200),
        (&head, "Range", "bytes=0-9", 200),
    ] {
        let case = format!("{method} {name}: {value}");
        let kept = scene.ask(method.clone(), &photo.path(), (name, value)).await;
        let request = plain.request(method.clone(), &photo.path()).with_header(name, Some(value));
        let fetched = request.send().await;
        assert_eq!(kept.status, status, "{case}");
        assert_eq!(fetched.status, status, "{case}");
        assert_eq!(kept.header("cache-status"), HIT, "{case}");
        assert_eq!(kept.lasting(), fetched.lasting(), "{case}");
        if status < 400 {
            assert_eq!(kept.body, fetched.body, "{case}");
            let age = kept.header("age").parse::<u64>().expect(&case);
            assert!(age >= 7, "{case}: {age}");
        }
    }
    assert_eq!(scene.lookups("hit").await, 17.0);
}

#[tokio::test]
async fn what_is_not_plain_fetches_nothing() {
    let scene = Scene::new().await;
    let photo = scene.photo(&[]).await;
    for (method, name, value, status) in [
        (Method::HEAD, "Accept", "*/*", 200),
        (Method::GET, "Range", "bytes=0-9", 206),
        (Method::GET, "If-None-Match", photo.etag(), 304),
        (Method::GET, "If-None-Match", "\"another\"", 200),
    ] {
        let answer = scene.ask(method, &photo.path(), (name, value)).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.header("cache-status"), FROM_CDN);
    }
    assert_eq!(scene.lookups("passed").await, 4.0);
    assert_eq!(scene.cdn.requests().len(), 4);
    assert_eq!(scene.gateway.metrics().await.value("safelight_memory_entries"), 0.0);
}

#[tokio::test]
async fn what_may_not_be_kept_is_not() {
    let scene = Scene::new().await;
    for (name, value) in [
        ("Cache-Control", "no-store"),
        ("Cache-Control", "private, max-age=60"),
        ("Vary", "Accept, *"),
    ] {
        let photo = scene.photo(&[(name, value)]).await;
        for _ in 0..2 {
            assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
        }
    }
    assert_eq!(scene.counted("fills", "unfit").await, 3.0);
    assert_eq!(scene.lookups("passed").await, 3.0);
    assert_eq!(scene.cdn.requests().len(), 6);
}

#[tokio::test]
async fn larger_objects_are_streamed_as_they_come() {
    let scene = Scene::with(&format!("{PATIENT}\nMemoryCacheMaxObject = \"40KiB\"")).await;
    let photo = scene.photo(&[]).await;
    assert!(photo.bytes.len() > 40 << 10);
    for requests in 1..=3 {
        assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
        assert_eq!(scene.cdn.requests().len(), requests, "one for each read");
    }
    assert_eq!(scene.counted("fills", "unfit").await, 1.0);
}

#[tokio::test]
async fn an_app_may_have_nothing_kept() {
    let scene = Scene::with(&format!("{PATIENT}\nMemoryCacheMaxObject = \"0B\"")).await;
    let photo = scene.photo(&[]).await;
    for requests in 1..=2 {
        assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
        assert_eq!(scene.cdn.requests().len(), requests);
    }
    assert!(!scene.gateway.metrics().await.0.contains("safelight_memory_lookups_total{"));
}

#[tokio::test]
async fn a_body_that_breaks_off_on_its_way_to_memory_is_healed() {
    let scene = Scene::new().await;
    for (after, end) in [(0, End::Close), (10_000, End::Reset), (45_000, End::Close)] {
        let photo = scene.photo(&[]).await;
        scene.cdn.next(Act::broken(after, end));
        assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
        assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, HIT);
    }
    assert_eq!(scene.gateway.metrics().await.sum("safelight_streams_healed_total"), 3.0);
}

#[tokio::test]
async fn a_body_that_cannot_be_healed_is_fetched_once_more() {
    let scene = Scene::new().await;
    let photo = scene.photo(&[]).await;
    // Without a tag nothing proves that the rest belongs to the beginning.
    let break_off = || {
        Act::but(|reply| {
            reply.headers.retain(|(name, _)| name != "ETag");
            reply.broken = Some((10_000, End::Close));
        })
    };
    scene.cdn.next(break_off());
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, HIT);

    let other = scene.photo(&[]).await;
    scene.cdn.next(break_off());
    scene.cdn.next(break_off());
    scene.gateway.get(&other.path()).await.assert_problem(502, "storage_failed");
    assert_eq!(scene.counted("fills", "broken").await, 1.0);
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_any_more_is_cancelled() {
    let scene = Scene::new().await;
    let photo = scene.photo(&[]).await;
    scene.cdn.next(Act::no_byte(End::Stall));
    let address = scene.gateway.base.trim_start_matches("http://");
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: media.test\r\n\r\n", photo.path());
    client.write_all(request.as_bytes()).await.unwrap();
    scene.cdn.until(|seen| seen.requests.len() == 1).await;
    drop(client);
    scene.cdn.until(|seen| seen.closed_by_peer == 1).await;
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
}

#[tokio::test]
async fn the_bound_is_honoured() {
    let cdn = WireCdn::start().await;
    let head = format!("AcceptForeignKeys = true\nCloudFrontURL = \"{}\"", cdn.url());
    let file = offline_app_file(&head, PATIENT);
    let setup = Setup::with_app("shop", file).and_settings("[Cache]\nSize = \"1MiB\"");
    let gateway = setup.start().await;
    for number in 0u8..40 {
        let bytes = Bytes::from(vec![number; 100_000]);
        let object = CdnObject { bytes, headers: Vec::new() };
        cdn.put(&format!("/{number}.jpg"), object.and("Content-Type", "image/jpeg"));
        let answer = gateway.get(&format!("/darkroom/shop/v2/images/{number}.jpg")).await;
        assert_is(&answer, &[number; 100_000], FROM_CDN);
        let held = gateway.metrics().await.value("safelight_memory_bytes");
        assert!(held <= f64::from(1 << 20), "{held} B");
    }
    let metrics = gateway.metrics().await;
    let entries = metrics.value("safelight_memory_entries");
    assert!((1.0..=10.0).contains(&entries), "{entries}");
    assert_eq!(metrics.value("safelight_memory_evictions_total"), 40.0 - entries);
}

#[tokio::test]
async fn an_upload_that_becomes_ready_ends_its_404() {
    let scene = Scene::new().await;
    let grant = scene.gateway.granted("shop", JPEG.file).await;
    scene.gateway.get(grant.public_url()).await.assert_problem(404, "not_found");
    grant.put(JPEG.bytes).send().await.assert_success();
    let finalize = scene.gateway.request(Method::POST, grant.text("finalizeURL"));
    finalize.send().await.assert_success();
    let answer = scene.gateway.get(grant.public_url()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.body, JPEG.bytes);
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    assert_eq!(scene.gateway.get(grant.public_url()).await.header("cache-status"), HIT);
}

#[tokio::test]
async fn a_change_of_the_record_ends_what_is_kept() {
    let scene = Scene::new().await;
    let grant = scene.gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    assert_eq!(scene.gateway.get(grant.public_url()).await.body, JPEG.bytes);
    assert_eq!(scene.gateway.get(grant.public_url()).await.header("cache-status"), HIT);
    // Found not good: it was overwritten with something that is no photo.
    grant.put(b"no photo").send().await.assert_success();
    let finalize = scene.gateway.request(Method::POST, grant.text("finalizeURL"));
    finalize.send().await.assert_problem(422, "verification_failed");
    scene.gateway.get(grant.public_url()).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn what_another_node_deletes_is_not_served_from_memory() {
    let scene = Scene::new().await;
    let grant = scene.gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let finalize = scene.gateway.request(Method::POST, grant.text("finalizeURL"));
    finalize.send().await.assert_success();
    assert_eq!(scene.gateway.get(grant.public_url()).await.body, JPEG.bytes);
    assert_eq!(scene.gateway.get(grant.public_url()).await.header("cache-status"), HIT);
    let database = rusqlite::Connection::open(scene.gateway.records_file()).unwrap();
    let sql = "UPDATE uploads SET state = 'deleted', updated_at = ?1, revision = revision + 1
               WHERE key = ?2";
    let now = jiff::Timestamp::now().as_millisecond();
    assert_eq!(database.execute(sql, rusqlite::params![now, grant.key()]).unwrap(), 1);
    // It can only be asked for again and again: nobody is told what a node has heard.
    while scene.gateway.metrics().await.value("safelight_deleted_keys") < 1.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (method, name, value) in [
        (Method::GET, "Accept", "*/*"),
        (Method::HEAD, "Accept", "*/*"),
        (Method::GET, "Range", "bytes=0-9"),
        (Method::GET, "If-None-Match", "*"),
    ] {
        let answer = scene.ask(method, grant.public_url(), (name, value)).await;
        assert_eq!(answer.status, 404, "{name}: {value}");
    }
}

#[tokio::test]
async fn only_the_recorded_object_is_served_from_memory() {
    let only_ready = "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true";
    let storage = Seaweed::shared().await.config();
    let setup = Setup::with_app("shop", app_file(&storage, "", only_ready)).and_settings(CACHE);
    let gateway = setup.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    for _ in 0..2 {
        gateway.get(grant.public_url()).await.assert_problem(404, "not_found");
    }
    let finalize = gateway.request(Method::POST, grant.text("finalizeURL"));
    finalize.send().await.assert_success();
    let from_storage = "safelight; fwd=uri-miss; detail=storage";
    assert_is(&gateway.get(grant.public_url()).await, JPEG.bytes, from_storage);
    assert_is(&gateway.get(grant.public_url()).await, JPEG.bytes, HIT);
    // Storage has another object now: who reads from memory gets the one that was found good.
    let path = StoragePath::from_listing(&format!("images/{}", grant.key()));
    let store = open(storage);
    store.put(&path, "image/webp", Bytes::from_static(WEBP.bytes)).await.unwrap();
    assert_is(&gateway.get(grant.public_url()).await, JPEG.bytes, HIT);
}
