//! What a collector gets, and what becomes of what it does not take.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::Value;

use super::{PARENT, PATIENT, STATE, Scene, TRACE, TRUSTED, only, told};
use crate::harness::collector::{Collected, Collector, Refusal};
use crate::harness::dead_ends::{SilentListener, nobody};
use crate::harness::front::Front;
use crate::harness::gateway::{Setup, app_file};
use crate::harness::photos::JPEG;
use crate::harness::rotel::Rotel;
use crate::harness::seaweed::Seaweed;
use crate::harness::slow_cdn::{PATIENT_READ, SlowCdn};
use crate::harness::wire_cdn::{Act, End, WireCdn};

const READ: &str = "GET /darkroom/{app}/v2/images/{key}";
const CACHE: &str = "[Cache]\nSize = \"64MiB\"\n";

/// `SpanKind` of OTLP.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn spans(outcome: &str) -> String {
    format!("safelight_spans_total{{outcome=\"{outcome}\"}}")
}

fn exports(outcome: &str) -> String {
    format!("safelight_span_exports_total{{outcome=\"{outcome}\"}}")
}

/// What is told to a server of a span.
fn traceparent(span: &Collected) -> String {
    format!("00-{}-{}-01", span.trace, span.id)
}

#[tokio::test]
async fn a_fallback_is_told_from_the_peer_to_storage() {
    let collector = Collector::start().await;
    let settings = collector.settings("ServiceName = \"media\"") + CACHE;
    let scene = Scene::new(TRUSTED, &settings).await;
    scene.cdn.next(Act::status(503));
    let answer = scene.read("01").await;
    let (cdn, storage) = scene.stop().await;

    let [server, memory] = [READ, "memory"].map(|name| collector.span(name));
    let [asked_cdn, asked_storage] = ["cdn", "storage get"].map(|name| collector.span(name));
    let all = [&server, &memory, &asked_cdn, &asked_storage];
    assert_eq!(collector.spans().len(), all.len());
    for span in all {
        assert_eq!((&*span.trace, &*span.state, &*span.service), (TRACE, STATE, "media"));
        assert!(span.begun <= span.ended && span.begun >= server.begun, "{span:?}");
    }
    assert_eq!(all.map(|span| span.kind), [SERVER, INTERNAL, CLIENT, CLIENT]);
    let parents = [PARENT, &server.id, &memory.id, &memory.id];
    assert_eq!(all.map(|span| span.parent.as_str()), parents);
    // Those that were asked see the spans of the questions, and no others.
    let [of_cdn, of_storage] = [only(&cdn), only(&storage)];
    assert_eq!(told(&of_cdn), (Some(&*traceparent(&asked_cdn)), Some(STATE)));
    assert_eq!(told(&of_storage), (Some(&*traceparent(&asked_storage)), Some(STATE)));

    assert_eq!(all.map(|span| span.failed), [false, false, true, false]);
    let outcomes = ["complete", "miss", "status_5xx", "ok"];
    assert_eq!(all.map(|span| span.says("safelight.outcome")), outcomes);
    let length = answer.body.len().to_string();
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/darkroom/{app}/v2/images/{key}"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", length.as_str()),
        ("url.scheme", "http"),
        ("safelight.app", "shop"),
        ("safelight.source", "s3"),
        ("safelight.fallback_reason", "status_5xx"),
        ("safelight.request_id", answer.header("x-request-id")),
    ] {
        assert_eq!(server.says(name), value, "{name}");
    }
    assert_eq!(asked_cdn.says("http.response.status_code"), "503");
    assert_eq!(asked_cdn.says("error.type"), "status_5xx");
    assert_eq!(memory.says("safelight.fallback_reason"), "status_5xx");
    assert_eq!(asked_storage.says("peer.service"), "s3");
}

