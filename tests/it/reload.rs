//! Files of apps that change while the gateway runs: what is taken up, what is refused, and that
//! nobody who is being served notices.
//!
//! A test changes a file and asks `/apps` until the change has been seen, as an operator would.

mod changing;
mod kubernetes;
mod refusing;
mod removing;
mod serving;
mod signals;
mod surviving;

use serde_json::json;

use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::plain_client::Answer;

/// A gateway with the app `shop`, whose store does not exist: signing asks nobody.
fn shop() -> Setup {
    Setup::with_app("shop", file(""))
}

/// The file of `shop`, with these sections.
fn file(sections: &str) -> String {
    offline_app_file("", sections)
}

/// The file of an app beside it, in a bucket of its own.
fn file_in(bucket: &str) -> String {
    file("").replace("\"nowhere\"", &format!("\"{bucket}\""))
}

async fn ask(gateway: &TestGateway, app: &str) -> Answer {
    gateway.presign(app, "owner-1", json!({"file": "a.jpg"})).await
}

fn reloads(outcome: &str) -> String {
    format!("safelight_config_reloads_total{{outcome=\"{outcome}\"}}")
}

/// How many apps stand to their files in this way, by the metrics.
async fn count(gateway: &TestGateway, state: &str) -> f64 {
    gateway.metrics().await.value(&format!("safelight_config_apps{{state=\"{state}\"}}"))
}
