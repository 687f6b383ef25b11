//! The CDN of `safelight dev`, on a free port, which fails as it is told to and counts how often.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use http::Method;
use safelight::dev::DevCdn;
use safelight::storage::S3Config;
use serde_json::Value;
use tokio::net::TcpListener;

use super::plain_client::{Answer, Plain};
use super::seaweed::open;

/// A CDN that lives as long as the test's runtime.
pub struct FaultyCdn {
    pub url: String,
}

impl FaultyCdn {
    /// In front of a store.
    pub async fn start(storage: &S3Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let cdn = DevCdn::new(Arc::new(open(storage.clone())));
        tokio::spawn(cdn.serve(listener, pending()));
        Self { url }
    }

    /// Orders a fault.
    pub async fn order(&self, fault: &Value) {
        self.faults(Method::POST, fault.to_string()).await.assert_success();
    }

    /// Ends all faults.
    pub async fn clear(&self) {
        self.faults(Method::DELETE, String::new()).await.assert_success();
    }

    /// How often each fault fired since they were last cleared, by what names it: the status, or the
    /// kind.
    pub async fn fired(&self) -> BTreeMap<String, u64> {
        let report = self.faults(Method::GET, String::new()).await.json();
        let mut fired = BTreeMap::new();
        for fault in report["faults"].as_array().expect("a list") {
            let name = match &fault["status"] {
                Value::Number(status) => status.to_string(),
                _ => fault["fault"].as_str().expect("a kind").to_owned(),
            };
            *fired.entry(name).or_default() += fault["fired"].as_u64().expect("a number");
        }
        fired
    }

    async fn faults(&self, method: Method, body: String) -> Answer {
        Plain::new(method, format!("{}/_faults", self.url)).with_body(body).send().await
    }
}
