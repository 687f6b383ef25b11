//! What an app's file says, checked.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::cdn::KeyPair;
use crate::domain::{AppName, HedgeAfter, KeyPrefix, MediaType};
use crate::identity::IdentityConfig;
use crate::limits::UploadRates;
use crate::storage::StorageKind;

/// A tenant's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct AppConfig {
    /// The app.
    pub name: AppName,
    /// Whether whoever names an owner may upload. Without it, and without identities, an app is
    /// read-only.
    pub allow_public_upload: bool,
    /// The CDN, if there is one.
    pub cdn: Option<CdnConfig>,
    /// Where the world finds this app's images, if not where it finds the gateway; no path.
    pub public_base_url: Option<Url>,
    /// Whether keys that other systems made are served.
    pub accept_foreign_keys: bool,
    /// Whether a key keeps the name of the uploaded file.
    pub keep_names: bool,
    /// Who may read its images.
    pub visibility: Visibility,
    /// `[Storage]`.
    pub storage: StorageConfig,
    /// `[Upload]`.
    pub upload: UploadPolicy,
    /// `[RateLimit]`.
    pub rate_limit: UploadRates,
    /// `[Read]`.
    pub read: ReadPolicy,
    /// `[CORS]`.
    pub cors: Cors,
    /// `[Identity]`: how callers prove who they are, if they can.
    pub identity: Option<IdentityConfig>,
}

impl AppConfig {
    /// Whether the app's storage is S3, reached with the process's own credentials.
    #[must_use]
    pub fn uses_aws_process_credentials(&self) -> bool {
        self.storage.kind.uses_aws_process_credentials()
    }

    /// Whether the app's storage is Google's, reached with the process's own credentials.
    #[must_use]
    pub fn uses_google_process_credentials(&self) -> bool {
        self.storage.kind.uses_google_process_credentials()
    }
}

/// Who may read an app's images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody who knows the URL.
    Public,
    /// Whoever has a signed URL, or proves to own the image. Then nobody is sent elsewhere, a CDN
    /// answers signed requests only, and no foreign keys are accepted: they have no owner.
    Private,
}

/// A CDN in front of the app's storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdnConfig {
    /// Scheme, host and port; no path.
    pub url: Url,
    /// What stands between the host and a key; as a [`KeyPrefix`] is, without a leading `/`.
    pub path_prefix: String,
    /// What requests to it are signed with, where it answers no others.
    pub keys: Option<KeyPair>,
}

/// Where the objects of an app are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// The provider, and how to get at it.
    pub kind: StorageKind,
    /// The bucket.
    pub bucket: String,
    /// The part of the bucket that is the app's: no other app has one that overlaps.
    pub key_prefix: KeyPrefix,
}

/// What may be uploaded, and how long an upload may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPolicy {
    /// At least one, none twice. The default is one and the same for all apps.
    pub allowed_types: Cow<'static, [MediaType]>,
    /// The largest file, in bytes. Not 0.
    pub max_bytes: u64,
    /// The largest image, in pixels (width times height). Not 0.
    pub max_pixels: u64,
    /// The life of an upload URL: whole seconds, at least 1, at most the process's `MaxURLExpiry`.
    pub url_expiry: Duration,
    /// How long a pending upload may be renewed or resumed. Not shorter than `url_expiry`.
    pub session_expiry: Duration,
    /// Whether a client must declare the size.
    pub require_size: bool,
    /// Whether an object that exists is never written again.
    pub prevent_overwrite: bool,
    /// Whether only verified objects are served. Then `prevent_overwrite` holds as well, and no
    /// foreign keys are accepted.
    pub serve_only_ready: bool,
}

/// Who carries the bytes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// The gateway, from the CDN or storage.
    Proxy,
    /// Nobody: the client is sent to the CDN or to storage.
    Redirect,
}

/// How images are read. No time is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPolicy {
    /// Who carries the bytes.
    pub mode: ReadMode,
    /// The `Cache-Control` of an image whose upload URL has run out.
    pub cache_control: HeaderValue,
    /// For resolving and connecting to the CDN, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// From the connection to the CDN's response head.
    pub first_byte_timeout: Duration,
    /// How long a body may pause before it is continued from elsewhere.
    pub stall_timeout: Duration,
    /// The largest object that is kept in memory, in bytes. 0: none is.
    pub memory_cache_max_object: u64,
    /// When storage is asked beside a CDN that keeps a read waiting.
    pub hedge_after: HedgeAfter,
    /// The share of reads that go to storage in any case, from 0 to 1.
    pub origin_share: f64,
}

/// Which pages may call the upload endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Each `*`, or an origin as browsers send it: `scheme://host[:port]`, lower case.
    pub allowed_origins: Vec<String>,
    /// What their requests may carry besides the headers that the gateway itself reads.
    pub allowed_headers: Vec<HeaderName>,
    /// Whether they may be sent with cookies and the like. Never with `*` among the origins.
    pub allow_credentials: bool,
    /// How long a browser may keep the answer to a preflight. Whole seconds.
    pub max_age: Duration,
}
