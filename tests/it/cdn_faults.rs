//! Every way in which a CDN can fail before the head of its answer is there: the read is served
//! from storage all the same, says why, and is counted once under that reason.

use std::process::Command;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use safelight::domain::{FallbackReason, FallbackResult};
use safelight::storage::S3Config;
use url::Url;

use crate::harness::dead_ends::{BlackHole, SilentListener, nobody};
use crate::harness::gateway::{Metrics, Setup, TestGateway, app_file, mint_key};
use crate::harness::photos;
use crate::harness::plain_client::Answer;
use crate::harness::published::Published;
use crate::harness::seaweed::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Seaweed, with_key};
use crate::harness::wire_cdn::{Act, End, Framing, Reply, WireCdn};

/// Limits that no loaded machine reaches.
const PATIENT: &str = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";

/// Nobody waits long for a connection.
const NO_CONNECTION_SOON: &str = "[Read]\nConnectTimeout = \"100ms\"\nFirstByteTimeout = \"10s\"";

/// Nobody waits long for a head.
const NO_BYTE_SOON: &str = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"100ms\"";

/// A gateway with the app `shop` on this storage, behind the CDN at this URL.
async fn behind(storage: &S3Config, cdn_url: &str, sections: &str) -> TestGateway {
    let head = format!("CloudFrontURL = \"{cdn_url}\"");
    Setup::with_app("shop", app_file(storage, &head, sections)).start().await
}

fn reads(source: &str, code: &str) -> String {
    format!("safelight_reads_total{{app=\"shop\",code=\"{code}\",source=\"{source}\"}}")
}

fn asked(outcome: &str) -> String {
    format!("safelight_cdn_requests_total{{app=\"shop\",outcome=\"{outcome}\"}}")
}

/// The one read so far fell back for this reason, with this result, and nothing else was counted.
#[track_caller]
fn assert_one_fallback(metrics: &Metrics, reason: &str, result: FallbackResult) {
    assert_eq!(metrics.fallbacks("shop", reason, result.label()), 1.0, "{reason}");
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0, "{reason} is counted once");
    assert_eq!(metrics.value(&asked(reason)), 1.0, "{reason}");
    assert_eq!(metrics.sum("safelight_cdn_requests_total"), 1.0, "{reason}");
    assert_eq!(metrics.sum("safelight_reads_total"), 1.0, "{reason}");
    assert_bodies_unhurt(metrics);
}

#[track_caller]
fn assert_bodies_unhurt(metrics: &Metrics) {
    assert_eq!(metrics.sum("safelight_streams_healed_total"), 0.0);
    assert_eq!(metrics.sum("safelight_streams_aborted_total"), 0.0);
}

/// No fallback, and no other outcome of a request to the CDN than `ok`.
#[track_caller]
fn assert_no_failure(metrics: &Metrics, requests: f64, why: &str) {
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0, "{why}");
    assert_eq!(metrics.value(&asked("ok")), requests, "{why}");
    assert_eq!(metrics.sum("safelight_cdn_requests_total"), requests, "{why}");
    assert_bodies_unhurt(metrics);
}

/// The first read of this gateway is the photo, whole and right, from storage, and says why.
async fn assert_served_from_storage(
    gateway: &TestGateway,
    photo: &Published,
    reason: FallbackReason,
    why: &str,
) {
    let answer = gateway.get(&photo.path()).await;
    assert_eq!(answer.status, 200, "{why}: {}", answer.text());
    assert!(answer.is_whole && answer.body == photo.bytes, "{why}: the bytes are others");
    assert_explained(&answer, reason, why);
    let metrics = gateway.metrics().await;
    assert_one_fallback(&metrics, reason.label(), FallbackResult::Served);
    assert_eq!(metrics.value(&reads("s3", "200")), 1.0, "{why}");
}

#[track_caller]
fn assert_explained(answer: &Answer, reason: FallbackReason, why: &str) {
    let expected = format!("safelight; fwd=uri-miss; detail=\"storage; cdn={}\"", reason.label());
    assert_eq!(answer.header("cache-status"), expected, "{why}");
}

