//! What is in memory and no longer fresh. The CDN says how old its answers are, so that nobody has
//! to wait for that.

use http::Method;

use super::{FROM_CDN, PATIENT, Scene, assert_is};
use crate::harness::gateway::{Setup, offline_app_file};
use crate::harness::photos::{JPEG, WEBP};
use crate::harness::plain_client::Answer;
use crate::harness::published::Published;
use crate::harness::wire_cdn::{Act, CdnObject, End, WireCdn};

/// Fresh for 10 s, and over for 50: nobody is served before the CDN was asked.
pub const OVER: &[(&str, &str)] = &[("Cache-Control", "max-age=10"), ("Age", "60")];

/// Over for 5 s: it is served while the CDN is asked.
const JUST_OVER: &[(&str, &str)] = &[("Cache-Control", "max-age=10"), ("Age", "15")];

/// The CDN was asked whether it still holds.
pub const ASKED: &str = "safelight; fwd=stale; detail=cdn";

const STALE: &str = "safelight; hit; detail=stale";

/// The tag that the CDN was asked about with its last request.
fn asked_about(cdn: &WireCdn) -> Option<String> {
    cdn.requests().last().and_then(|request| request.header("if-none-match").map(str::to_owned))
}

#[tokio::test]
async fn what_is_over_is_asked_about_by_its_tag() {
    let scene = Scene::new().await;
    let photo = scene.photo(OVER).await;
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
    assert_eq!(asked_about(&scene.cdn), None);

    // Every kind of read asks, and is answered from memory.
    for (number, method, header, status) in [
        (2, Method::GET, ("Accept", "*/*"), 200),
        (3, Method::HEAD, ("Accept", "*/*"), 200),
        (4, Method::GET, ("Range", "bytes=0-9"), 206),
        (5, Method::GET, ("If-None-Match", photo.etag()), 304),
    ] {
        let answer = scene.ask(method, &photo.path(), header).await;
        assert_eq!(answer.status, status, "{header:?}");
        assert_eq!(answer.header("cache-status"), ASKED);
        assert_eq!(scene.cdn.requests().len(), number);
        assert_eq!(asked_about(&scene.cdn).as_deref(), Some(photo.etag()));
        let age = answer.header("age").parse::<u64>().unwrap();
        assert!(age >= 60, "{age}");
    }
    assert_eq!(scene.counted("revalidations", "unchanged").await, 4.0);

    // There is another one.
    let changed = CdnObject { bytes: JPEG.bytes.into(), headers: Vec::new() };
    let changed = OVER.iter().fold(changed.and("ETag", "\"new\""), |o, (n, v)| o.and(n, v));
    scene.cdn.put(&photo.cdn_path(), changed);
    assert_is(&scene.gateway.get(&photo.path()).await, JPEG.bytes, ASKED);
    assert_eq!(scene.counted("revalidations", "changed").await, 1.0);
    assert_is(&scene.gateway.get(&photo.path()).await, JPEG.bytes, ASKED);
    assert_eq!(asked_about(&scene.cdn).as_deref(), Some("\"new\""));
}

#[tokio::test]
async fn what_is_fresh_again_is_a_hit() {
    let scene = Scene::new().await;
    let photo = scene.photo(OVER).await;
    scene.gateway.get(&photo.path()).await.assert_success();
    scene.cdn.put(&photo.cdn_path(), photo.copy().and("Cache-Control", "max-age=1000"));
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, ASKED);
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, "safelight; hit");
    assert_eq!(scene.cdn.requests().len(), 2);
}

#[tokio::test]
async fn without_a_tag_it_is_kept_while_it_is_fresh() {
    let scene = Scene::new().await;
    let key = Published::photo(&scene.storage, WEBP).await;
    let object = CdnObject { bytes: key.bytes.clone(), headers: Vec::new() };
    scene.cdn.put(&key.cdn_path(), object.clone().and("Cache-Control", "max-age=1000"));
    assert_is(&scene.gateway.get(&key.path()).await, &key.bytes, FROM_CDN);
    assert_is(&scene.gateway.get(&key.path()).await, &key.bytes, "safelight; hit");

    let over = Published::photo(&scene.storage, WEBP).await;
    scene.cdn.put(&over.cdn_path(), object.and("Cache-Control", "max-age=0"));
    for _ in 0..2 {
        assert_is(&scene.gateway.get(&over.path()).await, &over.bytes, FROM_CDN);
    }
    assert_eq!(scene.counted("fills", "unfit").await, 1.0);
}