/// What others' collector understands, and hands on to ours.
#[tokio::test]
async fn a_real_collector_understands_it() {
    let collector = Collector::start().await;
    let rotel = Rotel::before(&collector).await;
    let settings = format!("\n[Tracing]\nOTLPEndpoint = \"{}\"\n", rotel.url());
    let scene = Scene::new(TRUSTED, &settings).await;
    scene.cdn.next(Act::status(503));
    scene.read("01").await;
    scene.gateway.until_counted(&spans("exported"), 3.0).await;
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.value(&exports("ok")), 1.0);
    assert_eq!(metrics.sum("safelight_spans_total"), 3.0);
    collector.until(|seen| seen.spans.len() == 3).await;
    let [server, cdn, storage] = [READ, "cdn", "storage get"].map(|name| collector.span(name));
    assert_eq!((&*server.service, &*server.trace, &*server.parent), ("safelight", TRACE, PARENT));
    assert_eq!((&server.state, server.kind), (&STATE.to_owned(), SERVER));
    assert_eq!(server.says("safelight.fallback_reason"), "status_5xx");
    assert_eq!(server.says("http.response.status_code"), "200");
    assert_eq!([&cdn.parent, &storage.parent], [&server.id; 2]);
    assert_eq!([cdn.failed, storage.failed], [true, false]);
}

#[tokio::test]
async fn an_upload_is_told_with_its_records_and_its_storage() {
    let collector = Collector::start().await;
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let file = app_file(&storage, "", "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true");
    let setup = Setup::with_app("shop", file).and_settings(&collector.settings(""));
    let gateway = setup.start().await;
    let grant = gateway.granted("shop", "private-name.jpg").await;
    assert!(!grant.text("uploadURL").contains("trace"));
    grant.put(JPEG.bytes).send().await.assert_success();
    front.forget();
    let finalize = gateway.request(Method::POST, grant.text("finalizeURL"));
    finalize.send().await.assert_success();
    // A real S3 store takes what its signature does not cover.
    let mut told: Vec<_> = ["GET", "HEAD"]
        .into_iter()
        .flat_map(|method| front.headers(method, "traceparent"))
        .map(|header| header.expect("every call of a request tells whose it is"))
        .collect();
    assert_eq!(gateway.request(Method::GET, grant.text("publicURL")).send().await.status, 200);
    gateway.stop().await;

    let presign = collector.span("POST /darkroom/{app}/v1/images/presigned-urls");
    let finalize = collector.span("POST /darkroom/{app}/v1/uploads/{id}/finalize");
    assert_ne!(presign.trace, finalize.trace);
    let insert = collector.span("record insert");
    assert_eq!((&insert.trace, &insert.parent), (&presign.trace, &presign.id));
    let all = collector.spans();
    let of_finalize = |word: &str| {
        let named = all.iter().filter(|span| span.name.starts_with(word));
        named.filter(|span| span.trace == finalize.trace).cloned().collect::<Vec<_>>()
    };
    assert!(of_finalize("record").iter().any(|span| span.name == "record transition"));
    // The record of a read is asked for in a task of its own, which is in the trace all the same.
    let read = collector.span(READ);
    let is_asked = |span: &Collected| span.name == "record get" && span.parent == read.id;
    assert!(all.iter().any(is_asked), "{all:?}");
    let mut asked: Vec<_> = of_finalize("storage").iter().map(traceparent).collect();
    assert!(!told.is_empty());
    told.sort();
    told.dedup();
    asked.sort();
    assert_eq!(told, asked);
}

#[tokio::test]
async fn calls_through_the_sdk_are_told_too() {
    let collector = Collector::start().await;
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let file = app_file(&storage, "", "");
    let setup = Setup::with_app("shop", file).and_settings(&collector.settings(""));
    let gateway = setup.start().await;
    let begin = gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(serde_json::json!({"file": "a.jpg", "size": JPEG.bytes.len()}).to_string());
    begin.send().await.assert_success();
    gateway.stop().await;
    let created = collector.span("storage create_multipart");
    assert_eq!(front.headers("POST", "traceparent"), [Some(traceparent(&created))]);
}

