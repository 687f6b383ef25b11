//! Floods of made-up owners: the limits of client and app hold, and whoever is known keeps its quota.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::{BEHIND_A_PROXY, ask, left, refused, shop};
use crate::harness::gateway::TestGateway;

/// How many requests the floods have: more than any of the bursts, and few enough for a test.
const FLOOD: usize = 400;

/// How many requests of the flood are on their way at once.
const AT_ONCE: usize = 8;

/// Requests of an owner each, as `address` gives where they come from; how many were granted.
async fn flood(gateway: &TestGateway, address: fn(usize) -> String) -> usize {
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let url = format!("{}/darkroom/shop/v1/images/presigned-urls", gateway.base);
    let clients = (0..AT_ONCE).map(|_| {
        let (next, url) = (Arc::clone(&next), url.clone());
        tokio::spawn(async move {
            let mut granted = 0;
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= FLOOD {
                    return granted;
                }
                let answer = crate::harness::plain_client::Plain::new(Method::POST, url.clone())
                    .with_header("X_Owner_Id", Some(&format!("made-up-{number}")))
                    .with_header("X-Forwarded-For", Some(&address(number)))
                    .with_body(json!({"file": "a.jpg"}).to_string())
                    .send()
                    .await;
                match answer.status.as_u16() {
                    200 => granted += 1,
                    _ => answer.assert_problem(429, "rate_limited"),
                }
            }
        })
    });
    let mut granted = 0;
    for client in clients.collect::<Vec<_>>() {
        granted += client.await.unwrap();
    }
    granted
}

async fn gateway() -> TestGateway {
    // One an hour: none is refilled while the test runs.
    let limits = "[RateLimit]\nPerOwner = { Rate = \"1/h\", Burst = 5 }\n\
                  PerClientIP = { Rate = \"1/h\", Burst = 30 }\n\
                  PerApp = { Rate = \"1/h\", Burst = 100 }";
    shop(limits).trusting(BEHIND_A_PROXY).start().await
}

#[tokio::test]
async fn of_one_client() {
    let gateway = gateway().await;
    assert_eq!(left(&ask(&gateway, "known").await, "owner").0, 4);
    assert_eq!(flood(&gateway, |_| "192.0.2.1".to_owned()).await, 30);
    let rest = (FLOOD - 30) as f64;
    assert_eq!(refused(&gateway, "client_ip").await, rest);
    let answer = ask(&gateway, "known").await;
    answer.assert_success();
    assert_eq!((left(&answer, "owner").0, left(&answer, "app").0), (3, 100 - 32));
}

#[tokio::test]
async fn of_a_network_of_one_client() {
    let gateway = gateway().await;
    assert_eq!(flood(&gateway, |number| format!("2001:db8:1:1::{number:x}")).await, 30);
}

#[tokio::test]
async fn of_many_clients() {
    let gateway = gateway().await;
    let address = |number: usize| format!("192.0.{}.{}", number / 256, number % 256);
    assert_eq!(flood(&gateway, address).await, 100);
    assert_eq!(refused(&gateway, "app").await, (FLOOD - 100) as f64);
    assert_eq!(
        (refused(&gateway, "client_ip").await, refused(&gateway, "owner").await),
        (0.0, 0.0)
    );
}
