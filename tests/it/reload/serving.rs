//! Those who are being served while files change.

use std::cell::Cell;

use futures_util::future::join_all;

use super::{ask, file, reloads};
use crate::harness::gateway::{Setup, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::raw::Raw;
use crate::harness::slow_cdn::{FIRST_HALF, PATIENT_READ, SlowCdn};

/// How many clients ask at once.
const CLIENTS: usize = 4;

#[tokio::test]
async fn a_body_that_is_on_its_way_goes_on() {
    let cdn = SlowCdn::start().await;
    let text = offline_app_file(&format!("CloudFrontURL = \"{}\"", cdn.url), PATIENT_READ);
    let gateway = Setup::with_app("shop", text).start().await;
    let image = gateway.granted("shop", "a.jpg").await;
    let url = gateway.local(image.public_url());
    let path = url.strip_prefix(&gateway.base).unwrap();
    let mut reader = Raw::connect(&gateway.base).await;
    reader.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    assert_eq!(reader.head().await.expect("an answer").status, 200);
    assert!(reader.body(FIRST_HALF).await == JPEG.bytes[..FIRST_HALF]);

    // The app has no CDN any more, and no storage ever was.
    let without = file("");
    gateway.write_app("shop", &without);
    gateway.until_live("shop", &without).await;
    gateway.get(image.public_url()).await.assert_problem(502, "storage_failed");
    cdn.release();
    assert!(reader.body(JPEG.bytes.len() - FIRST_HALF).await == JPEG.bytes[FIRST_HALF..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_that_files_change() {
    let cdn = SlowCdn::start().await;
    cdn.release();
    let text = |bytes: u32| {
        let sections = format!(
            "{PATIENT_READ}OriginShare = 0\nHedgeAfter = \"off\"\n[Upload]\nMaxBytes = {bytes}\n\
             [RateLimit.PerOwner]\nRate = \"1000000/s\"\nBurst = 1000000\n\
             [RateLimit.PerApp]\nRate = \"1000000/s\"\nBurst = 1000000\n"
        );
        offline_app_file(&format!("CloudFrontURL = \"{}\"", cdn.url), &sections)
    };
    let gateway = Setup::with_app("shop", text(1 << 20)).start().await;
    let image = gateway.granted("shop", "a.jpg").await;
    let (is_over, served) = (Cell::new(false), Cell::new(0));
    let client = async |number: usize| {
        while !is_over.get() {
            if number.is_multiple_of(2) {
                ask(&gateway, "shop").await.assert_success();
            } else {
                let answer = gateway.get(image.public_url()).await;
                answer.assert_success();
                assert!(answer.is_whole && answer.body == JPEG.bytes);
            }
            served.set(served.get() + 1);
        }
    };
    let changes = async {
        for round in 1..=5 {
            let next = text((1 << 20) + round);
            let blog = file("").replace("nowhere", &format!("elsewhere-{round}"));
            gateway.write_app("blog", &blog);
            gateway.write_app("shop", &next);
            gateway.until_live("shop", &next).await;
            gateway.write_app("shop", "[Storage");
            gateway.until_app("shop", "refused").await;
            // However many were served meanwhile, some more are under what is live now.
            let before = served.get();
            while served.get() < before + CLIENTS {
                tokio::task::yield_now().await;
            }
        }
        is_over.set(true);
    };
    tokio::join!(join_all((0..CLIENTS).map(client)), changes);
    let metrics = gateway.metrics().await;
    assert!(metrics.value(&reloads("ok")) + metrics.value(&reloads("refused")) >= 10.0);
}
