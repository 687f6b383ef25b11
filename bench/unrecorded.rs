//! The gateway with records that nobody keeps: what upload requests cost without theirs. A subject of
//! `bench/run presign`, started like the gateway: `unrecorded serve --config FILE`.
//!
//! The public listener, the front door and everything behind it are the gateway's own, put together as
//! it puts them together. It has no admin listener, and nothing that runs beside the requests.

#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::HeaderValue;
use safelight::apps::{LoadContext, load_apps};
use safelight::domain::{AppName, IdempotencyClaim, UploadId, UploadRecord};
use safelight::gateway::{Configuration, Prepared, services};
use safelight::http::FrontDoor;
use safelight::records::{Claimed, Due, Look, Records, RecordsError, Renewal, Transition};
use safelight::server::{Listening, Protocols, serve, shutdown};
use safelight::settings::Settings;
use tokio::net::TcpListener;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ["serve", "--config", path] = arguments[..] else {
        return println!("used by `bench/run presign`: see bench/README.md");
    };
    safelight::log::to_json().expect("a thread for the access log");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("the system gives threads").block_on(run(path.as_ref()));
}

async fn run(path: &Path) {
    let configured = configuration(path).prepare().await;
    let Prepared { settings, apps, metrics, .. } = configured.expect("the apps can be built");
    let listener = TcpListener::bind(settings.server.listen).await.expect("the address is free");
    let services = services(&settings, Arc::new(Nowhere), &metrics).await.expect("secrets");
    let token = HeaderValue::from_static("unrecorded");
    let most = settings.limits.max_concurrent_requests.get();
    let door = Arc::new(FrontDoor::new(apps, services, Arc::clone(&metrics), token, most));
    let listening = Listening {
        listener,
        name: "public",
        protocols: Protocols::Http1,
        max_connections: settings.limits.max_connections.get(),
        per_client: None,
        idle: settings.server.idle_timeout,
        drain: settings.server.drain_timeout,
    };
    let (_until_killed, stop) = shutdown();
    let handle = move |request, peer| {
        let door = Arc::clone(&door);
        async move { door.handle(request, peer).await }
    };
    serve(listening, metrics, stop, handle).await;
}

/// The files, read as `safelight serve` reads them.
fn configuration(path: &Path) -> Configuration {
    let settings = Settings::load(Some(path), std::iter::empty()).expect("the settings are right");
    let server = &settings.server;
    let context = LoadContext {
        address_policy: &server.address_policy,
        max_url_expiry: server.max_url_expiry,
        secrets_dir: &server.secrets_dir,
        env: &|_| None,
        grants: &settings.grants,
        trusted_proxies: server.trusted_proxies.as_ref(),
    };
    let (apps, errors) = load_apps(&server.apps_dir, &context);
    assert!(errors.is_empty(), "{errors:?}");
    Configuration { settings, apps, embedded: None, files: None }
}

/// Takes every record, and has none.
struct Nowhere;

#[async_trait]
impl Records for Nowhere {
    async fn insert(
        &self,
        _: UploadRecord,
        _: Option<IdempotencyClaim>,
    ) -> Result<(), RecordsError> {
        Ok(())
    }

    async fn claimed(&self, _: [u8; 32], _: SystemTime) -> Result<Option<Claimed>, RecordsError> {
        Ok(None)
    }

    async fn get(&self, _: &AppName, _: UploadId) -> Result<Option<UploadRecord>, RecordsError> {
        Ok(None)
    }

    async fn transition(&self, _: Transition) -> Result<(), RecordsError> {
        Err(RecordsError::Conflict)
    }

    async fn renew(&self, _: Renewal) -> Result<(), RecordsError> {
        Err(RecordsError::Conflict)
    }

    async fn look_again(&self, _: Look) -> Result<(), RecordsError> {
        Err(RecordsError::Conflict)
    }

    async fn due(&self, _: SystemTime, _: usize) -> Result<HashMap<AppName, Due>, RecordsError> {
        Ok(HashMap::new())
    }

    async fn still_due(
        &self,
        _: &AppName,
        _: &[UploadId],
        _: SystemTime,
    ) -> Result<Vec<UploadRecord>, RecordsError> {
        Ok(Vec::new())
    }

    async fn deleted_since(
        &self,
        _: SystemTime,
        _: u32,
    ) -> Result<Vec<(UploadId, SystemTime)>, RecordsError> {
        Ok(Vec::new())
    }

    async fn forget_claims(&self, _: SystemTime, _: u32) -> Result<u32, RecordsError> {
        Ok(0)
    }

    async fn close(&self) {}
}