#[tokio::test]
async fn a_span_lasts_until_the_last_byte() {
    let collector = Collector::start().await;
    let cdn = SlowCdn::start().await;
    let storage = Seaweed::shared().await.config();
    let head = format!("AcceptForeignKeys = true\nCloudFrontURL = \"{}\"", cdn.url);
    let setup = Setup::with_app("shop", app_file(&storage, &head, PATIENT_READ));
    let gateway = setup.and_settings(&collector.settings("")).start().await;
    let request = gateway.request(Method::GET, "/darkroom/shop/v2/images/slow.jpg");
    let reading = tokio::spawn(request.send());
    gateway.until_counted("safelight_requests_in_flight", 1.0).await;
    let released = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    cdn.release();
    let answer = reading.await.unwrap();
    assert!(answer.is_whole && answer.body == JPEG.bytes);
    gateway.stop().await;
    for name in [READ, "cdn"] {
        let span = collector.span(name);
        assert!(u128::from(span.ended) > released, "{name} ended before its body did");
        assert!(!span.failed);
    }
}

/// What goes on from storage in the middle of a body is a part of the same request.
#[tokio::test]
async fn a_healed_body_is_told_too() {
    let collector = Collector::start().await;
    let scene = Scene::new(TRUSTED, &collector.settings("")).await;
    scene.cdn.next(Act::broken(1000, End::Reset));
    scene.read("01").await;
    let (_, storage) = scene.stop().await;
    let [server, cdn] = [READ, "cdn"].map(|name| collector.span(name));
    let continued = collector.span("storage get");
    assert_eq!((&continued.trace, &continued.parent), (&server.trace, &server.id));
    assert_eq!(told(&only(&storage)), (Some(&*traceparent(&continued)), Some(STATE)));
    assert!(cdn.failed && !continued.failed && !server.failed);
    assert_eq!([&cdn, &continued].map(|span| span.says("safelight.outcome")), ["broke", "ok"]);
}

