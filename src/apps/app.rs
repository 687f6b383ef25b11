//! A live app: its policy, its storage, its CDN, its limits, its metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::domain::{AppName, Caching, KeyPrefix, ObjectKey, own_cache_life};
use crate::identity::Identity;
use crate::limits::{ConcurrencyLimit, KeyedLimiter, Quotas};
use crate::metrics::{AppMetrics, Metrics};
use crate::storage::{GcsProcessCredentials, ObjectStore, ProcessCredentials, S3Access};
use crate::upstream::Client;

use super::config::{
    AppConfig, CdnConfig, Cors, ReadMode, StorageConfig, UploadPolicy, Visibility,
};
use super::continued::{Before, Limits, Storage, guard_cdn, max_keys, open_identity};
use super::guarded_cdn::GuardedCdn;
use super::observed_store::ObservedStore;
use super::read_proof::ReadProof;

/// A configured app. Whoever has one need not check anything of it again.
///
/// It lies in memory as it stands here: what every request looks at, what every upload does, the rest.
/// Among many apps each line of cache that a request touches is fetched from memory anew.
#[repr(C)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Its metrics.
    pub metrics: AppMetrics,
    /// A number that stands for where its objects come from: another one for another app, bucket
    /// or CDN.
    pub sources: u64,
    /// The largest of its objects that is kept in memory, in bytes. 0: none is.
    pub memory_cache_max_object: u64,
    /// Its CDN.
    pub cdn: Option<Arc<GuardedCdn>>,
    /// Who carries the bytes of its images.
    pub read_mode: ReadMode,
    /// Who may read its images.
    pub visibility: Visibility,
    /// Whether keys that other systems made are served.
    pub accept_foreign_keys: bool,
    /// Whether keys carry the name of the file.
    pub keep_names: bool,
    /// Whether anybody may upload.
    pub allow_public_upload: bool,
    /// What may be uploaded.
    pub upload: UploadPolicy,
    /// `Cache-Control` of its images.
    pub cache_control: HeaderValue,
    /// How callers prove who they are, if they can.
    pub identity: Option<Arc<Identity>>,
    /// How often uploads may begin: of an owner, of a client, and of all together.
    pub quotas: Arc<Quotas>,
    /// Its storage.
    pub store: Arc<dyn ObjectStore>,
    /// Its part of the bucket.
    pub key_prefix: KeyPrefix,
    /// `https://host/darkroom/{app}`: what its URLs begin with.
    pub public_base: String,
    /// Which pages may use the upload endpoints.
    pub cors: Cors,
    /// What `cache_control` says to a shared cache, which this gateway is as well.
    pub caching: Caching,
    /// For how many seconds the cache of a private image's reader may keep it; `None`: not at all.
    pub own_cache_life: Option<u64>,
    /// How long a body may stand still before it is continued from storage.
    pub stall_timeout: Duration,
    /// Its bucket.
    pub bucket: String,
    /// What stands between the CDN's URL and the key.
    pub cdn_prefix: KeyPrefix,
    /// Whether reading from its storage is known to work.
    pub read_proof: Arc<ReadProof>,
    /// How many requests its storage has at once for reads that want the head of an answer.
    pub storage_limit: Arc<ConcurrencyLimit>,
    /// How often each existing upload may be asked about, finalized or renewed.
    pub upload_limit: Arc<KeyedLimiter>,
}

/// What apps are built with: what they share, and what the process gives them.
pub struct Workshop<'a> {
    /// The client of every upstream.
    pub client: &'a Client,
    /// The metrics.
    pub metrics: &'a Arc<Metrics>,
    /// What the URLs of apps without one of their own begin with; no path.
    pub public_base_url: &'a url::Url,
    /// The mark by which a request that comes around is recognised.
    pub loop_token: &'a HeaderValue,
    /// How to get at the embedded store, in a process that has one.
    pub embedded: Option<&'a S3Access>,
    /// The process's own credentials for S3, where an app has none of its own.
    pub process: Option<&'a ProcessCredentials>,
    /// The same for Google Cloud Storage.
    pub google: Option<&'a GcsProcessCredentials>,
    /// How many apps share the memory for rate limits.
    pub apps: usize,
}

