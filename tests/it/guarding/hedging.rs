//! Storage beside a CDN that keeps a read waiting: who comes first serves it, the other is
//! cancelled, and only so many reads may cost two requests.

use std::time::Duration;

use http::Method;
use safelight::domain::FallbackReason;

use super::{Gate, Scene, assert_fell_back, assert_from_cdn, wire_store};
use crate::harness::front::Front;
use crate::harness::photos;
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{Act, End, WireCdn};

/// Storage is asked long before anything else ends the wait.
const SOON: &str = "HedgeAfter = \"50ms\"\n";

/// A scene on a bare store: what it sees is what it was asked.
async fn on_a_bare_store() -> (Scene, WireCdn) {
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let (store, config) = wire_store(&storage, &photo).await;
    (Scene::on(&config, photo, SOON).await, store)
}

fn hedges(winner: &str) -> String {
    format!("safelight_hedges_total{{app=\"shop\",winner=\"{winner}\"}}")
}

#[tokio::test]
async fn storage_serves_what_the_cdn_keeps_waiting() {
    let size = photos::WEBP.bytes.len();
    for (method, range, length) in [
        (Method::GET, None, size),
        (Method::HEAD, None, 0),
        (Method::GET, Some("bytes=100-299"), 200),
    ] {
        let scene = Scene::new(SOON).await;
        scene.cdn.next(Act::no_byte(End::Stall));
        let request = scene.gateway.request(method, &scene.photo.path());
        let answer = request.with_header("Range", range).send().await;
        answer.assert_success();
        assert_fell_back(&answer, FallbackReason::Hedge);
        let from = if range.is_some() { 100 } else { 0 };
        assert!(answer.is_whole && answer.body == photos::WEBP.bytes[from..from + length]);
        // The CDN is told that nobody waits any more.
        scene.cdn.until(|seen| seen.closed_by_peer == 1).await;
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.fallbacks("shop", "hedge", "served"), 1.0);
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0);
        let outcome = "safelight_cdn_requests_total{app=\"shop\",outcome=\"hedge\"}";
        assert_eq!(metrics.value(outcome), 1.0);
        assert_eq!(metrics.value(&hedges("storage")), 1.0);
        assert_eq!(scene.breaker().await, 0.0);
    }
}

#[tokio::test]
async fn a_cdn_that_answers_in_time_costs_storage_nothing() {
    let (scene, store) = on_a_bare_store().await;
    for _ in 0..10 {
        assert_from_cdn(&scene.read().await);
    }
    assert_eq!(store.requests().len(), 0);
}

#[tokio::test]
async fn the_cdn_comes_first_after_all() {
    let (scene, store) = on_a_bare_store().await;
    let gate = Gate::closed();
    scene.cdn.next(gate.before(Act::right()));
    store.next(Act::no_byte(End::Stall));
    let opens = async {
        store.until(|seen| seen.requests.len() == 1).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(scene.read(), opens);
    assert_from_cdn(&answer);
    // Storage is told that nobody waits any more.
    store.until(|seen| seen.closed_by_peer == 1).await;
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
    assert_eq!(metrics.value("safelight_cdn_requests_total{app=\"shop\",outcome=\"ok\"}"), 1.0);
    assert_eq!(metrics.value(&hedges("cdn")), 1.0);
}

#[tokio::test]
async fn storage_that_fails_leaves_the_read_to_the_cdn() {
    for status in [400, 404] {
        let (scene, store) = on_a_bare_store().await;
        let gate = Gate::closed();
        scene.cdn.next(gate.before(Act::right()));
        store.always(move || Act::status(status));
        let opens = async {
            store.until(|seen| seen.requests.len() == 1).await;
            gate.open();
        };
        let (answer, ()) = tokio::join!(scene.read(), opens);
        assert_from_cdn(&answer);
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0, "{status}");
    }
}

#[tokio::test]
async fn storage_is_asked_once_when_both_fail() {
    for (status, code, result) in [(400, 502, "failed"), (404, 404, "missing")] {
        let (scene, store) = on_a_bare_store().await;
        let gate = Gate::closed();
        scene.cdn.next(gate.before(Act::status(503)));
        store.always(move || Act::status(status));
        let opens = async {
            store.until(|seen| seen.requests.len() == 1).await;
            gate.open();
        };
        let (answer, ()) = tokio::join!(scene.request().send(), opens);
        assert_eq!(answer.status, code, "{}", answer.text());
        assert_eq!(store.requests().len(), 1, "the hedge was the fallback");
        let metrics = scene.gateway.metrics().await;
        assert_eq!(metrics.fallbacks("shop", "status_5xx", result), 1.0);
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 1.0);
    }
}

#[tokio::test]
async fn only_so_many_reads_cost_two_requests() {
    const SLOW_READS: usize = 20;
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let (front, config) = Front::before(&storage).await;
    let scene = Scene::on(&config, photo, SOON).await;
    let mut from_cdn = 0;
    for _ in 0..SLOW_READS {
        // The lateness is the fault itself: a hedge is due long before the CDN answers.
        scene.cdn.next(Act::right().late(Duration::from_millis(400)));
        let answer = scene.read().await;
        from_cdn += usize::from(answer.header("cache-status").ends_with("detail=cdn"));
        // An answer in between: the CDN is slow now and then, and not dead.
        assert_from_cdn(&scene.read().await);
    }
    // Ten to begin with, and one for every twenty reads.
    let most = 10 + 2 * SLOW_READS / 20;
    let asked = front.count("GET", &scene.photo.key);
    assert!((1..=most).contains(&asked), "{asked} requests to storage, and {most} may be");
    assert!(from_cdn >= SLOW_READS - most, "{from_cdn} were left to the CDN");
    assert_eq!(scene.breaker().await, 0.0);
    let metrics = scene.gateway.metrics().await;
    let hedged = metrics.fallbacks("shop", "hedge", "served");
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), hedged);
}
