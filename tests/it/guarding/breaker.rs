//! The breaker: what opens it and what does not, what reads see meanwhile, and how it closes.

use std::time::SystemTime;

use safelight::domain::FallbackReason;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{PATIENT, Scene, assert_fell_back, assert_from_cdn, breaker_of};
use crate::harness::gateway::{Setup, app_file, eventually, mint_key};
use crate::harness::photos;
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{Act, CdnObject, End, WireCdn};

/// A 429 that asks for the longest pause that the breaker makes.
fn leave_me_alone() -> Act {
    Act::but(|reply| {
        reply.status = 429;
        reply.add("Retry-After", "5");
    })
}

#[tokio::test]
async fn five_failures_in_a_row_open_it() {
    type Fault = fn() -> Act;
    let rows: [(&str, FallbackReason, Fault); 5] = [
        ("502", FallbackReason::Status5xx, || Act::status(502)),
        ("503", FallbackReason::Status5xx, || Act::status(503)),
        ("504", FallbackReason::Status5xx, || Act::status(504)),
        ("a reset", FallbackReason::Connect, || Act::no_byte(End::Reset)),
        ("no HTTP", FallbackReason::Protocol, || Act::raw("SSH-2.0-OpenSSH_9.2p1\r\n", End::Stall)),
    ];
    for (name, reason, fault) in rows {
        let scene = Scene::new("").await;
        for _ in 0..5 {
            assert_eq!(scene.breaker().await, 0.0, "{name}");
            scene.cdn.next(fault());
            assert_fell_back(&scene.read().await, reason);
        }
        // It stays open until its time is up and a read comes.
        assert_eq!(scene.breaker().await, 2.0, "{name}");
        assert_eq!(scene.asked(), 5, "{name}");
        assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.fallbacks("shop", "breaker_open", "served"), 1.0, "{name}");
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 6.0, "{name}");
    }
}

#[tokio::test]
async fn a_success_between_failures_keeps_it_closed() {
    let scene = Scene::new("").await;
    for _ in 0..2 {
        for _ in 0..4 {
            scene.cdn.next(Act::status(503));
            assert_fell_back(&scene.read().await, FallbackReason::Status5xx);
        }
        assert_from_cdn(&scene.read().await);
    }
    assert_eq!(scene.breaker().await, 0.0);
    assert_eq!(scene.asked(), 10);
}

#[tokio::test]
async fn what_is_about_one_object_does_not_open_it() {
    for (status, reason) in [
        (403, FallbackReason::Status403),
        (404, FallbackReason::Status404),
        (410, FallbackReason::Status404),
        (500, FallbackReason::Status5xx),
        (501, FallbackReason::Status5xx),
        (302, FallbackReason::Redirect),
        (400, FallbackReason::StatusOther),
        (429, FallbackReason::Status429),
    ] {
        let scene = Scene::new("").await;
        scene.cdn.always(move || Act::status(status));
        for _ in 0..12 {
            assert_fell_back(&scene.read().await, reason);
        }
        assert_eq!(scene.breaker().await, 0.0, "{status}");
        assert_eq!(scene.asked(), 12, "{status}: the CDN is asked each time");
    }
}

#[tokio::test]
async fn a_cdn_that_asks_for_a_pause_has_it() {
    let scene = Scene::new("").await;
    scene.cdn.next(leave_me_alone());
    assert_fell_back(&scene.read().await, FallbackReason::Status429);
    assert_eq!(scene.breaker().await, 2.0);
    for _ in 0..3 {
        assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
    }
    assert_eq!(scene.asked(), 1, "it has its five seconds");
}

#[tokio::test]
async fn it_closes_when_the_cdn_is_back() {
    let scene = Scene::new("").await;
    for _ in 0..5 {
        scene.cdn.next(Act::status(503));
        scene.read().await;
    }
    assert_eq!(scene.breaker().await, 2.0);
    let served = eventually("the breaker closes", async || {
        assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
        // The probe runs beside the read that has set it off.
        eventually("the probe ends", async || (scene.breaker().await != 1.0).then_some(())).await;
        (scene.breaker().await == 0.0).then_some(())
    });
    served.await;
    assert_eq!(scene.asked(), 6, "one probe was enough");
    assert_from_cdn(&scene.read().await);
    assert_eq!(scene.asked(), 7);
}

