//! Where a bucket is, who we are there, and how long we wait.

use std::time::Duration;

use aws_sdk_s3::Client as SdkClient;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use url::{Host, Url};

use super::credentials::S3Credentials;
use super::provider::Provider;
use super::transport::Transport;
use crate::domain::{Source, StoragePath};
use crate::upstream::{Client, Origin, Timeouts};

/// The first try and two more: the SDK's own default.
const MAX_ATTEMPTS: u32 = 3;

/// The mean wait before the second attempt is half of this. The SDK's own default of a second is
/// longer than a reader waits.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);

/// The longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A bucket of Amazon S3, or of a server that speaks its protocol.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The name of the bucket.
    pub bucket: String,
    /// Who runs the server, and so what it can be relied on for.
    pub provider: Provider,
    /// The region that requests are signed for, for example `us-east-1`.
    pub region: String,
    /// Scheme, host and port of the server; `https://s3.{region}.amazonaws.com` without one.
    pub endpoint: Option<Url>,
    /// Whether the bucket stands in the path of a URL rather than in its host name. It always does
    /// where the name of the bucket cannot be part of a host name, or the host is an IP address.
    pub path_style: bool,
    /// Who we are there.
    pub credentials: S3Credentials,
    /// What the store calls itself in metrics: [`Source::S3`] or [`Source::Embedded`].
    pub source: Source,
    /// The time limits of the calls.
    pub timeouts: S3Timeouts,
}

/// The time limits of S3 calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Timeouts {
    /// For one connection to be there, and once more for its TLS handshake.
    pub connect: Duration,
    /// From the connection to the head of the response, for one attempt.
    pub first_byte: Duration,
    /// For one call with all its attempts; for an object that is read, until its head is there.
    pub call: Duration,
    /// For the completion of a multipart upload, which copies the parts on some servers and takes
    /// "several minutes" on Amazon's at worst (API reference, `CompleteMultipartUpload`).
    pub complete: Duration,
}

impl Default for S3Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            first_byte: Duration::from_secs(5),
            call: Duration::from_secs(10),
            complete: Duration::from_secs(120),
        }
    }
}

impl S3Timeouts {
    /// Those of one attempt.
    pub(super) const fn of_attempt(self) -> Timeouts {
        Timeouts { connect: self.connect, first_byte: self.first_byte }
    }
}

impl S3Config {
    /// The SDK's client for the bucket. It waits, retries and checks as the gateway wants it to,
    /// not as the SDK's defaults of the day do.
    pub(super) fn sdk_client(
        &self,
        address: &Address,
        client: Client,
    ) -> Result<SdkClient, String> {
        let credentials = self.credentials.for_sdk()?;
        let origin = address.origin.clone();
        let transport =
            Transport::new(client, origin, address.host().to_owned(), self.timeouts.of_attempt());
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF)
            .with_max_backoff(MAX_BACKOFF);
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .endpoint_url(address.sdk_endpoint.as_str())
            .force_path_style(address.path_style)
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            // Many servers of the protocol reject the checksum trailers that are the default.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // The reader of a body decides when it is too slow.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries)
            // One's own budget of retries: else all stores of a region would share one.
            .retry_partition(RetryPartition::custom("safelight").build())
            // Time limits are set per attempt by the transport, and per call by the store.
            .timeout_config(TimeoutConfig::disabled())
            .http_client(transport)
            .build();
        Ok(SdkClient::from_conf(config))
    }
}

/// Where the objects of a bucket are.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) scheme: &'static str,
    pub(super) path_style: bool,
    pub(super) origin: Origin,
    /// The host and the root, which are read together: one after the other.
    host_and_root: String,
    host_length: usize,
    /// The endpoint without the bucket.
    sdk_endpoint: String,
}

impl Address {
    /// Works out where the bucket is.
    pub(super) fn of(config: &S3Config) -> Result<Self, String> {
        check_names(config)?;
        let endpoint = match &config.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => amazon_endpoint(&config.region)?,
        };
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err("the storage endpoint must not hold a user name or password".into());
        }
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err("the storage endpoint must not have a query or a fragment".into());
        }
        let named = matches!(endpoint.host(), Some(Host::Domain(_)));
        let path_style = config.path_style || !named || !fits_host_name(&config.bucket);
        let mut base = endpoint.clone();
        if !path_style {
            let host = format!("{}.{}", config.bucket, endpoint.host_str().unwrap_or_default());
            base.set_host(Some(&host)).map_err(|_| format!("{host} is not a host name"))?;
        }
        let directory = endpoint.path().trim_end_matches('/');
        let root = if path_style {
            format!("{directory}/{}/", config.bucket)
        } else {
            format!("{directory}/")
        };
        let origin = Origin::from_url(&base)?;
        let host = authority(&base);
        let sdk_endpoint = format!("{}://{}{directory}", endpoint.scheme(), authority(&endpoint));
        let scheme = if base.scheme() == "https" { "https" } else { "http" };
        let (host_and_root, host_length) = (host.clone() + &root, host.len());
        Ok(Self { scheme, path_style, origin, host_and_root, host_length, sdk_endpoint })
    }

    /// The `Host` header: with the bucket in virtual-host style, with the port if it is not the
    /// scheme's own.
    pub(super) fn host(&self) -> &str {
        &self.host_and_root[..self.host_length]
    }

    /// What every path begins with, ending in `/`.
    fn root(&self) -> &str {
        &self.host_and_root[self.host_length..]
    }

    /// The path of an object's URL, encoded.
    pub(super) fn path_of(&self, path: &StoragePath) -> String {
        format!("{}{}", self.root(), path.to_url_path())
    }
}

