//! Where a bucket is, who we are there, and how long we wait.

use std::time::Duration;

use url::{Host, Url};

use super::identity::GcsCredentials;
use crate::domain::StoragePath;
use crate::upstream::{Origin, Timeouts};

/// Where Google's buckets are.
pub const GOOGLE_STORAGE: &str = "https://storage.googleapis.com";

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone)]
pub struct GcsConfig {
    /// The name of the bucket.
    pub bucket: String,
    /// Scheme, host and port of the server; Google's own without one.
    pub endpoint: Option<Url>,
    /// Who we are. Only an emulator does without credentials.
    pub credentials: GcsCredentials,
    /// The time limits of the calls.
    pub timeouts: GcsTimeouts,
}

/// The time limits of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcsTimeouts {
    /// For one connection to be there, and once more for its TLS handshake.
    pub connect: Duration,
    /// From the connection to the head of the response, for one attempt.
    pub first_byte: Duration,
    /// For one call with all its attempts; for an object that is read, until its head is there.
    pub call: Duration,
}

impl Default for GcsTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(5),
            call: Duration::from_secs(10),
        }
    }
}

impl GcsTimeouts {
    /// Those of one attempt.
    pub(super) const fn of_attempt(self) -> Timeouts {
        Timeouts { connect: self.connect, first_byte: self.first_byte }
    }
}

impl GcsConfig {
    /// Whether a server is an emulator on this machine, which needs no credentials, and to which
    /// they may travel without TLS.
    #[must_use]
    pub fn is_emulator(endpoint: Option<&Url>) -> bool {
        match endpoint.and_then(Url::host) {
            None => false,
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
        }
    }
}

/// Where the objects of a bucket are.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) origin: Origin,
    /// Scheme, host and port, without a `/` at the end.
    pub(super) endpoint: String,
    /// `/{bucket}`
    pub(super) bucket_path: String,
}

impl Address {
    /// Works out where the bucket is.
    pub(super) fn of(config: &GcsConfig) -> Result<Self, String> {
        let bucket = config.bucket.as_str();
        // Bucket naming guidelines: names with dots may have 222 characters.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let is_name = (3..=222).contains(&bucket.len())
            && bucket.bytes().all(plain)
            && bucket.bytes().any(|b| b.is_ascii_alphanumeric());
        if !is_name {
            return Err(format!("{bucket:?} is not the name of a bucket"));
        }
        let emulator = GcsConfig::is_emulator(config.endpoint.as_ref());
        if matches!(config.credentials, GcsCredentials::Anonymous) && !emulator {
            return Err(
                "only an emulator on this machine can do without credentials: name the key \
                        file of a service account in Storage.CredentialsFile"
                    .into(),
            );
        }
        let endpoint = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Url::parse(GOOGLE_STORAGE).expect("the constant is a URL"),
        };
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err("the storage endpoint must not hold a user name or password".into());
        }
        if endpoint.query().is_some() || endpoint.fragment().is_some() || endpoint.path() != "/" {
            return Err("the storage endpoint must not have a path, a query or a fragment".into());
        }
        if endpoint.scheme() != "https" && !emulator {
            return Err("the storage endpoint must begin with https://: requests carry a token \
                        that whoever sees it can use"
                .into());
        }
        let origin = Origin::from_url(&endpoint)?;
        let endpoint = endpoint.as_str().trim_end_matches('/').to_owned();
        Ok(Self { origin, endpoint, bucket_path: format!("/{bucket}") })
    }

    /// The path of an object's URL, encoded.
    pub(super) fn path_of(&self, path: &StoragePath) -> String {
        format!("{}/{}", self.bucket_path, path.to_url_path())
    }
}
