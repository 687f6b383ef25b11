//! A live app: its policy, its storage, its CDN, its limits, its metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::cdn::Cdn;
use crate::domain::{AppName, KeyPrefix, MediaType};
use crate::limits::{KeyedLimiter, SingleLimiter};
use crate::metrics::AppMetrics;
use crate::storage::ObjectStore;

/// A configured app. Whoever has one need not check anything of it again.
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Whether anybody may upload.
    pub allow_public_upload: bool,
    /// `https://host/darkroom/{app}`: what its URLs begin with.
    pub public_base: String,
    /// Whether keys that other systems made are served.
    pub accept_foreign_keys: bool,
    /// Whether keys carry the name of the file.
    pub keep_names: bool,
    /// What may be uploaded.
    pub upload: UploadPolicy,
    /// `Cache-Control` of its images.
    pub cache_control: HeaderValue,
    /// How long a body may stand still before it is continued from storage.
    pub stall_timeout: Duration,
    /// The origins whose pages may use the upload endpoints.
    pub allowed_origins: Vec<String>,
    /// Its part of the bucket.
    pub key_prefix: KeyPrefix,
    /// What stands between the CDN's URL and the key.
    pub cdn_prefix: KeyPrefix,
    /// Its storage.
    pub store: Arc<dyn ObjectStore>,
    /// Its CDN.
    pub cdn: Option<Cdn>,
    /// How often each owner may presign.
    pub owner_limit: KeyedLimiter,
    /// How often all owners together may.
    pub app_limit: SingleLimiter,
    /// Its metrics.
    pub metrics: AppMetrics,
}

/// The apps, by name: one snapshot of all files.
#[derive(Default)]
pub struct Apps(BTreeMap<AppName, Arc<App>>);

impl App {
    /// How long the upload URL of a key can live after the key was minted.
    #[must_use]
    pub fn upload_url_life(&self) -> Duration {
        self.upload.url_expiry
    }
}

impl Apps {
    /// The app of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.0.get(name)
    }

    /// Every app, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.0.values().map(|app| &**app)
    }
}

impl FromIterator<App> for Apps {
    fn from_iter<I: IntoIterator<Item = App>>(apps: I) -> Self {
        Self(apps.into_iter().map(|app| (app.name.clone(), Arc::new(app))).collect())
    }
}

pub struct UploadPolicy {
    pub allowed_types: Vec<MediaType>,
    pub max_bytes: u64,
    pub max_pixels: u64,
    pub url_expiry: Duration,
    pub session_expiry: Duration,
    pub require_size: bool,
    pub prevent_overwrite: bool,
}