/// The apps: one snapshot of all files.
#[derive(Default)]
pub struct Apps {
    /// In the order of names.
    all: Vec<Arc<App>>,
    /// By name: a tree of a thousand would compare a dozen names for each request.
    by_name: HashMap<AppName, Arc<App>>,
}

impl App {
    /// Makes a live app of a tenant's configuration. Nothing is asked of anybody.
    ///
    /// # Errors
    /// A text for the tenant.
    pub fn build(config: AppConfig, workshop: &Workshop<'_>) -> Result<Self, String> {
        Self::build_after(config, workshop, None)
    }

    /// The same in place of an older version: whatever depends on nothing that has changed goes on,
    /// with all that it knows: the store, the limits and who has used them up, the CDN's breaker.
    ///
    /// # Errors
    /// A text for the tenant. Then nothing has happened.
    pub fn build_after(
        config: AppConfig,
        workshop: &Workshop<'_>,
        before: Option<Before<'_>>,
    ) -> Result<Self, String> {
        let cdn_prefix = match &config.cdn {
            Some(cdn) => KeyPrefix::parse(&cdn.path_prefix)?,
            None => config.storage.key_prefix.clone(),
        };
        let storage = Storage::open(&config, workshop, before)?;
        let has_cdn = config.cdn.is_some();
        let source = storage.store.source();
        let metrics = match before {
            Some(Before { app, .. })
                if app.store.source() == source && app.cdn.is_some() == has_cdn =>
            {
                app.metrics.clone()
            }
            Some(Before { app, .. }) => app.metrics.renewed(source, has_cdn),
            None => AppMetrics::new(workshop.metrics, &config.name, source, has_cdn),
        };
        let store: Arc<dyn ObjectStore> = match before {
            // It counts already.
            Some(Before { app, .. }) if Arc::ptr_eq(&app.store, &storage.store) => storage.store,
            _ => Arc::new(ObservedStore::new(storage.store, metrics.clone())),
        };
        let cdn = guard_cdn(&config, &cdn_prefix, workshop, &metrics, before)?;
        let limits = Limits::new(&config, workshop.apps, before);
        let identity = open_identity(&config, workshop, before)?;
        if let Some(identity) = &identity {
            metrics.touch_identity(identity.method(), identity.key_ids());
        }
        let base = config.public_base_url.as_ref().unwrap_or(workshop.public_base_url);
        let base = base.as_str().trim_end_matches('/');
        let AppConfig { name, storage: place, read, .. } = config;
        Ok(Self {
            public_base: format!("{base}/darkroom/{name}"),
            sources: sources_of(&name, &place, config.cdn.as_ref()),
            metrics,
            quotas: limits.quotas,
            upload_limit: limits.upload,
            allow_public_upload: config.allow_public_upload,
            identity,
            accept_foreign_keys: config.accept_foreign_keys,
            keep_names: config.keep_names,
            visibility: config.visibility,
            upload: config.upload,
            caching: Caching::parse(read.cache_control.to_str().unwrap_or("no-store")),
            own_cache_life: read.cache_control.to_str().ok().and_then(own_cache_life),
            read_mode: read.mode,
            cache_control: read.cache_control,
            memory_cache_max_object: read.memory_cache_max_object,
            stall_timeout: read.stall_timeout,
            cors: config.cors,
            bucket: place.bucket,
            key_prefix: place.key_prefix,
            cdn_prefix,
            store,
            read_proof: storage.read_proof,
            cdn,
            storage_limit: storage.limit,
            name,
        })
    }

