//! What stands at `CloudFrontURL`.

use std::future::pending;
use std::sync::Arc;

use safelight::dev::DevCdn;
use safelight::doctor::Check;
use tokio::net::TcpListener;

use super::{OF_STORAGE, Rows};
use crate::harness::dead_ends::nobody;
use crate::harness::gateway::{Setup, app_file};
use crate::harness::seaweed::{Seaweed, open};
use crate::harness::wire_cdn::{Act, Reply, TrustedKey, WireCdn};
use crate::signed_cdn::{KEY_ID, P256, SIGNED};

/// An app on storage that is in order, behind the CDN at this URL.
async fn behind(cdn_url: &str, sections: &str) -> Rows {
    let storage = Seaweed::shared().await.config();
    let patient = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";
    let head = format!("CloudFrontURL = \"{cdn_url}\"");
    let file = app_file(&storage, &head, &format!("{patient}\n{sections}"));
    let setup = Setup::with_app("shop", file).and_secret("shop/cloudfront.pem", P256);
    let rows = Rows::of(setup, &storage.bucket, None).await;
    rows.assert_passed(&OF_STORAGE);
    rows.assert_passed(&[Check::Delete]);
    rows
}

#[tokio::test]
async fn a_cdn_that_serves_what_storage_has_passes() {
    let storage = Seaweed::shared().await.config();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cdn = DevCdn::new(Arc::new(open(storage)));
    tokio::spawn(cdn.serve(listener, pending()));
    let rows = behind(&url, "").await;
    rows.assert_only_fail(&[]);
    rows.assert_passed(&[Check::CdnAnswers, Check::CdnOrigin, Check::CdnSame]);
    rows.assert_passed(&[Check::CdnCaching, Check::CdnRange]);
}

#[tokio::test]
async fn a_cdn_that_fails_is_told_with_the_reason_that_would_be_counted() {
    for (status, reason, fix) in [
        (403, "`status_403`", "let the CDN read the bucket"),
        (404, "`status_404`", "CloudFrontPathPrefix"),
        (301, "`redirect`", "correct CloudFrontURL"),
        (502, "`status_5xx`", "origin settings"),
    ] {
        let cdn = WireCdn::start().await;
        cdn.next(Act::status(status));
        let rows = behind(&cdn.url(), "").await;
        rows.assert_only_fail(&[Check::CdnAnswers]);
        rows.assert_failed(Check::CdnAnswers, reason, fix);
        rows.assert_passed(&[Check::CdnOrigin]);
        for check in [Check::CdnSame, Check::CdnCaching, Check::CdnRange] {
            rows.assert_not_checked(check, "does not serve");
        }
    }
    let rows = behind(&nobody(), "").await;
    rows.assert_only_fail(&[Check::CdnAnswers]);
    rows.assert_failed(Check::CdnAnswers, "`connect`", "correct CloudFrontURL");
    rows.assert_not_checked(Check::CdnOrigin, "does not answer");
}

#[tokio::test]
async fn a_cdn_that_rewrites_forbids_caching_and_ignores_ranges_fails_in_each() {
    let cdn = WireCdn::start().await;
    for _ in 0..2 {
        let change = |reply: &mut Reply| {
            reply.status = 200;
            reply.set("Cache-Control", "no-store");
        };
        cdn.next(Act::but(change));
    }
    let rows = behind(&cdn.url(), "").await;
    rows.assert_only_fail(&[Check::CdnSame, Check::CdnCaching, Check::CdnRange]);
    rows.assert_failed(Check::CdnSame, "others than storage's", "compression");
    rows.assert_failed(Check::CdnCaching, "no-store", "goes through to storage");
    rows.assert_failed(Check::CdnRange, "whole object", "Range");
}

#[tokio::test]
async fn a_cdn_whose_origin_is_the_gateway_is_told() {
    let storage = Seaweed::shared().await.config();
    // The same deployment: the gateways of the tests have one public URL and so one mark.
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let rows = behind(&gateway.base, "").await;
    rows.assert_only_fail(&[Check::CdnAnswers, Check::CdnOrigin]);
    rows.assert_failed(Check::CdnAnswers, "508", "see below");
    rows.assert_failed(Check::CdnOrigin, "CDN-Loop", "origin at the bucket, not at the gateway");

    // Another one's gateway shows by its answers.
    let cdn = WireCdn::start().await;
    cdn.next(Act::but(|reply| {
        reply.set("Cache-Status", "edge; hit, safelight; fwd=uri-miss; detail=storage");
    }));
    let rows = behind(&cdn.url(), "").await;
    rows.assert_failed(Check::CdnOrigin, "Cache-Status", "another distribution");
}

#[tokio::test]
async fn a_restricted_distribution_is_asked_as_reads_ask_it() {
    for (trusted, sections, served) in
        [(KEY_ID, SIGNED, true), ("K2", SIGNED, false), (KEY_ID, "", false)]
    {
        let cdn = WireCdn::start().await;
        cdn.restrict_to(TrustedKey::p256(trusted, P256));
        cdn.next(Act::but(|reply| reply.status = 200));
        let rows = behind(&cdn.url(), sections).await;
        match served {
            true => rows.assert_passed(&[Check::CdnAnswers]),
            false => rows.assert_failed(Check::CdnAnswers, "`status_403`", "SigningKeyPairID"),
        }
    }
}
