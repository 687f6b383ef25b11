//! A burst passes and sees what is left, the next request is told to wait; and what is refused costs
//! nobody anything.

use http::Method;
use serde_json::json;

use super::{ask, left, refused, shop, told};
use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::plain_client::Answer;
use crate::harness::raw::Raw;

/// How many uploads are on record.
fn records(gateway: &TestGateway) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(gateway.records_file(), flags).unwrap();
    database.query_row("SELECT count(*) FROM uploads", [], |row| row.get(0)).unwrap()
}

/// Begins an upload in parts, or tries to; without a size it is refused.
async fn begin_in_parts(gateway: &TestGateway, owner: &str) -> Answer {
    gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_header("X_Owner_Id", Some(owner))
        .with_body(json!({"file": "a.jpg"}).to_string())
        .send()
        .await
}

#[tokio::test]
async fn an_owner_has_a_burst_and_then_waits() {
    // One an hour: none is refilled while the test runs.
    let gateway = shop("[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 3").start().await;
    for expected in [2, 1, 0] {
        let answer = ask(&gateway, "ann").await;
        answer.assert_success();
        assert_eq!(answer.header("ratelimit-policy"), "\"owner\";q=3;w=10800, \"app\";q=600;w=6");
        assert_eq!(left(&answer, "owner").0, expected);
        assert_eq!(told(&answer), ["owner", "app"]);
    }
    let answer = ask(&gateway, "ann").await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("ratelimit-policy"), "\"owner\";q=3;w=10800");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    assert_eq!(left(&answer, "owner"), (0, Some(wait)));
    assert_eq!(refused(&gateway, "owner").await, 1.0);
    assert_eq!(records(&gateway), 3);

    let other = ask(&gateway, "bob").await;
    other.assert_success();
    assert_eq!(left(&other, "owner").0, 2);
    let metrics = gateway.metrics().await;
    assert_eq!(
        metrics.value(r#"safelight_presigns_total{app="shop",outcome="rate_limited"}"#),
        1.0
    );
    assert_eq!(metrics.value(r#"safelight_presigns_total{app="shop",outcome="ok"}"#), 4.0);
}

#[tokio::test]
async fn a_refused_request_costs_no_quota() {
    let limits = "[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 1\n\
                  [RateLimit.PerApp]\nRate = \"1/h\"\nBurst = 1";
    let gateway = shop(limits).start().await;
    for _ in 0..3 {
        let answer = gateway.presign("shop", "ann", json!({"file": "a.exe"})).await;
        answer.assert_problem(400, "unsupported_image_type");
        let answer = gateway.presign("shop", "ann", json!([])).await;
        answer.assert_problem(400, "invalid_json");
        begin_in_parts(&gateway, "ann").await.assert_problem(400, "size_required");
    }
    ask(&gateway, "ann").await.assert_success();
    ask(&gateway, "ann").await.assert_problem(429, "rate_limited");
    begin_in_parts(&gateway, "ann").await.assert_problem(429, "rate_limited");
}

/// Whoever is over the limit is told so before the body is waited for.
#[tokio::test]
async fn nothing_is_read_of_whoever_is_over_the_limit() {
    let gateway = shop("[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 1").start().await;
    ask(&gateway, "ann").await.assert_success();
    for path in ["presigned-urls", "multipart-uploads"] {
        let mut raw = Raw::connect(&gateway.base).await;
        raw.send(format!(
            "POST /darkroom/shop/v1/images/{path} HTTP/1.1\r\nHost: a\r\nX_Owner_Id: ann\r\n\
             Content-Length: 100\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.head().await.expect("an answer").status, 429, "{path}");
    }
}

#[tokio::test]
async fn a_read_only_app_counts_nothing() {
    let limits = "[RateLimit.PerApp]\nRate = \"1/h\"\nBurst = 1";
    let file = offline_app_file("", limits).replace("AllowPublicUpload = true", "");
    let gateway = Setup::with_app("shop", file).start().await;
    for _ in 0..3 {
        ask(&gateway, "ann").await.assert_problem(403, "public_upload_disabled");
    }
    assert_eq!(refused(&gateway, "app").await, 0.0);
}

#[tokio::test]
async fn an_app_has_a_limit_over_all_owners() {
    let gateway = shop("[RateLimit.PerApp]\nRate = \"1/h\"\nBurst = 2").start().await;
    ask(&gateway, "ann").await.assert_success();
    ask(&gateway, "bob").await.assert_success();
    let answer = ask(&gateway, "cid").await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("ratelimit-policy"), "\"app\";q=2;w=7200");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert_eq!(left(&answer, "app"), (0, Some(wait)));
    assert_eq!((refused(&gateway, "app").await, refused(&gateway, "owner").await), (1.0, 0.0));
    assert_eq!(records(&gateway), 2);
}

/// A flood of one owner is stopped at that owner's limit, before it can use up the app's.
#[tokio::test]
async fn a_flood_of_one_owner_leaves_the_app_open() {
    let limits = "[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 1\n\
                  [RateLimit.PerApp]\nRate = \"1/h\"\nBurst = 2";
    let gateway = shop(limits).start().await;
    ask(&gateway, "ann").await.assert_success();
    for _ in 0..5 {
        ask(&gateway, "ann").await.assert_problem(429, "rate_limited");
    }
    ask(&gateway, "bob").await.assert_success();
    assert_eq!((refused(&gateway, "owner").await, refused(&gateway, "app").await), (5.0, 0.0));
}

#[tokio::test]
async fn every_limit_is_counted_from_the_start() {
    let gateway = shop("").start().await;
    for limit in ["owner", "client_ip", "app", "upload"] {
        assert_eq!(refused(&gateway, limit).await, 0.0);
    }
    let metrics = gateway.metrics().await;
    for reason in ["untrusted_peer", "malformed", "contradictory"] {
        let series = format!("safelight_untrusted_forwarded_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&series), 0.0);
    }
}
