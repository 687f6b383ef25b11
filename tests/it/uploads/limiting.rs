//! Rate limits: a burst passes and sees what is left, the next request is told to wait.

use serde_json::json;

use super::{records, shop};
use crate::harness::gateway::TestGateway;
use crate::harness::plain_client::Answer;

async fn ask(gateway: &TestGateway, owner: &str) -> Answer {
    gateway.presign("shop", owner, json!({"file": "a.jpg"})).await
}

async fn refused(gateway: &TestGateway, limit: &str) -> f64 {
    let series = format!("safelight_rate_limited_total{{app=\"shop\",limit=\"{limit}\"}}");
    gateway.metrics().await.value(&series)
}

/// The `r` and `t` of `RateLimit: "owner";r=1;t=3600`.
#[track_caller]
fn left(answer: &Answer, limit: &str) -> (u32, Option<u64>) {
    let text = answer.header("ratelimit");
    let parameters = text.strip_prefix(&format!("\"{limit}\";r=")).expect(text);
    let (remaining, wait) = match parameters.split_once(";t=") {
        Some((remaining, wait)) => (remaining, Some(wait.parse().unwrap())),
        None => (parameters, None),
    };
    (remaining.parse().unwrap(), wait)
}

#[tokio::test]
async fn an_owner_has_a_burst_and_then_waits() {
    // One an hour: none is refilled while the test runs.
    let gateway = shop("[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 3").await.start().await;
    for expected in [2, 1, 0] {
        let answer = ask(&gateway, "ann").await;
        answer.assert_success();
        assert_eq!(answer.header("ratelimit-policy"), "\"owner\";q=3;w=10800");
        assert_eq!(left(&answer, "owner").0, expected);
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
    let gateway = shop("[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 1").await.start().await;
    for _ in 0..3 {
        let answer = gateway.presign("shop", "ann", json!({"file": "a.exe"})).await;
        answer.assert_problem(400, "unsupported_image_type");
    }
    ask(&gateway, "ann").await.assert_success();
    ask(&gateway, "ann").await.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn an_app_has_a_limit_over_all_owners() {
    let gateway = shop("[RateLimit.PerApp]\nRate = \"1/h\"\nBurst = 2").await.start().await;
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
    let gateway = shop(limits).await.start().await;
    ask(&gateway, "ann").await.assert_success();
    for _ in 0..5 {
        ask(&gateway, "ann").await.assert_problem(429, "rate_limited");
    }
    ask(&gateway, "bob").await.assert_success();
    assert_eq!((refused(&gateway, "owner").await, refused(&gateway, "app").await), (5.0, 0.0));
}