#[tokio::test]
async fn one_request_finds_out_whether_the_cdn_is_back() {
    let scene = Scene::new("").await;
    for _ in 0..5 {
        scene.cdn.next(Act::status(503));
        scene.read().await;
    }
    // From now on it is silent: whoever asks waits for ten seconds.
    scene.cdn.always(|| Act::no_byte(End::Stall));
    eventually("a request probes", async || {
        assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
        (scene.asked() == 6).then_some(())
    })
    .await;
    for answer in scene.reads(50).await {
        assert_fell_back(&answer, FallbackReason::BreakerOpen);
    }
    assert_eq!(scene.asked(), 6, "the others do not ask");
    assert_eq!(scene.breaker().await, 1.0, "nor has the probe ended");
}

#[tokio::test]
async fn a_probe_is_for_the_breaker_and_not_for_a_client() {
    let scene = Scene::new("").await;
    for _ in 0..5 {
        scene.cdn.next(Act::status(503));
        scene.read().await;
    }
    let gate = super::Gate::closed();
    let held = gate.clone();
    scene.cdn.always(move || held.before(Act::right()));
    eventually("a request probes", async || {
        // Storage serves the read that sets the probe off, and its client is gone before the CDN
        // answers.
        assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
        (scene.asked() == 6).then_some(())
    })
    .await;
    gate.open();
    scene
        .gateway
        .until_counted("safelight_cdn_requests_total{app=\"shop\",outcome=\"ok\"}", 1.0)
        .await;
    assert_eq!(scene.breaker().await, 0.0);
    assert_from_cdn(&scene.read().await);
}

/// Two apps behind one CDN, each with a photo of its own: the scene of `shop`, and the path at which
/// `other` is read.
async fn two_apps() -> (Scene, String) {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let key = mint_key("other", SystemTime::now(), photos::JPEG.file);
    let cdn = WireCdn::start().await;
    cdn.put(&photo.cdn_path(), photo.copy());
    let copy = CdnObject { bytes: photos::JPEG.bytes.into(), headers: Vec::new() };
    cdn.put(&format!("/others/{key}"), copy.and("ETag", "\"v1\""));
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    let file = app_file(&storage, &head, PATIENT);
    let others = file.replace("images/", "others/");
    let gateway = Setup::with_app("shop", file).and_app("other", others).start().await;
    (Scene { photo, cdn, gateway }, format!("/darkroom/other/v2/images/{key}"))
}

#[tokio::test]
async fn silence_opens_it_and_nobody_waits_any_longer() {
    let (scene, other) = two_apps().await;
    scene.cdn.always(|| Act::no_byte(End::Stall));
    // One request is no silence: the only one of its app waits for as long as a read may.
    let lonely = tokio::spawn(scene.gateway.request(http::Method::GET, &other).send());
    scene.cdn.until(|seen| seen.requests.len() == 1).await;

    let answers = scene.reads(8).await;
    assert!(!lonely.is_finished(), "that one began before all others");
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.value(&breaker_of("shop")), 2.0);
    assert_eq!(metrics.value(&breaker_of("other")), 0.0);
    // Who came when it was open already did not ask.
    let waited = metrics.fallbacks("shop", "timeout", "served");
    let came_later = metrics.fallbacks("shop", "breaker_open", "served");
    assert!(waited >= 5.0, "five make a silence, and only {waited} asked");
    assert_eq!(waited + came_later, 8.0);
    assert_eq!(answers.len(), 8);
    let closed = 8 - answers.iter().filter(|a| a.header("cache-status").contains("open")).count();
    scene.cdn.until(|seen| seen.closed_by_peer == closed).await;
    assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
    lonely.abort();
}

#[tokio::test]
async fn each_app_has_its_own() {
    let (scene, other) = two_apps().await;
    scene.cdn.next(leave_me_alone());
    scene.read().await;
    assert_fell_back(&scene.read().await, FallbackReason::BreakerOpen);
    let answer = scene.gateway.get(&other).await;
    assert_from_cdn(&answer);
    assert!(answer.body == photos::JPEG.bytes);
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.value(&breaker_of("shop")), 2.0);
    assert_eq!(metrics.value(&breaker_of("other")), 0.0);
}

#[tokio::test]
async fn a_client_that_leaves_says_nothing_of_the_cdn() {
    let scene = Scene::new("").await;
    scene.cdn.always(|| Act::no_byte(End::Stall));
    let address = scene.gateway.base.strip_prefix("http://").unwrap();
    for left in 1..=12 {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {} HTTP/1.1\r\nHost: media.test\r\n\r\n", scene.photo.path());
        client.write_all(request.as_bytes()).await.unwrap();
        scene.cdn.until(|seen| seen.requests.len() == left).await;
        drop(client);
        scene.cdn.until(|seen| seen.closed_by_peer == left).await;
    }
    assert_eq!(scene.breaker().await, 0.0);
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.sum("safelight_cdn_requests_total"), 0.0);
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
    scene.cdn.always(Act::right);
    assert_from_cdn(&scene.read().await);
}
