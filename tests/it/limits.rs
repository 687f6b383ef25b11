//! Limits on beginning uploads: of an owner, of a client's address, of an app; and who is taken for
//! the client.

mod clients;
mod floods;
mod quotas;

use serde_json::json;

use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::plain_client::Answer;

/// The client of the tests is a proxy.
const BEHIND_A_PROXY: &[&str] = &["127.0.0.0/8"];

/// An app whose URLs nobody uploads to: signing asks nobody.
fn shop(sections: &str) -> Setup {
    Setup::with_app("shop", offline_app_file("", sections))
}

async fn ask(gateway: &TestGateway, owner: &str) -> Answer {
    gateway.presign("shop", owner, json!({"file": "a.jpg"})).await
}

/// How many requests a limit has refused.
async fn refused(gateway: &TestGateway, limit: &str) -> f64 {
    let series = format!("safelight_rate_limited_total{{app=\"shop\",limit=\"{limit}\"}}");
    gateway.metrics().await.value(&series)
}

/// What is left of a limit, and when there is more: the `r` and `t` of an item such as
/// `"owner";r=1;t=3600`.
#[track_caller]
fn left(answer: &Answer, limit: &str) -> (u32, Option<u64>) {
    let begin = format!("\"{limit}\";r=");
    let mut items = answer.header("ratelimit").split(", ");
    let parameters = items.find_map(|item| item.strip_prefix(&begin));
    let parameters = parameters.unwrap_or_else(|| panic!("nothing is said of {limit}"));
    let (remaining, wait) = match parameters.split_once(";t=") {
        Some((remaining, wait)) => (remaining, Some(wait.parse().unwrap())),
        None => (parameters, None),
    };
    (remaining.parse().unwrap(), wait)
}

/// The limits that an answer tells of, in its order.
fn told(answer: &Answer) -> Vec<&str> {
    let policies = answer.header("ratelimit-policy").split(", ");
    policies.map(|policy| policy.split('"').nth(1).expect("a policy has a name")).collect()
}
