//! Clients are told apart by their addresses, through the proxies that the operator names and through
//! no others.

use http::Method;
use serde_json::json;

use super::{BEHIND_A_PROXY, ask, left, refused, shop, told};
use crate::harness::gateway::TestGateway;
use crate::harness::plain_client::Answer;

const ONE_EACH: &str = "[RateLimit.PerClientIP]\nRate = \"1/h\"\nBurst = 1";

/// Presigns as a new owner each time, with these headers besides.
async fn from(gateway: &TestGateway, owner: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = gateway
        .request(Method::POST, "/darkroom/shop/v1/images/presigned-urls")
        .with_header("X_Owner_Id", Some(owner))
        .with_body(json!({"file": "a.jpg"}).to_string());
    for (name, value) in headers {
        request = request.and_header(name, value);
    }
    request.send().await
}

async fn unbelieved(gateway: &TestGateway, reason: &str) -> f64 {
    let series = format!("safelight_untrusted_forwarded_total{{reason=\"{reason}\"}}");
    gateway.metrics().await.value(&series)
}

async fn gateway(proxies: &[&str], sections: &str) -> TestGateway {
    shop(sections).trusting(proxies).start().await
}

#[tokio::test]
async fn each_client_behind_a_proxy_has_its_own_limit() {
    let gateway = gateway(BEHIND_A_PROXY, ONE_EACH).await;
    for (at, headers) in [
        &[("X-Forwarded-For", "192.0.2.1")][..],
        &[("X-Forwarded-For", "6.6.6.6, 192.0.2.2:4711")],
        &[("X-Forwarded-For", "192.0.2.3"), ("X-Forwarded-For", "127.0.0.9")],
        &[("X-Forwarded-For", "2001:db8:1:1::1")],
        &[("X-Forwarded-For", "2001:db8:1:2::1")],
        &[("Forwarded", "for=6.6.6.6, for=192.0.2.4;proto=https")],
        &[("Forwarded", "for=\"[2001:db8:1:3::1]:4711\""), ("X-Forwarded-Host", "evil.example")],
        // The proxy itself, such as for its health checks.
        &[],
    ]
    .into_iter()
    .enumerate()
    {
        let answer = from(&gateway, &format!("owner-{at}"), headers).await;
        answer.assert_success();
        assert_eq!(told(&answer), ["owner", "app", "client_ip"]);
        assert_eq!(left(&answer, "client_ip").0, 0);
    }
    for (at, headers) in [
        &[("X-Forwarded-For", "192.0.2.1")][..],
        &[("X-Forwarded-For", "198.51.100.1, 192.0.2.1")],
        &[("X-Forwarded-For", "::ffff:192.0.2.2")],
        &[("X-Forwarded-For", "2001:db8:1:1:ffff::7")],
        &[("Forwarded", "for=\"192.0.2.1\"")],
        &[("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.1")],
        // Whoever says two things is as good as the proxy.
        &[("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "198.51.100.2")],
        &[("X-Forwarded-For", "198.51.100.1, rubbish")],
        &[("X-Forwarded-For", "198.51.100.1, unknown")],
        &[("X-Original-URL", "/"), ("X-Real-IP", "198.51.100.1")],
    ]
    .into_iter()
    .enumerate()
    {
        let answer = from(&gateway, &format!("other-{at}"), headers).await;
        answer.assert_problem(429, "rate_limited");
        assert_eq!(told(&answer), ["client_ip"], "{headers:?}");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert_eq!(left(&answer, "client_ip"), (0, Some(wait)));
    }
    assert_eq!(refused(&gateway, "client_ip").await, 10.0);
    assert_eq!(unbelieved(&gateway, "contradictory").await, 1.0);
    assert_eq!(unbelieved(&gateway, "malformed").await, 1.0);
    assert_eq!(unbelieved(&gateway, "untrusted_peer").await, 0.0);
}

#[tokio::test]
async fn clients_that_connect_directly_are_believed_nothing() {
    let gateway = gateway(&[], ONE_EACH).await;
    ask(&gateway, "ann").await.assert_success();
    for (at, header) in ["X-Forwarded-For", "Forwarded"].into_iter().enumerate() {
        let said = if at == 0 { "192.0.2.1" } else { "for=192.0.2.1" };
        let answer = from(&gateway, &format!("owner-{at}"), &[(header, said)]).await;
        answer.assert_problem(429, "rate_limited");
    }
    assert_eq!(unbelieved(&gateway, "untrusted_peer").await, 2.0);
}

/// Behind a proxy that nobody has told of, all clients would be one.
#[tokio::test]
async fn where_nobody_says_who_stands_in_front_no_client_is_limited() {
    let gateway = shop(ONE_EACH).start().await;
    for owner in ["ann", "bob", "cid"] {
        let answer = from(&gateway, owner, &[("X-Forwarded-For", "192.0.2.1")]).await;
        answer.assert_success();
        assert_eq!(told(&answer), ["owner", "app"]);
    }
    assert_eq!(unbelieved(&gateway, "untrusted_peer").await, 3.0);
}

#[tokio::test]
async fn uploads_in_parts_count_as_well_and_reads_do_not() {
    let gateway = gateway(BEHIND_A_PROXY, ONE_EACH).await;
    ask(&gateway, "ann").await.assert_success();
    let begin = gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_header("X_Owner_Id", Some("bob"))
        .with_body(json!({"file": "a.jpg", "size": 6_000_000}).to_string());
    begin.send().await.assert_problem(429, "rate_limited");
    for _ in 0..5 {
        let forged = format!("/darkroom/shop/v2/images/{}-a.jpg", "0".repeat(26));
        gateway.get(&forged).await.assert_problem(404, "not_found");
    }
}

/// One client that floods does not use up the app's quota, nor an owner's whose name it takes.
#[tokio::test]
async fn a_flood_of_one_client_leaves_app_and_owners_open() {
    let limits = format!(
        "{ONE_EACH}\n[RateLimit.PerApp]\nRate = \"1/h\"\nBurst = 2\n\
         [RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 1"
    );
    let gateway = gateway(BEHIND_A_PROXY, &limits).await;
    from(&gateway, "ann", &[("X-Forwarded-For", "192.0.2.1")]).await.assert_success();
    for _ in 0..5 {
        let answer = from(&gateway, "bob", &[("X-Forwarded-For", "192.0.2.1")]).await;
        answer.assert_problem(429, "rate_limited");
    }
    from(&gateway, "bob", &[("X-Forwarded-For", "192.0.2.2")]).await.assert_success();
    let answer = from(&gateway, "cid", &[("X-Forwarded-For", "192.0.2.3")]).await;
    assert_eq!(told(&answer), ["app"], "{}", answer.text());
    assert_eq!(refused(&gateway, "client_ip").await, 5.0);
}
