//! An app and what actions need besides, on stores in memory: for tests of the actions themselves.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use safelight::actions::Services;
use safelight::actions::known::Known;
use safelight::apps::{App, Workshop};
use safelight::identity::{ReadSignatures, UploadTokens};
use safelight::metrics::Metrics;
use safelight::storage::ObjectStore;
use safelight::upstream::Client;

use super::gateway::{Setup, offline_app_file};
use super::memory_records::MemoryRecords;

/// The app `shop` on a store, with services on these records.
pub async fn shop(store: impl ObjectStore, records: &Arc<MemoryRecords>) -> (App, Services) {
    let configuration = Setup::with_app("shop", offline_app_file("", "")).configuration();
    let settings = configuration.settings;
    let client = Client::new(settings.server.address_policy.clone()).unwrap();
    let workshop = Workshop {
        client: &client,
        metrics: &Metrics::new(),
        public_base_url: &settings.server.public_base_url,
        loop_token: &HeaderValue::from_static("test"),
        embedded: None,
        process: None,
        google: None,
        apps: 1,
    };
    let [config] = <[_; 1]>::try_from(configuration.apps).ok().unwrap();
    let mut app = App::build(config, &workshop).unwrap();
    app.store = Arc::new(store);
    let known = Known::load(Arc::clone(records) as _, Metrics::new()).await.unwrap();
    let services = Services {
        records: Arc::clone(records) as _,
        known: Arc::new(known),
        memory: None,
        mint_secrets: settings.keys.mint.clone(),
        tokens: UploadTokens::new(settings.keys.signing.clone()).unwrap(),
        read_signatures: ReadSignatures::new(settings.keys.signing.clone()).unwrap(),
        grace: Duration::from_secs(3600),
    };
    (app, services)
}
