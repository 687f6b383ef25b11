//! Servers that are not what they seem: they ignore what was signed, answer no page, hide the tag, or
//! let strangers in. No real server at hand does, so a front before one does it.

use safelight::doctor::Check;

use super::{PAGE, Rows, app_on, assert_nothing_left, objects};
use crate::harness::dead_ends::nobody;
use crate::harness::gateway::{Setup, app_file};
use crate::harness::lax_s3::{self, Deed, Manners};
use crate::harness::seaweed::Seaweed;

/// Examines an app on a server with these manners; nothing may be left there.
async fn examined(prefix: &str, manners: Manners) -> Rows {
    let seaweed = Seaweed::shared().await.config();
    let lax = lax_s3::before(&seaweed, manners).await;
    let setup = app_on(&lax, prefix, "", "[Upload]\nPreventOverwrite = true\nRequireSize = true");
    let rows = Rows::of(setup, &lax.bucket, None).await;
    assert_nothing_left(&objects(&seaweed, prefix).await);
    rows
}

#[tokio::test]
async fn a_front_that_changes_nothing_shows_nothing() {
    examined("plain/", Manners::default()).await.assert_only_fail(&[]);
}

#[tokio::test]
async fn storage_that_ignores_everything_that_is_signed_fails_in_each() {
    let manners = Manners { forgives: &[400, 403, 412], ..Manners::default() };
    let rows = examined("lax/", manners).await;
    rows.assert_only_fail(&[
        Check::OtherType,
        Check::OtherSize,
        Check::OtherContent,
        Check::Expired,
        Check::CreateOnce,
    ]);
    rows.assert_failed(Check::OtherType, "200: it was accepted", "ignores a signed Content-Type");
    rows.assert_failed(Check::OtherSize, "it was accepted", "this provider ignores Content-Length");
    rows.assert_failed(Check::OtherSize, "it was accepted", "turn off Upload.RequireSize");
    rows.assert_failed(Check::OtherContent, "accepted", "ignores x-amz-checksum-sha256");
    rows.assert_failed(Check::OtherContent, "accepted", "let clients declare no sha256");
    rows.assert_failed(Check::Expired, "it was accepted", "do not open uploads on this storage");
}

#[tokio::test]
async fn storage_that_ignores_one_condition_fails_in_that_one() {
    let rows = examined("twice/", Manners { forgives: &[412], ..Manners::default() }).await;
    rows.assert_only_fail(&[Check::CreateOnce]);
    rows.assert_failed(
        Check::CreateOnce,
        "200 to a second PUT with If-None-Match: *",
        "turn off Upload.PreventOverwrite: this provider ignores if-none-match",
    );
}

/// A refusal of everything would look like a promise that is kept.
#[tokio::test]
async fn storage_that_takes_no_checksum_is_told_from_one_that_compares_it() {
    for status in [400, 501] {
        let refuses = Some(("x-amz-checksum-sha256", status));
        let rows = examined("sumless/", Manners { refuses, ..Manners::default() }).await;
        rows.assert_only_fail(&[Check::OtherContent]);
        let seen = format!("a PUT with a true sha256 is refused: {status} Refused");
        let fix =
            "this provider does not take x-amz-checksum-sha256: let clients declare no sha256";
        rows.assert_failed(Check::OtherContent, &seen, fix);
    }
}

#[tokio::test]
async fn a_bucket_without_cors_is_told_with_what_to_apply() {
    let manners = Manners { keeps_back: &["access-control-"], ..Manners::default() };
    let rows = examined("no-cors/", manners).await;
    rows.assert_only_fail(&[Check::Preflight, Check::ExposedEtag]);
    let fix = "apply the CORS configuration below";
    rows.assert_failed(Check::Preflight, PAGE, fix);
    rows.assert_failed(Check::ExposedEtag, "no Access-Control-Allow-Origin", fix);
}

#[tokio::test]
async fn a_tag_that_is_not_exposed_is_told() {
    let manners = Manners { keeps_back: &["access-control-expose-headers"], ..Manners::default() };
    let rows = examined("unexposed/", manners).await;
    rows.assert_only_fail(&[Check::ExposedEtag]);
    rows.assert_failed(Check::ExposedEtag, "Access-Control-Expose-Headers", "it exposes ETag");
}

/// What a header that the bucket's CORS configuration lacks does to pages that need it.
#[tokio::test]
async fn pages_may_send_whatever_a_client_can_declare() {
    let manners = Manners { keeps_back: &["access-control-allow-headers"], ..Manners::default() };
    let rows = examined("unsent/", manners).await;
    rows.assert_only_fail(&[Check::Preflight]);
    let seen = "Access-Control-Allow-Headers has no content-type";
    rows.assert_failed(Check::Preflight, seen, "apply the CORS configuration below");
}

#[tokio::test]
async fn a_bucket_that_anyone_can_write_to_is_told() {
    let manners = Manners { lets_strangers: &[Deed::Write], ..Manners::default() };
    let rows = examined("open/", manners).await;
    rows.assert_only_fail(&[Check::StrangersWrite]);
    rows.assert_failed(
        Check::StrangersWrite,
        "without a signature",
        "block public access to media",
    );
}

/// Reading without credentials is what some CDNs need; listing is not.
#[tokio::test]
async fn a_bucket_that_anyone_can_read_is_told_where_nothing_needs_it() {
    let seaweed = Seaweed::shared().await.config();
    let cdn = format!("CloudFrontURL = \"{}\"", nobody());
    for (deed, head, seen, fix) in [
        (Deed::Read, "", "anyone can read objects past", Some("block public access to media")),
        (Deed::List, "", "anyone can list the bucket", Some("block public access to media")),
        (Deed::Read, cdn.as_str(), "right only if this CDN reads", None),
        (Deed::List, cdn.as_str(), "anyone can list", Some("needs s3:GetObject only")),
    ] {
        let lets_strangers = if deed == Deed::Read { &[Deed::Read] } else { &[Deed::List] };
        let lax = lax_s3::before(&seaweed, Manners { lets_strangers, ..Manners::default() }).await;
        let setup = Setup::with_app("shop", app_file(&lax, head, ""));
        let rows = Rows::of(setup, &lax.bucket, None).await;
        match fix {
            Some(fix) => rows.assert_failed(Check::StrangersRead, seen, fix),
            None => {
                rows.assert_passed(&[Check::StrangersRead]);
                assert!(rows.0["anonymous-read"].detail.contains(seen));
            }
        }
        rows.assert_passed(&[Check::StrangersWrite]);
    }
}
