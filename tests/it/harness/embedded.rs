//! The store that `safelight dev` embeds, on a free port and a folder of its own.

use std::future::pending;
use std::net::SocketAddr;

use safelight::dev::{DevStore, DevStoreOptions};
use safelight::domain::{Secret, Source};
use safelight::storage::{AccessKey, Provider, S3Access, S3Config, S3Credentials, S3Timeouts};
use tokio::net::TcpListener;

use super::seaweed::key_of;

pub const BUCKET: &str = "media";
const ACCESS_KEY_ID: &str = "SAFELIGHTTEST";
const SECRET_ACCESS_KEY: &str = "a-secret-of-the-tests-only";

/// Starts a store that lives as long as the test's runtime.
pub async fn start() -> S3Config {
    start_on(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
}

/// The same, where somebody may have looked for it before.
pub fn start_on(listener: TcpListener) -> S3Config {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let options = DevStoreOptions {
        access_key: ACCESS_KEY_ID.into(),
        secret_key: Secret::new(SECRET_ACCESS_KEY),
        buckets: vec![BUCKET.into()],
        cors_origins: Vec::new(),
    };
    let store = DevStore::open(folder.path(), options).expect("the store opens");
    let config = config(listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        store.serve(listener, pending()).await;
        drop(folder);
    });
    config
}

/// The settings of a store at an address.
pub fn config(address: SocketAddr) -> S3Config {
    S3Config {
        bucket: BUCKET.into(),
        provider: Provider::Other,
        region: "us-east-1".into(),
        endpoint: Some(format!("http://{address}").parse().expect("a URL")),
        path_style: true,
        credentials: S3Credentials::Key(AccessKey {
            access_key_id: ACCESS_KEY_ID.into(),
            secret_access_key: Secret::new(SECRET_ACCESS_KEY),
            session_token: None,
        }),
        source: Source::Embedded,
        timeouts: S3Timeouts::default(),
    }
}

/// The same, as an app of `Kind = "embedded"` gets at it.
pub fn access(config: &S3Config) -> S3Access {
    S3Access {
        provider: config.provider,
        region: config.region.clone(),
        endpoint: config.endpoint.clone(),
        path_style: true,
        key: Some(key_of(config)),
    }
}