#[tokio::test]
async fn what_is_just_over_is_served_while_one_asks() {
    let scene = Scene::new().await;
    let photo = scene.photo(JUST_OVER).await;
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, FROM_CDN);
    // The CDN does not answer: nobody waits for that, and nobody else asks.
    scene.cdn.next(Act::no_byte(End::Stall));
    for _ in 0..5 {
        assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, STALE);
    }
    scene.cdn.until(|seen| seen.requests.len() == 2).await;
    assert_eq!(asked_about(&scene.cdn).as_deref(), Some(photo.etag()));
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, STALE);
    assert_eq!(scene.cdn.requests().len(), 2);
}

#[tokio::test]
async fn what_was_asked_meanwhile_counts_for_the_next() {
    let scene = Scene::new().await;
    let photo = scene.photo(JUST_OVER).await;
    scene.gateway.get(&photo.path()).await.assert_success();
    let new = CdnObject { bytes: JPEG.bytes.into(), headers: Vec::new() };
    scene.cdn.put(&photo.cdn_path(), new.and("ETag", "\"new\"").and("Cache-Control", "max-age=99"));
    assert_is(&scene.gateway.get(&photo.path()).await, &photo.bytes, STALE);
    // It can only be seen by reading: nobody is told.
    loop {
        let answer = scene.gateway.get(&photo.path()).await;
        if answer.header("cache-status") == "safelight; hit" {
            assert_eq!(answer.body, JPEG.bytes);
            break;
        }
        assert_is(&answer, &photo.bytes, STALE);
    }
    assert_eq!(scene.cdn.requests().len(), 2);
}

#[tokio::test]
async fn a_404_ends_what_was_kept() {
    let scene = Scene::new().await;
    // At the CDN only, so that storage confirms the 404.
    let object = CdnObject { bytes: JPEG.bytes.into(), headers: Vec::new() }.and("ETag", "\"a\"");
    let object = OVER.iter().fold(object, |object, (name, value)| object.and(name, value));
    scene.cdn.put("/images/gone.jpg", object);
    let path = "/darkroom/shop/v2/images/gone.jpg";
    scene.gateway.get(path).await.assert_success();
    scene.cdn.next(Act::status(404));
    scene.gateway.get(path).await.assert_problem(404, "not_found");
    assert_eq!(scene.counted("revalidations", "missing").await, 1.0);
    assert_eq!(scene.gateway.metrics().await.value("safelight_memory_entries"), 0.0);
}

/// An object of an app whose storage does not exist, read once while the CDN worked: the gateway, the
/// CDN, and what is read when it does no more.
async fn after_the_cdn_fails(headers: &[(&str, &str)]) -> [Answer; 2] {
    let cdn = WireCdn::start().await;
    let head = format!("AcceptForeignKeys = true\nCloudFrontURL = \"{}\"", cdn.url());
    let setup = Setup::with_app("shop", offline_app_file(&head, PATIENT));
    let gateway = setup.and_settings(super::CACHE).start().await;
    let object = CdnObject { bytes: JPEG.bytes.into(), headers: Vec::new() }.and("ETag", "\"a\"");
    let object = headers.iter().fold(object, |object, (name, value)| object.and(name, value));
    cdn.put("/a.jpg", object);
    let path = "/darkroom/shop/v2/images/a.jpg";
    assert_is(&gateway.get(path).await, JPEG.bytes, FROM_CDN);
    for _ in 0..10 {
        cdn.next(Act::status(503));
    }
    let answers = [gateway.get(path).await, gateway.get(path).await];
    let series = "safelight_memory_revalidations_total{app=\"shop\",outcome=\"failed\"}";
    assert!(gateway.metrics().await.value(series) >= 1.0);
    answers
}

#[tokio::test]
async fn where_cdn_and_storage_fail_the_old_copy_is_served() {
    for answer in after_the_cdn_fails(OVER).await {
        assert_is(&answer, JPEG.bytes, STALE);
    }
}

#[tokio::test]
async fn but_not_against_the_word_of_its_source() {
    for word in ["max-age=10, must-revalidate", "no-cache", "s-maxage=10"] {
        for answer in after_the_cdn_fails(&[("Cache-Control", word), ("Age", "60")]).await {
            answer.assert_problem(502, "storage_failed");
        }
    }
}