fn check_names(config: &S3Config) -> Result<(), String> {
    let bucket = config.bucket.as_str();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_name = (3..=255).contains(&bucket.len())
        && bucket.bytes().all(plain)
        && bucket.bytes().any(|b| b.is_ascii_alphanumeric());
    if !is_name {
        return Err(format!("{bucket:?} is not the name of a bucket"));
    }
    // The SDK talks to these in another protocol, with sessions.
    if ["--x-s3", "--xa-s3", "--op-s3", "--table-s3"].iter().any(|s| bucket.ends_with(s)) {
        return Err(format!(
            "{bucket} is a kind of bucket that is not supported: use a general purpose bucket"
        ));
    }
    let region = config.region.as_str();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.is_empty() || region.len() > 63 || !region.bytes().all(plain) {
        return Err(format!("{region:?} is not the name of a region"));
    }
    match &config.credentials {
        S3Credentials::Key(key) if key.is_empty() => Err("the storage access key is empty".into()),
        S3Credentials::Key(_) | S3Credentials::Process(_) => Ok(()),
    }
}

fn amazon_endpoint(region: &str) -> Result<Url, String> {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Url::parse(&format!("https://s3.{region}.{domain}")).map_err(|error| error.to_string())
}

/// Whether a wildcard certificate covers the bucket as one label of a host name.
fn fits_host_name(bucket: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(plain)
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;
    use crate::storage::AccessKey;

    fn key(secret: &str, token: Option<&str>) -> S3Credentials {
        S3Credentials::Key(AccessKey {
            access_key_id: "id".into(),
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
        })
    }

    fn config(bucket: &str, endpoint: Option<&str>, path_style: bool) -> S3Config {
        S3Config {
            bucket: bucket.into(),
            provider: Provider::Other,
            region: "eu-central-1".into(),
            endpoint: endpoint.map(|url| Url::parse(url).unwrap()),
            path_style,
            credentials: key("secret", None),
            source: Source::S3,
            timeouts: S3Timeouts::default(),
        }
    }

    #[test]
    fn addresses() {
        let cases = [
            ("media", None, false, "https://media.s3.eu-central-1.amazonaws.com/a%20b"),
            ("media", None, true, "https://s3.eu-central-1.amazonaws.com/media/a%20b"),
            // A wildcard certificate covers one label only.
            ("my.media", None, false, "https://s3.eu-central-1.amazonaws.com/my.media/a%20b"),
            ("media", Some("http://127.0.0.1:8333"), false, "http://127.0.0.1:8333/media/a%20b"),
            ("media", Some("http://[::1]:8333/"), true, "http://[::1]:8333/media/a%20b"),
            (
                "media",
                Some("https://r2.example.com:443"),
                false,
                "https://media.r2.example.com/a%20b",
            ),
            (
                "media",
                Some("https://x.example.com/s3/v1/"),
                true,
                "https://x.example.com/s3/v1/media/a%20b",
            ),
        ];
        for (bucket, endpoint, path_style, expected) in cases {
            let address = Address::of(&config(bucket, endpoint, path_style)).unwrap();
            let path = address.path_of(&StoragePath::from_listing("a b"));
            assert_eq!(format!("{}://{}{path}", address.scheme, address.host()), expected);
        }
        let mut china = config("media", None, false);
        china.region = "cn-north-1".into();
        let address = Address::of(&china).unwrap();
        assert_eq!(address.host(), "media.s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        let bad_endpoints = [
            "https://user:pass@s3.example.com",
            "https://s3.example.com/?x=1",
            "ftp://s3.example.com",
            "https://s3.example.com/#x",
        ];
        for endpoint in bad_endpoints {
            assert!(Address::of(&config("media", Some(endpoint), true)).is_err(), "{endpoint}");
        }
        for bucket in ["", "ab", "a/b", "a b c", "...", "media--use1-az4--x-s3"] {
            assert!(Address::of(&config(bucket, None, true)).is_err(), "{bucket}");
        }
        let mut no_key = config("media", None, true);
        no_key.credentials = key("", None);
        assert!(Address::of(&no_key).is_err());
        let mut region = config("media", None, true);
        region.region = "evil.example/".into();
        assert!(Address::of(&region).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut config = config("media", None, false);
        config.credentials = key("secret", Some("token-value"));
        let text = format!("{config:?}");
        assert!(!text.contains("token-value") && !text.contains("\"secret\""), "{text}");
    }
}
