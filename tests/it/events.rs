//! Events of storage: an upload moves on without the client's finalize, whatever becomes of the events
//! on their way; and nobody moves anything who may not.

mod pubsub;
mod sqs;
mod webhook;

use crate::harness::gateway::{Grant, TestGateway};

/// The name of a series of `safelight_events_total`.
fn series(source: &str, outcome: &str) -> String {
    format!("safelight_events_total{{outcome=\"{outcome}\",source=\"{source}\"}}")
}

/// How many events of a source came to an outcome.
async fn counted(gateway: &TestGateway, source: &str, outcome: &str) -> f64 {
    gateway.metrics().await.value(&series(source, outcome))
}

/// The state that the record of an upload is in.
async fn state_of(gateway: &TestGateway, grant: &Grant) -> String {
    let status = gateway.status("shop", grant).await;
    status["state"].as_str().expect("a state").to_owned()
}