/// Neither names of owners nor keys, queries or tokens are among what goes out.
#[tokio::test]
async fn nobody_learns_from_spans_what_the_log_does_not_tell() {
    let collector = Collector::start().await;
    let scene = Scene::new(TRUSTED, &collector.settings("")).await;
    let granted = scene.gateway.granted("shop", "private-name.jpg").await;
    let (id, token) = (granted.text("uploadID"), granted.text("uploadToken"));
    scene.gateway.status("shop", &granted).await;
    let path = format!("{}?q=private-query", scene.photo.path());
    scene.whole(scene.gateway.request(Method::GET, &path)).await;
    let key = scene.photo.key.clone();
    scene.gateway.get("/darkroom/nobodys-app/v2/images/missing.jpg").await;
    scene.stop().await;
    assert!(collector.spans().len() >= 5);
    let sent = collector.seen(|seen| seen.bodies.concat());
    let secrets = ["owner-1", "private-name", "private-query", "nobodys-app", id, token, &key];
    for secret in secrets {
        let found = sent.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn a_collector_is_asked_as_the_protocol_says() {
    let collector = Collector::start().await;
    let settings = collector.settings("Headers = [\"X-Api-Key: secret key\", \"X-Team: media\"]");
    let settings = settings.replace(collector.url(), &format!("{}/otlp/", collector.url()));
    let scene = Scene::new(TRUSTED, &settings).await;
    scene.read("01").await;
    scene.stop().await;
    let (path, headers) = collector.seen(|seen| seen.requests[0].clone());
    assert_eq!(path, "/otlp/v1/traces");
    for (name, value) in [
        ("content-type", "application/x-protobuf"),
        ("x-api-key", "secret key"),
        ("x-team", "media"),
    ] {
        assert_eq!(headers[name], value);
    }
}

#[tokio::test]
async fn what_may_pass_is_sent_again_and_what_is_refused_is_not() {
    let collector = Collector::start().await;
    collector.next(Refusal::Status(503));
    let scene = Scene::new(TRUSTED, &collector.settings("")).await;
    scene.read("01").await;
    collector.until(|seen| !seen.spans.is_empty()).await;
    let gateway = &scene.gateway;
    gateway.until_counted(&spans("exported"), 2.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&exports("failed")), 1.0);
    assert!(collector.seen(|seen| seen.bodies[0] == seen.bodies[1]), "the same spans");

    collector.next(Refusal::Status(400));
    scene.read("01").await;
    gateway.until_counted(&spans("undelivered"), 2.0).await;
    assert_eq!(collector.seen(|seen| seen.requests.len()), 3);

    collector.next(Refusal::Rejected(1));
    scene.read("01").await;
    gateway.until_counted(&spans("rejected"), 1.0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(&spans("exported")), 3.0);
    assert_eq!(metrics.value(&spans("undelivered")), 2.0);
    assert_eq!(metrics.value(&spans("no_room")), 0.0);
    assert_eq!(metrics.value(&exports("ok")), 2.0);
    assert_eq!(metrics.value(&exports("failed")), 2.0);
    assert_eq!(collector.seen(|seen| seen.connections), 1, "it is not connected to anew");
}

#[tokio::test]
async fn a_dead_collector_keeps_nobody() {
    let silent = SilentListener::start();
    for url in [nobody(), format!("http://{}", silent.authority())] {
        let settings = format!("[Tracing]\nOTLPEndpoint = \"{url}\"\n");
        let scene = Scene::new(TRUSTED, &settings).await;
        for _ in 0..20 {
            scene.read("01").await;
        }
        if !url.ends_with(&silent.authority()) {
            scene.gateway.until_counted(&spans("undelivered"), 40.0).await;
            let metrics = scene.gateway.metrics().await;
            assert!(metrics.value(&exports("failed")) >= 3.0);
        }
        // It ends, though nobody takes what is left.
        scene.stop().await;
    }
}

// The program's end is waited for on a thread, and the collector goes on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_log_names_the_trace_of_its_request() {
    let collector = Collector::start().await;
    let cdn = WireCdn::start().await;
    let storage = Seaweed::shared().await.config();
    let head = format!("AcceptForeignKeys = true\nCloudFrontURL = \"{}\"", cdn.url());
    let setup = Setup::with_app("shop", app_file(&storage, &head, PATIENT)).trusting(TRUSTED);
    let gateway = setup.and_settings(&collector.settings("SampleRatio = 0")).serve(&[]);
    let missing = || gateway.request(Method::GET, "/darkroom/shop/v2/images/missing.jpg");
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let traced = missing().with_header("traceparent", Some(&parent)).send().await;
    traced.assert_problem(404, "not_found");
    let untraced = missing().send().await;
    let ended = gateway.terminate();
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |answer: &crate::harness::plain_client::Answer| {
        let id = answer.json()["requestID"].clone();
        lines.iter().filter(|line| line["request_id"] == id).cloned().collect::<Vec<_>>()
    };
    let (with, without) = (of(&traced), of(&untraced));
    assert_eq!(
        (with.len(), without.len()),
        (2, 2),
        "the CDN's failure, and the request: {lines:?}"
    );
    assert!(with.iter().all(|line| line["trace_id"] == TRACE), "{with:?}");
    assert!(without.iter().all(|line| line.get("trace_id").is_none()), "{without:?}");
    let span = collector.span("GET /darkroom/{app}/v2/images/{key}");
    assert_eq!(span.says("safelight.request_id"), traced.header("x-request-id"));
}

/// Nothing is asked of anybody for the sake of a test: what is not configured has no series either.
#[tokio::test]
async fn without_a_collector_nothing_is_recorded() {
    let scene = Scene::new(TRUSTED, "").await;
    scene.read("01").await;
    let metrics = scene.gateway.metrics().await;
    assert_eq!(metrics.sum("safelight_spans_total"), 0.0);
    assert_eq!(metrics.sum("safelight_span_exports_total"), 0.0);
}