/// A photo in storage and at a CDN, and a gateway that asks the CDN first.
struct Scene {
    photo: Published,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Scene {
    async fn new(sections: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let photo = Published::photo(&storage, photos::WEBP).await;
        Self::on(&storage, photo, sections).await
    }

    async fn on(storage: &S3Config, photo: Published, sections: &str) -> Self {
        let cdn = WireCdn::start().await;
        cdn.put(&photo.cdn_path(), photo.copy());
        let gateway = behind(storage, &cdn.url(), sections).await;
        Self { photo, cdn, gateway }
    }

    /// Reads the photo, with these headers.
    async fn read(&self, headers: &[(&str, &str)]) -> Answer {
        let request = self.gateway.request(Method::GET, &self.photo.path());
        let with = |request: crate::harness::plain_client::Plain, &(name, value): &(&str, &str)| {
            request.with_header(name, Some(value))
        };
        headers.iter().fold(request, with).send().await
    }
}

/// Each fault in turn, on a gateway of its own: storage serves the photo. Then the CDN behaves, and
/// serves it again; what failed as a protocol is not trusted with another request.
async fn assert_each_falls_back(reason: FallbackReason, faults: Vec<(&str, Act)>) {
    for (name, act) in faults {
        let scene = Scene::new(PATIENT).await;
        scene.cdn.next(act);
        assert_served_from_storage(&scene.gateway, &scene.photo, reason, name).await;
        assert_eq!(scene.cdn.requests().len(), 1, "{name}: the CDN is asked once");

        let answer = scene.read(&[]).await;
        assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn", "{name}");
        assert!(answer.body == scene.photo.bytes, "{name}: the CDN's bytes came back changed");
        if reason == FallbackReason::Protocol {
            assert_eq!(scene.cdn.requests()[1].connection, 2, "{name}: another connection");
        }
    }
}

#[tokio::test]
async fn no_connection() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let black_hole = tokio::task::spawn_blocking(BlackHole::open).await.unwrap();
    for (name, url, sections) in [
        ("refused", nobody(), PATIENT),
        ("no such name", "https://cdn.invalid".to_owned(), NO_CONNECTION_SOON),
        ("a SYN black hole", black_hole.url(), NO_CONNECTION_SOON),
    ] {
        let gateway = behind(&storage, &url, sections).await;
        assert_served_from_storage(&gateway, &photo, FallbackReason::Connect, name).await;
    }
}

#[tokio::test]
async fn reset_before_the_head() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Len".to_vec();
    let faults = vec![
        ("before a byte", Act::no_byte(End::Reset)),
        ("in the middle of the head", Act::Raw(half, End::Reset)),
    ];
    assert_each_falls_back(FallbackReason::Connect, faults).await;
}

#[tokio::test]
async fn a_pooled_connection_that_died_is_no_failure() {
    let scene = Scene::new(PATIENT).await;
    scene.read(&[]).await.assert_success();
    for (requests, end) in [(3, End::Close), (5, End::Reset)] {
        // The gateway finds out with its request, and asks again on a fresh connection.
        scene.cdn.next(Act::no_byte(end));
        let answer = scene.read(&[]).await;
        assert!(answer.status == 200 && answer.body == scene.photo.bytes, "{end:?}");
        let seen = scene.cdn.requests();
        assert_eq!(seen.len(), requests, "{end:?}: {seen:?}");
    }
    assert_no_failure(&scene.gateway.metrics().await, 3.0, "pooled connections die");
}

#[tokio::test]
async fn no_first_byte() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let silent = SilentListener::start();
    let gateway = behind(&storage, &format!("http://{}", silent.authority()), NO_BYTE_SOON).await;
    assert_served_from_storage(&gateway, &photo, FallbackReason::Timeout, "silent").await;

    for (name, act) in [
        ("nothing after the request", Act::no_byte(End::Stall)),
        ("half a head", Act::raw("HTTP/1.1 200 OK\r\nContent-Len", End::Stall)),
        ("an endless 100", Act::raw("HTTP/1.1 100 Continue\r\n\r\n", End::Stall)),
    ] {
        let scene = Scene::new(NO_BYTE_SOON).await;
        scene.cdn.next(act);
        assert_served_from_storage(&scene.gateway, &scene.photo, FallbackReason::Timeout, name)
            .await;
        // Nobody keeps the connection that may still answer something.
        scene.cdn.until(|seen| seen.closed_by_peer == 1).await;
    }
}