    /// Whether a read needs a right, and its answer is for one reader alone.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.visibility == Visibility::Private
    }

    /// Whether an image is served only as its record has it: found good, and that version.
    #[must_use]
    pub fn serves_only_ready(&self) -> bool {
        self.upload.serve_only_ready || self.is_private()
    }

    /// Shares the memory for rate limits with so many apps.
    pub fn share_memory(&self, apps: usize) {
        let max_keys = max_keys(apps);
        self.quotas.set_max_keys(max_keys);
        self.upload_limit.set_max_keys(max_keys);
    }

    /// Notes that another version has taken this one's place, which goes on for as long as requests
    /// need it and says nothing more in the metrics about what it no longer is.
    pub(super) fn replaced_by(&self, next: &Self) {
        let Some(mine) = &self.cdn else { return };
        match &next.cdn {
            Some(theirs) if Arc::ptr_eq(&mine.breaker, &theirs.breaker) => {}
            Some(theirs) => {
                mine.mute();
                self.metrics.breaker(theirs.breaker.state().gauge());
            }
            None => {
                mine.mute();
                self.metrics.without_cdn();
            }
        }
    }

    /// Forgets whose quotas are full again. Takes milliseconds where there are many.
    pub fn sweep_limits(&self) {
        self.quotas.sweep();
        self.upload_limit.sweep();
    }

    /// Whether anything may be uploaded at all, be it by callers that prove who they are.
    #[must_use]
    pub const fn takes_uploads(&self) -> bool {
        self.allow_public_upload || self.identity.is_some()
    }

    /// How long after its key was minted an object may still be written through a signed URL. A
    /// pending upload gets fresh URLs until its session ends.
    #[must_use]
    pub fn upload_url_life(&self) -> Duration {
        self.upload.session_expiry.max(self.upload.url_expiry)
    }

    /// Tells the metrics how many keys its limits remember.
    pub fn tell_limits(&self) {
        let [owners, clients] = self.quotas.keys();
        let uploads = self.upload_limit.keys();
        for (limit, keys) in [("owner", owners), ("client_ip", clients), ("upload", uploads)] {
            self.metrics.limiter_keys(limit, keys);
        }
    }

    /// Whether nobody can hold a URL any more through which the object of this key could change.
    #[must_use]
    pub fn is_settled(&self, key: &ObjectKey, now: SystemTime) -> bool {
        let Some(key) = key.minted() else { return true };
        let age = now.duration_since(key.id().minted_at()).unwrap_or(Duration::ZERO);
        age > self.upload_url_life()
    }
}

/// A number for where an app's objects come from.
fn sources_of(name: &AppName, storage: &StorageConfig, cdn: Option<&CdnConfig>) -> u64 {
    let cdn = cdn.map(|cdn| (cdn.url.as_str(), &*cdn.path_prefix));
    let StorageConfig { kind, bucket, key_prefix } = storage;
    let all = (name.as_str(), kind.namespace(), bucket, key_prefix.as_str(), cdn);
    // As it is printed for debugging, with quotes, so that no two of them look the same.
    let digest = Sha256::digest(format!("{all:?}"));
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

impl Apps {
    /// The app of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.by_name.get(name)
    }

    /// Every app, in the order of names, to be kept.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<App>> {
        self.all.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Every app, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.all.iter().map(|app| &**app)
    }
}

impl FromIterator<Arc<App>> for Apps {
    fn from_iter<I: IntoIterator<Item = Arc<App>>>(apps: I) -> Self {
        let by_name: HashMap<_, _> = apps.into_iter().map(|app| (app.name.clone(), app)).collect();
        let mut all: Vec<_> = by_name.values().cloned().collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Self { all, by_name }
    }
}

impl FromIterator<App> for Apps {
    fn from_iter<I: IntoIterator<Item = App>>(apps: I) -> Self {
        apps.into_iter().map(Arc::new).collect()
    }
}
