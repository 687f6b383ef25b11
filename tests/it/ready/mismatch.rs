//! A CDN that has another object than the record says: storage serves the right one, and each read
//! is counted once.

use safelight::domain::FallbackReason;

use super::{Scene, assert_photo};
use crate::harness::photos::WEBP;
use crate::harness::wire_cdn::{Act, Framing};

const FROM_CDN: &str = "safelight; fwd=uri-miss; detail=cdn";

/// What a CDN does, as often as it is wanted.
type MakeAct = fn() -> Act;

/// Answers that show another object.
fn others() -> [(&'static str, MakeAct); 3] {
    [
        ("another strong tag", || Act::but(|reply| reply.set("ETag", "\"another\""))),
        ("the tag of an upload in parts", || {
            Act::but(|reply| reply.set("ETag", "\"0123456789abcdef0123456789abcdef-2\""))
        }),
        ("a tag like ours, and an encoding", || {
            Act::but(|reply| reply.add("Content-Encoding", "gzip"))
        }),
    ]
}

#[tokio::test]
async fn every_kind_of_read_is_served_from_storage() {
    let scene = Scene::new().await;
    let upload = scene.ready(WEBP).await;
    let mut reads = 0.0;
    for (name, act) in others() {
        for _ in super::KINDS {
            scene.cdn.next(act());
        }
        for (how, answer) in scene.read_in_every_way(&upload).await {
            reads += 1.0;
            let why = format!("{how} ({name})");
            assert_photo(&answer, WEBP, &how);
            let explained = "safelight; fwd=uri-miss; detail=\"storage; cdn=mismatch\"";
            assert_eq!(answer.header("cache-status"), explained, "{why}");
        }
        let metrics = scene.gateway.metrics().await;
        let mismatch = FallbackReason::Mismatch.label();
        assert_eq!(metrics.fallbacks("shop", mismatch, "served"), reads, "{name}");
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), reads, "{name}");
    }
    assert_eq!(scene.asked_cdn(), 15, "the CDN is asked once for each");
}

#[tokio::test]
async fn another_length() {
    let scene = Scene::new().await;
    let upload = scene.ready(WEBP).await;
    for (name, header, act) in [
        (
            "longer",
            "Accept",
            Act::but(|reply| reply.body = [&reply.body[..], b"!"].concat().into()),
        ),
        ("shorter", "Accept", Act::but(|reply| reply.body.truncate(100))),
        (
            "shorter, without a tag",
            "Accept",
            Act::but(|reply| {
                reply.headers.retain(|(name, _)| name != "ETag");
                reply.body.truncate(100);
            }),
        ),
        (
            "a weak tag, compressed",
            "Accept",
            Act::but(|reply| {
                reply.set("ETag", "W/\"another\"");
                reply.body.truncate(100);
            }),
        ),
        (
            "a part of another length",
            "Range",
            Act::but(|reply| reply.set("Content-Range", "bytes 5-9/999")),
        ),
        (
            "too short for the range",
            "Range",
            Act::but(|reply| {
                reply.status = 416;
                reply.set("Content-Range", "bytes */3");
            }),
        ),
    ] {
        scene.cdn.next(act);
        let answer = scene.request(&upload).with_header(header, Some("bytes=5-9")).send().await;
        assert_photo(&answer, WEBP, header);
        let explained = "safelight; fwd=uri-miss; detail=\"storage; cdn=mismatch\"";
        assert_eq!(answer.header("cache-status"), explained, "{name}");
    }
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.fallbacks("shop", "mismatch", "served"), 6.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 6.0);
}

/// A client and a CDN that agree on a version which is not the one on record.
#[tokio::test]
async fn not_modified_since_another_version() {
    let scene = Scene::new().await;
    let upload = scene.ready(WEBP).await;
    scene.cdn.next(Act::but(|reply| {
        reply.status = 304;
        reply.framing = Framing::None;
        reply.body.clear();
        reply.set("ETag", "\"old\"");
    }));
    let answer = scene.request(&upload).with_header("If-None-Match", Some("\"old\"")).send().await;
    assert_photo(&answer, WEBP, "GET");
    assert_eq!(scene.gateway.metrics().await.fallbacks("shop", "mismatch", "served"), 1.0);
}

#[tokio::test]
async fn an_empty_answer_is_none() {
    let scene = Scene::new().await;
    let upload = scene.ready(WEBP).await;
    scene.cdn.next(Act::but(|reply| reply.body.clear()));
    assert_photo(&scene.read(&upload).await, WEBP, "GET");
    assert_eq!(scene.gateway.metrics().await.fallbacks("shop", "protocol", "served"), 1.0);
}

/// What differs only in form is no mismatch, and goes out as it is recorded.
#[tokio::test]
async fn the_record_says_what_the_cdn_does_not() {
    let scene = Scene::new().await;
    let upload = scene.ready(WEBP).await;
    let etag = scene.read(&upload).await.header("etag").to_owned();
    for (name, act) in [
        ("another type", Act::but(|reply| reply.set("Content-Type", "text/html"))),
        ("no type", Act::but(|reply| reply.headers.retain(|(name, _)| name != "Content-Type"))),
        ("a weak tag", Act::but(|reply| reply.set("ETag", "W/\"another\""))),
        ("no tag", Act::but(|reply| reply.headers.retain(|(name, _)| name != "ETag"))),
        ("no length", Act::but(|reply| reply.framing = Framing::Chunked)),
    ] {
        scene.cdn.next(act);
        let answer = scene.read(&upload).await;
        assert_photo(&answer, WEBP, "GET");
        assert_eq!(answer.header("cache-status"), FROM_CDN, "{name}");
        assert_eq!(answer.header("etag"), etag, "{name}");
        assert_eq!(answer.header("content-length"), WEBP.bytes.len().to_string(), "{name}");
        assert_eq!(answer.header("content-disposition"), "", "{name}");
    }
    assert_eq!(scene.gateway.metrics().await.sum("safelight_cdn_fallbacks_total"), 0.0);
}
