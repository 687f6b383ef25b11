//! A live app: its policy, its storage, its CDN, its limits, its metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::cdn::{Cdn, RequestSigner};
use crate::domain::{AppName, Caching, KeyPrefix, ObjectKey, Rate, own_cache_life};
use crate::identity::Identity;
use crate::limits::{
    ConcurrencyBounds, ConcurrencyLimit, DEFAULT_MAX_KEYS, KeyedLimiter, SingleLimiter,
};
use crate::metrics::{AppMetrics, Metrics};
use crate::storage::{GcsProcessCredentials, Means, ObjectStore, ProcessCredentials, S3Access};
use crate::upstream::{Client, Timeouts};

use super::config::{AppConfig, CdnConfig, ReadMode, StorageConfig, UploadPolicy, Visibility};
use super::guarded_cdn::GuardedCdn;
use super::observed_store::ObservedStore;
use super::read_proof::ReadProof;

/// A configured app. Whoever has one need not check anything of it again.
pub struct App {
    /// Its name.
    pub name: AppName,
    /// Whether anybody may upload.
    pub allow_public_upload: bool,
    /// How callers prove who they are, if they can.
    pub identity: Option<Arc<Identity>>,
    /// `https://host/darkroom/{app}`: what its URLs begin with.
    pub public_base: String,
    /// Whether keys that other systems made are served.
    pub accept_foreign_keys: bool,
    /// Whether keys carry the name of the file.
    pub keep_names: bool,
    /// Who may read its images.
    pub visibility: Visibility,
    /// What may be uploaded.
    pub upload: UploadPolicy,
    /// Who carries the bytes of its images.
    pub read_mode: ReadMode,
    /// `Cache-Control` of its images.
    pub cache_control: HeaderValue,
    /// What that says to a shared cache, which this gateway is as well.
    pub caching: Caching,
    /// For how many seconds the cache of a private image's reader may keep it; `None`: not at all.
    pub own_cache_life: Option<u64>,
    /// The largest of its objects that is kept in memory, in bytes. 0: none is.
    pub memory_cache_max_object: u64,
    /// A number that stands for where its objects come from: another one for another app, bucket
    /// or CDN.
    pub sources: u64,
    /// How long a body may stand still before it is continued from storage.
    pub stall_timeout: Duration,
    /// The origins whose pages may use the upload endpoints.
    pub allowed_origins: Vec<String>,
    /// Its bucket.
    pub bucket: String,
    /// Its part of the bucket.
    pub key_prefix: KeyPrefix,
    /// What stands between the CDN's URL and the key.
    pub cdn_prefix: KeyPrefix,
    /// Its storage.
    pub store: Arc<dyn ObjectStore>,
    /// Whether reading from it is known to work.
    pub read_proof: ReadProof,
    /// Its CDN.
    pub cdn: Option<GuardedCdn>,
    /// How many requests its storage has at once for reads that want the head of an answer.
    pub storage_limit: ConcurrencyLimit,
    /// How often each owner may presign.
    pub owner_limit: KeyedLimiter,
    /// How often all owners together may.
    pub app_limit: SingleLimiter,
    /// How often each existing upload may be asked about, finalized or renewed.
    pub upload_limit: KeyedLimiter,
    /// Its metrics.
    pub metrics: AppMetrics,
}

/// How often one upload may be asked about, finalized or renewed: a client that polls every second
/// for a minute is fine, a loop is not. And one that asks for the URLs of 10,000 parts at once, 100 a
/// call, is fine twice.
const PER_UPLOAD: Rate = Rate::per_minute(60, 200);

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

/// The apps, by name: one snapshot of all files.
#[derive(Default)]
pub struct Apps(BTreeMap<AppName, Arc<App>>);

impl App {
    /// Makes a live app of a tenant's configuration. Nothing is asked of anybody.
    ///
    /// # Errors
    /// A text for the tenant.
    pub fn build(config: AppConfig, workshop: &Workshop<'_>) -> Result<Self, String> {
        let AppConfig { name, storage, read, rate_limit, .. } = config;
        let Workshop { client, process, google, embedded, .. } = *workshop;
        let store =
            storage.kind.open(&storage.bucket, &Means { client, process, google, embedded })?;
        let timeouts =
            Timeouts { connect: read.connect_timeout, first_byte: read.first_byte_timeout };
        let cdn_prefix = match &config.cdn {
            Some(cdn) => KeyPrefix::parse(&cdn.path_prefix)?,
            None => storage.key_prefix.clone(),
        };
        let sources = sources_of(&name, &storage, config.cdn.as_ref());
        let build_cdn = |CdnConfig { url, keys, .. }: CdnConfig| {
            let (client, token) = (workshop.client.clone(), workshop.loop_token.clone());
            let cdn = Cdn::new(client, &url, timeouts, token)?;
            Ok::<_, String>(match keys {
                Some(keys) => cdn.signed_by(RequestSigner::new(keys, &url, &cdn_prefix)),
                None => cdn,
            })
        };
        let cdn = config.cdn.map(build_cdn).transpose()?;
        let metrics = AppMetrics::new(workshop.metrics, &name, store.source(), cdn.is_some());
        let store = Arc::new(ObservedStore::new(store, metrics.clone()));
        let cdn = cdn.map(|cdn| GuardedCdn::new(cdn, &read, &metrics)).transpose()?;
        let identity = config.identity.map(|config| Identity::open(config, &name, client));
        let identity = identity.transpose()?.map(Arc::new);
        if let Some(identity) = &identity {
            metrics.touch_identity(identity.method(), identity.key_ids());
        }
        let base = config.public_base_url.as_ref().unwrap_or(workshop.public_base_url);
        let base = base.as_str().trim_end_matches('/');
        // A flood of invented owners at every app at once stays within the bound of one, for up to a
        // thousand apps; beyond, each still has room for this many real ones.
        let max_keys = (DEFAULT_MAX_KEYS / workshop.apps.max(1)).max(1_000);
        Ok(Self {
            public_base: format!("{base}/darkroom/{name}"),
            metrics,
            owner_limit: KeyedLimiter::new("owner", rate_limit.per_owner, max_keys),
            upload_limit: KeyedLimiter::new("upload", PER_UPLOAD, max_keys),
            app_limit: SingleLimiter::new("app", rate_limit.per_app),
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
            sources,
            stall_timeout: read.stall_timeout,
            allowed_origins: config.cors.allowed_origins,
            bucket: storage.bucket,
            key_prefix: storage.key_prefix,
            cdn_prefix,
            store,
            read_proof: ReadProof::default(),
            cdn,
            storage_limit: ConcurrencyLimit::new(ConcurrencyBounds::STORAGE),
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
        for (limit, keys) in
            [("owner", self.owner_limit.keys()), ("upload", self.upload_limit.keys())]
        {
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