#[tokio::test]
async fn statuses() {
    use FallbackReason::{
        Protocol, Redirect, Status5xx, Status403, Status404, Status429, StatusOther,
    };
    for (reason, statuses) in [
        (Status5xx, &[500, 502, 503, 504, 599][..]),
        (Status429, &[429]),
        (Status403, &[403]),
        (Status404, &[404, 410]),
        (StatusOther, &[400, 401, 412, 416, 418, 451]),
        (Protocol, &[201, 203, 299]),
        (Redirect, &[300, 305]),
    ] {
        for &status in statuses {
            let name = status.to_string();
            assert_each_falls_back(reason, vec![(&name, Act::status(status))]).await;
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_not_relayed() {
    let lure = WireCdn::start().await;
    for status in [301, 302, 303, 307, 308] {
        let scene = Scene::new(PATIENT).await;
        let location = format!("{}/elsewhere", lure.url());
        scene.cdn.next(Act::but(move |reply| {
            reply.status = status;
            reply.add("Location", location);
        }));
        let answer = scene.read(&[]).await;
        assert_eq!(answer.status, 200, "{status}");
        assert!(answer.body == scene.photo.bytes && !answer.headers.contains_key("location"));
        assert_explained(&answer, FallbackReason::Redirect, "a redirect");
        let metrics = scene.gateway.metrics().await;
        assert_one_fallback(&metrics, "redirect", FallbackResult::Served);
    }
    assert_eq!(lure.seen(|seen| seen.connections), 0, "nobody goes where a redirect points");
}

#[tokio::test]
async fn what_is_not_http() {
    let whole_head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n";
    let faults = vec![
        ("closed before a byte", Act::no_byte(End::Close)),
        ("closed in the head", Act::raw("HTTP/1.1 200 OK\r\nContent-Len", End::Close)),
        ("another protocol", Act::raw("SSH-2.0-OpenSSH_9.2p1\r\n", End::Stall)),
        ("binary", Act::raw([0x16, 3, 1, 0, 0xff, 0, 0], End::Stall)),
        ("no status", Act::raw("HTTP/1.1 OK\r\n\r\n", End::Stall)),
        ("bad header name", Act::raw(format!("{whole_head}a b: c\r\n\r\nabc"), End::Stall)),
        ("a length of words", Act::raw("HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n", End::Stall)),
        (
            "a negative length",
            Act::but(|reply| {
                reply.framing = Framing::None;
                reply.add("Content-Length", "-1");
            }),
        ),
        ("a head over 32 KiB", Act::but(|reply| reply.add("X-Long", "x".repeat(33 << 10)))),
        (
            "many headers over 32 KiB",
            Act::but(|reply| {
                for number in 0..90 {
                    reply.add(&format!("X-Long-{number}"), "x".repeat(400));
                }
            }),
        ),
        ("two lengths", Act::but(|reply| reply.add("Content-Length", "3"))),
        (
            "lengths in one line",
            Act::but(|reply| {
                reply.framing = Framing::None;
                reply.add("Content-Length", format!("{}, 3", reply.body.len()));
            }),
        ),
        ("length and coding", Act::but(|reply| reply.add("Transfer-Encoding", "chunked"))),
        (
            "coding and length",
            Act::but(|reply| {
                let length = reply.body.len().to_string();
                reply.headers.insert(0, ("Transfer-Encoding".to_owned(), "chunked".to_owned()));
                reply.framing = Framing::None;
                reply.add("Content-Length", length);
            }),
        ),
    ];
    assert_each_falls_back(FallbackReason::Protocol, faults).await;
}

#[tokio::test]
async fn answers_to_another_question() {
    let faults = vec![
        ("204", Act::raw("HTTP/1.1 204 No Content\r\n\r\n", End::KeepAlive)),
        ("200 without a length", Act::but(|reply| reply.framing = Framing::None)),
        (
            "200 without a length, closed",
            Act::but(|reply| {
                reply.framing = Framing::None;
                reply.broken = Some((reply.body.len(), End::Close));
            }),
        ),
        (
            "304 unasked",
            Act::but(|reply| {
                *reply = Reply { status: 304, framing: Framing::None, ..reply.clone() };
                reply.body.clear();
            }),
        ),
        (
            "206 unasked",
            Act::but(|reply| {
                let size = reply.body.len();
                reply.status = 206;
                reply.add("Content-Range", format!("bytes 0-{}/{size}", size - 1));
            }),
        ),
        (
            "206 unasked, of a part",
            Act::but(|reply| {
                let size = reply.body.len();
                reply.status = 206;
                reply.body.truncate(100);
                reply.add("Content-Range", format!("bytes 0-99/{size}"));
            }),
        ),
    ];
    // Such an answer is well framed, so its connection may be used again: only the outcome counts.
    for (name, act) in faults {
        let scene = Scene::new(PATIENT).await;
        scene.cdn.next(act);
        assert_served_from_storage(&scene.gateway, &scene.photo, FallbackReason::Protocol, name)
            .await;
    }
}

#[tokio::test]
async fn a_304_for_another_version() {
    let scene = Scene::new(PATIENT).await;
    let etag = scene.photo.etag().to_owned();
    scene.cdn.next(Act::raw(format!("HTTP/1.1 304 Ok\r\nETag: {etag}\r\n\r\n"), End::KeepAlive));
    let answer = scene.read(&[("If-None-Match", "\"another\"")]).await;
    assert!(answer.status == 200 && answer.body == scene.photo.bytes);
    assert_explained(&answer, FallbackReason::Protocol, "a 304 for another version");
    let metrics = scene.gateway.metrics().await;
    assert_one_fallback(&metrics, "protocol", FallbackResult::Served);
}

#[tokio::test]
async fn the_wrong_part() {
    let size = photos::WEBP.bytes.len();
    let ranges = [
        "bytes 1-100/45288".to_owned(),
        "bytes 0-99/*".to_owned(),
        "bytes 0-99/99".to_owned(),
        "bytes 99-0/45288".to_owned(),
        "bytes 0-98/45288".to_owned(),
        "bytes 0-100/45288".to_owned(),
        "items 0-99/45288".to_owned(),
        "0-99/45288".to_owned(),
        "bytes */45288".to_owned(),
        String::new(),
    ];
    assert_eq!(size, 45_288, "the table is about this photo");
    let wrong = ranges
        .map(|range| (range.clone(), Act::but(move |reply| reply.set("Content-Range", range))));
    let others = [
        ("no Content-Range", Act::but(|r| r.headers.retain(|(name, _)| name != "Content-Range"))),
        ("fewer bytes than the range", Act::but(|reply| reply.body.truncate(99))),
        ("no length", Act::but(|reply| reply.framing = Framing::None)),
        (
            "416 for what lies inside",
            Act::but(move |reply| {
                *reply = Reply { status: 416, ..reply.clone() };
                reply.set("Content-Range", format!("bytes */{size}"));
            }),
        ),
    ];
    let others = others.map(|(name, act)| (name.to_owned(), act));
    for (name, act) in wrong.into_iter().chain(others) {
        let scene = Scene::new(PATIENT).await;
        scene.cdn.next(act);
        let answer = scene.read(&[("Range", "bytes=0-99")]).await;
        assert_eq!(answer.status, 206, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-range"), "bytes 0-99/45288", "{name}");
        assert!(answer.body == scene.photo.bytes[..100], "{name}");
        assert_explained(&answer, FallbackReason::Protocol, &name);
        let metrics = scene.gateway.metrics().await;
        assert_one_fallback(&metrics, "protocol", FallbackResult::Served);
        assert_eq!(metrics.value(&reads("s3", "206")), 1.0, "{name}");
    }
}

#[tokio::test]
async fn a_cdn_that_ignores_ranges() {
    let scene = Scene::new(PATIENT).await;
    let size = scene.photo.bytes.len();
    for (range, start, end) in
        [("bytes=0-99", 0, 99), ("bytes=1000-", 1000, size - 1), ("bytes=-7", size - 7, size - 1)]
    {
        scene.cdn.next(Act::whole());
        let answer = scene.read(&[("Range", range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {start}-{end}/{size}"));
        assert!(answer.is_whole && answer.body == scene.photo.bytes[start..=end], "{range}");
    }
    // Where the length is not told, no range can be cut: the whole object is an answer too.
    scene.cdn.next(Act::Reply(Box::new(|reply, object| {
        *reply = Reply { framing: Framing::Chunked, ..Reply::whole(object) };
    })));
    let answer = scene.read(&[("Range", "bytes=0-99")]).await;
    assert!(answer.status == 200 && answer.body == scene.photo.bytes);
    assert!(!answer.headers.contains_key("content-range"));
    assert_no_failure(&scene.gateway.metrics().await, 4.0, "a 200 to a range");
}

#[tokio::test]
async fn unusual_but_right_answers_are_no_failure() {
    for (name, act) in [
        ("chunked", Act::but(|reply| reply.framing = Framing::Chunked)),
        ("dripping", Act::but(|reply| reply.drips = true)),
        (
            "dripping chunks",
            Act::but(|reply| {
                reply.framing = Framing::Chunked;
                reply.drips = true;
            }),
        ),
        ("a head of 30 KiB", Act::but(|reply| reply.add("X-Long", "x".repeat(30 << 10)))),
        (
            "early hints first",
            Act::but(|reply| {
                let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
                reply.preface = Bytes::from_static(hints);
            }),
        ),
        (
            "the connection is to be closed",
            Act::but(|reply| {
                reply.add("Connection", "close");
                reply.broken = Some((reply.body.len(), End::Close));
            }),
        ),
        (
            "closed after a whole body",
            Act::but(|reply| {
                reply.broken = Some((reply.body.len(), End::Close));
            }),
        ),
    ] {
        let scene = Scene::new(PATIENT).await;
        scene.cdn.next(act);
        let answer = scene.read(&[]).await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.is_whole && answer.body == scene.photo.bytes, "{name}");
        assert_no_failure(&scene.gateway.metrics().await, 1.0, name);
    }
}

#[tokio::test]
async fn the_clients_own_conditions_are_no_failure() {
    let scene = Scene::new(PATIENT).await;
    let etag = scene.photo.etag();
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";
    let now = httpdate::fmt_http_date(SystemTime::now());
    let rows = [
        ("If-None-Match", etag, 304),
        ("If-None-Match", "*", 304),
        ("If-Modified-Since", &now, 304),
        ("If-Match", "\"another\"", 412),
        ("If-Unmodified-Since", long_ago, 412),
        ("Range", "bytes=45288-", 416),
    ];
    for (number, (name, value, status)) in rows.into_iter().enumerate() {
        let answer = scene.read(&[(name, value)]).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
        let requests = f64::from(u32::try_from(number).unwrap() + 1);
        assert_no_failure(&scene.gateway.metrics().await, requests, name);
    }
}

#[tokio::test]
async fn every_kind_of_read_falls_back() {
    let whole = photos::WEBP.bytes.len();
    for (method, name, value, status, length) in [
        (Method::HEAD, "Accept", "*/*", 200, whole),
        (Method::GET, "Range", "bytes=5-9", 206, 5),
        (Method::GET, "Range", "bytes=45288-", 416, 0),
        (Method::GET, "If-None-Match", "*", 304, 0),
        (Method::GET, "If-Match", "\"another\"", 412, 0),
    ] {
        let scene = Scene::new(PATIENT).await;
        scene.cdn.next(Act::status(503));
        let request = scene.gateway.request(method.clone(), &scene.photo.path());
        let answer = request.with_header(name, Some(value)).send().await;
        assert_eq!(answer.status, status, "{method} {name}");
        if answer.status.is_success() {
            assert_eq!(answer.header("content-length"), length.to_string(), "{method} {name}");
        }
        let metrics = scene.gateway.metrics().await;
        assert_one_fallback(&metrics, "status_5xx", FallbackResult::Served);
        assert_explained(&answer, FallbackReason::Status5xx, name);
        assert_eq!(metrics.value(&reads("s3", &status.to_string())), 1.0, "{method} {name}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_storage_is_asked_is_counted() {
    let cdn = WireCdn::start().await;
    cdn.next(Act::status(503));
    let store = WireCdn::start().await;
    store.next(Act::no_byte(End::Stall));
    let endpoint = Some(Url::parse(&store.url()).unwrap());
    let storage = S3Config { endpoint, ..Seaweed::shared().await.config() };
    let gateway = behind(&storage, &cdn.url(), PATIENT).await;
    let key = mint_key("shop", SystemTime::now(), "photo.jpg");
    let path = format!("/darkroom/shop/v2/images/{key}");
    let reading = tokio::spawn(gateway.request(Method::GET, &path).try_send());
    store.until(|seen| seen.requests.len() == 1).await;
    reading.abort();
    store.until(|seen| seen.closed_by_peer == 1).await;
    let metrics = gateway.metrics().await;
    assert_one_fallback(&metrics, "status_5xx", FallbackResult::Failed);
    assert_eq!(metrics.value(&reads("none", "499")), 1.0);
}

#[tokio::test]
async fn missing_at_both() {
    let storage = Seaweed::shared().await.config();
    for act in [Act::status(404), Act::status(403), Act::status(410), Act::no_byte(End::Reset)] {
        let cdn = WireCdn::start().await;
        cdn.next(act);
        let gateway = behind(&storage, &cdn.url(), PATIENT).await;
        let key = mint_key("shop", SystemTime::now(), "lost.jpg");
        let answer = gateway.get(&format!("/darkroom/shop/v2/images/{key}")).await;
        answer.assert_problem(404, "not_found");
        let metrics = gateway.metrics().await;
        let reason = FallbackReason::ALL
            .iter()
            .find(|reason| metrics.value(&asked(reason.label())) > 0.0)
            .expect("the CDN failed");
        assert_explained(&answer, *reason, "missing");
        assert_one_fallback(&metrics, reason.label(), FallbackResult::Missing);
        assert_eq!(metrics.value(&reads("s3", "404")), 1.0);
    }
}

/// A failure of both is a 502, and is counted as one fallback that failed.
async fn assert_storage_failure(storage: &S3Config) {
    let key = mint_key("shop", SystemTime::now(), "photo.jpg");
    let path = format!("/darkroom/shop/v2/images/{key}");
    let cdn = WireCdn::start().await;
    let gateway = behind(storage, &cdn.url(), PATIENT).await;
    let answer = gateway.get(&path).await;
    answer.assert_problem(502, "storage_failed");
    assert_explained(&answer, FallbackReason::Status404, "both failed");
    let metrics = gateway.metrics().await;
    assert_one_fallback(&metrics, "status_404", FallbackResult::Failed);
    assert_eq!(metrics.value(&reads("none", "502")), 1.0);

    // Where there is no CDN, there is nothing to fall back from.
    let gateway = Setup::with_app("shop", app_file(storage, "", "")).start().await;
    gateway.get(&path).await.assert_problem(502, "storage_failed");
    let head = gateway.request(Method::HEAD, &path).send().await;
    assert_eq!(head.status, 502, "a HEAD is no excuse");
    assert_eq!(gateway.metrics().await.sum("safelight_cdn_fallbacks_total"), 0.0);
}

#[tokio::test]
async fn storage_is_down_as_well() {
    let endpoint = Some(Url::parse(&nobody()).unwrap());
    let storage = S3Config { endpoint, ..Seaweed::shared().await.config() };
    assert_storage_failure(&storage).await;
}

#[tokio::test]
async fn bad_credentials_are_never_a_missing_photo() {
    let good = Seaweed::shared().await.config();
    assert_storage_failure(&with_key(&good, ACCESS_KEY_ID, "another-secret")).await;
    assert_storage_failure(&with_key(&good, "AKIDNOBODY", SECRET_ACCESS_KEY)).await;
}

#[tokio::test]
async fn a_missing_bucket_is_never_a_missing_photo() {
    let good = Seaweed::shared().await.config();
    assert_storage_failure(&S3Config { bucket: "no-such-bucket".into(), ..good }).await;
}

#[tokio::test]
async fn an_app_without_a_cdn_never_falls_back() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let answer = gateway.get(&photo.path()).await;
    assert!(answer.status == 200 && answer.body == photo.bytes);
    assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=storage");
    let missing = mint_key("shop", SystemTime::now(), "lost.jpg");
    let answer = gateway.get(&format!("/darkroom/shop/v2/images/{missing}")).await;
    answer.assert_problem(404, "not_found");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
    assert_eq!(metrics.sum("safelight_cdn_requests_total"), 0.0);
}

#[tokio::test]
async fn tls_that_does_not_come_about() {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let silent = SilentListener::start();
    let url = format!("https://{}", silent.authority());
    let gateway = behind(&storage, &url, NO_CONNECTION_SOON).await;
    assert_served_from_storage(&gateway, &photo, FallbackReason::Tls, "a stall").await;

    let plain = WireCdn::start().await;
    let url = plain.url().replace("http:", "https:");
    let gateway = behind(&storage, &url, NO_CONNECTION_SOON).await;
    assert_served_from_storage(&gateway, &photo, FallbackReason::Tls, "no TLS at all").await;

    let key = KeyPair::generate().unwrap();
    let own = params("127.0.0.1").self_signed(&key).unwrap();
    let cdn = WireCdn::start_tls(&own.pem(), &key.serialize_pem()).await;
    cdn.put(&photo.cdn_path(), photo.copy());
    let gateway = behind(&storage, &cdn.url(), PATIENT).await;
    assert_served_from_storage(&gateway, &photo, FallbackReason::Tls, "self-signed").await;
    assert!(cdn.requests().is_empty(), "nothing is said to a server that is not known");
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// Where the test below finds the certificates that the test above it made for it.
const CERTIFICATES: &str = "SAFELIGHT_TEST_CERTIFICATES";

/// A client reads the authorities that it trusts from the environment when it starts, so this runs
/// in a process of its own.
#[test]
fn certificates_of_a_trusted_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let bundle = folder.path().join("authority.pem");
    std::fs::write(&bundle, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let mut expired = params("127.0.0.1");
    expired.not_after = date_time_ymd(2020, 1, 1);
    for (name, params) in [
        ("right", params("127.0.0.1")),
        ("wrong-name", params("another.example")),
        ("wrong-address", params("127.0.0.2")),
        ("expired", expired),
    ] {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "cdn_faults::in_a_process_that_trusts_the_authority"])
        .env("SSL_CERT_FILE", &bundle)
        .env_remove("SSL_CERT_DIR")
        .env(CERTIFICATES, folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{complaints}");
    assert!(told.contains("1 passed"), "the test was not found:\n{told}");
}

#[tokio::test]
#[ignore = "certificates_of_a_trusted_authority runs it, in a process of its own"]
async fn in_a_process_that_trusts_the_authority() {
    let folder = std::path::PathBuf::from(std::env::var_os(CERTIFICATES).unwrap());
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    for name in ["right", "wrong-name", "wrong-address", "expired"] {
        let file = |kind| std::fs::read_to_string(folder.join(format!("{name}.{kind}"))).unwrap();
        let cdn = WireCdn::start_tls(&file("pem"), &file("key")).await;
        cdn.put(&photo.cdn_path(), photo.copy());
        let gateway = behind(&storage, &cdn.url(), PATIENT).await;
        if name == "right" {
            let answer = gateway.get(&photo.path()).await;
            assert!(answer.status == 200 && answer.body == photo.bytes);
            assert_no_failure(&gateway.metrics().await, 1.0, name);
        } else {
            assert_served_from_storage(&gateway, &photo, FallbackReason::Tls, name).await;
            assert!(cdn.requests().is_empty(), "{name}: nothing is said to that server");
        }
    }
}
