//! More reads than storage can take: the rest is told at once, and nobody else notices.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use safelight::limits::ConcurrencyBounds;

use super::{Gate, wire_store};
use crate::harness::gateway::{Setup, app_file, mint_key};
use crate::harness::photos;
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{Act, WireCdn};

#[tokio::test]
async fn more_readers_than_storage_takes() {
    const ROOM: usize = ConcurrencyBounds::STORAGE.at_once;
    const TOO_MANY: usize = ConcurrencyBounds::STORAGE.queue + 50;
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let (store, stuck) = wire_store(&storage, &photo).await;
    let gate = Gate::closed();
    let held = gate.clone();
    store.always(move || held.before(Act::right()));

    // `shop` reads from the store that does not answer, and `other` from the one that does; its CDN
    // has what `shop` has as well.
    let others = mint_key("other", SystemTime::now(), photos::JPEG.file);
    let bytes = Bytes::from_static(photos::JPEG.bytes);
    Published::under(&storage, &others, photos::JPEG.content_type, bytes).await;
    let gateway = Setup::with_app("shop", app_file(&stuck, "", ""))
        .and_app("other", app_file(&storage, "", ""))
        .start()
        .await;
    let request = || gateway.request(Method::GET, &photo.path());

    let readers: Vec<_> = (0..ROOM).map(|_| tokio::spawn(request().send())).collect();
    store.until(|seen| seen.requests.len() == ROOM).await;
    for answer in join_all((0..TOO_MANY).map(|_| request().send())).await {
        answer.assert_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), "1");
    }
    // Quicker than any limit of time at storage: those before them still wait.
    assert!(readers.iter().all(|reader| !reader.is_finished()));
    assert_eq!(store.requests().len(), ROOM, "storage is sent nothing beyond");
    let answer = gateway.get(&format!("/darkroom/other/v2/images/{others}")).await;
    assert!(answer.status == 200 && answer.body == photos::JPEG.bytes, "{}", answer.text());

    gate.open();
    for reader in readers {
        let answer = reader.await.unwrap();
        assert!(answer.status == 200 && answer.is_whole && answer.body == photo.bytes);
    }
    let answer = request().send().await;
    assert!(answer.status == 200 && answer.body == photo.bytes, "there is room again");
}

#[tokio::test]
async fn a_full_storage_does_not_keep_reads_from_the_cdn() {
    const ROOM: usize = ConcurrencyBounds::STORAGE.at_once;
    let storage = Seaweed::shared().await.config();
    let photo = Published::photo(&storage, photos::WEBP).await;
    let (store, stuck) = wire_store(&storage, &photo).await;
    let gate = Gate::closed();
    let held = gate.clone();
    store.always(move || held.before(Act::right()));
    let cdn = WireCdn::start().await;
    cdn.put(&photo.cdn_path(), photo.copy());
    // What the CDN does not have comes from storage alone.
    let key = mint_key("shop", SystemTime::now(), "elsewhere.webp");
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    let gateway = Setup::with_app("shop", app_file(&stuck, &head, "")).start().await;
    let path = format!("/darkroom/shop/v2/images/{key}");
    let request = || gateway.request(Method::GET, &path);

    let readers: Vec<_> = (0..ROOM).map(|_| tokio::spawn(request().send())).collect();
    store.until(|seen| seen.requests.len() == ROOM).await;
    request().send().await.assert_problem(503, "overloaded");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.fallbacks("shop", "status_404", "failed"), 1.0);

    let answer = gateway.get(&photo.path()).await;
    assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
    assert!(answer.body == photo.bytes);
    gate.open();
    for reader in readers {
        reader.await.unwrap().assert_problem(404, "not_found");
    }
}
