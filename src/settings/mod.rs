//! The settings of the process: `safelight.toml`, with what the environment overrides in it.
//!
//! Paths in the file are relative to the working directory of the process, as those on its command
//! line are.

mod collector;
mod differences;
mod environment;
mod events;
mod grants;
mod keys;
mod not_built;
mod sweeper;
mod tls;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::config::{
    Asked, ConfigError, Given, Section, Source, asked, public_base_url, read, read_text,
};
use crate::domain::{Grants, TrustedProxies};
use crate::traces::Collector;
use crate::upstream::guard::AddressPolicy;

pub use events::{EventsSettings, PubSubSettings, SqsSettings, WebhookSettings};
pub use keys::KeySettings;
pub use sweeper::{Reconcile, SweeperSettings};
pub use tls::TlsSettings;

/// The longest life of a signed URL: what AWS Signature Version 4 allows.
const LONGEST_URL_EXPIRY: Duration = Duration::from_secs(7 * 86_400);

/// The smallest and the largest cache in memory, in bytes: others are slips.
const SMALLEST_CACHE: u64 = 1 << 20;
const LARGEST_CACHE: u64 = 1 << 40;

/// A minute: as long as a deployment takes that deletes files before it writes them anew.
const REMOVAL_GRACE: Duration = Duration::from_secs(60);

/// What stands for the file's name in messages where there is no file.
const NO_FILE: &str = "settings";

/// The settings of the process, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[Server]`.
    pub server: ServerSettings,
    /// `[Records]`.
    pub records: RecordsUrl,
    /// `[Keys]`.
    pub keys: KeySettings,
    /// `[Limits]`.
    pub limits: LimitsSettings,
    /// `[TLS]`; `None`: the public listener speaks without.
    pub tls: Option<TlsSettings>,
    /// `[Cache] Size`: how much memory objects may take that are kept there, in bytes. 0: none is.
    pub cache_size: u64,
    /// `[Sweeper]`.
    pub sweeper: SweeperSettings,
    /// `[[Grants]]`.
    pub grants: Grants,
    /// `[Events]`.
    pub events: EventsSettings,
    /// `[Tracing]`: who collects spans; `None`: nobody does.
    pub tracing: Option<Collector>,
}

/// `[Server]`: where the gateway listens, and what it may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// For the world.
    pub listen: SocketAddr,
    /// Whether a client that knows of it may speak HTTP/2 there without TLS.
    pub h2c: bool,
    /// For the operator: metrics and health.
    pub admin_listen: SocketAddr,
    /// Where the world finds the gateway; no path.
    pub public_base_url: Url,
    /// The directory of the apps' files.
    pub apps_dir: PathBuf,
    /// The directory that has a directory of secrets for each app.
    pub secrets_dir: PathBuf,
    /// What tenants' URLs may lead to.
    pub address_policy: AddressPolicy,
    /// The proxies in front of the gateway; `None` where nobody has said whether there are any.
    pub trusted_proxies: Option<TrustedProxies>,
    /// The longest life that an app may give its upload URLs. Whole seconds.
    pub max_url_expiry: Duration,
    /// For how long an app goes on whose file is gone.
    pub removal_grace: Duration,
    /// How long a client's connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// How long load balancers have to see that the gateway is no longer ready.
    pub drain_notice: Duration,
    /// How long requests have to finish once no more are accepted.
    pub drain_timeout: Duration,
}

/// `[Records] URL`: where the records of uploads are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordsUrl {
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
}

/// `[Limits]`: how much is accepted at once. Rate limits are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsSettings {
    /// Connections of clients.
    pub max_connections: NonZeroUsize,
    /// Connections of one client, where it is known who is one.
    pub max_connections_per_ip: NonZeroUsize,
    /// Requests that are being answered.
    pub max_concurrent_requests: NonZeroUsize,
}

impl Settings {
    /// Reads the settings: from the file, if there is one, and from the variables
    /// `SAFELIGHT__SECTION__KEY` among `env`, which win.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let (name, text) = match path {
            Some(path) => (path.display().to_string(), read_text(path).map_err(|e| vec![e])?),
            None => (NO_FILE.to_owned(), String::new()),
        };
        let source = Source::new(&name, &text)
            .with_overrides(environment::overrides(env))
            .with_not_built(&not_built::NOT_BUILT);
        read(&source, Self::from_file)
    }

    /// What the file is asked for: its keys, and what each takes.
    #[must_use]
    pub fn asked() -> Vec<Asked> {
        asked(&Source::new("", "").with_not_built(&not_built::NOT_BUILT), Self::from_file)
    }

    fn from_file(file: &mut Section<'_>) -> Option<Self> {
        let server = file.section("Server", ServerSettings::from_section);
        let records = file.section("Records", |section| {
            let default = RecordsUrl::Sqlite(PathBuf::from("./data/safelight.db"));
            section.key("URL").text(RecordsUrl::parse).or(default)
        });
        let keys = file.section("Keys", KeySettings::from_section);
        let limits = file.section("Limits", LimitsSettings::from_section);
        let h2c = server.as_ref().is_some_and(|server| server.h2c);
        let tls = file.section("TLS", |section| TlsSettings::from_section(section, h2c));
        let cache_size = file.section("Cache", cache_size);
        let sweeper = file.section("Sweeper", SweeperSettings::from_section);
        let policy = server.as_ref().map(|server| &server.address_policy);
        let grants = grants::grants(file, policy);
        let events =
            file.section("Events", |section| EventsSettings::from_section(section, policy));
        let tracing = file.section("Tracing", collector::collector);
        Some(Self {
            server: server?,
            records,
            keys: keys?,
            limits,
            tls,
            cache_size,
            sweeper,
            grants,
            events,
            tracing,
        })
    }
}

impl ServerSettings {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.key("Listen").text(address).or(([0, 0, 0, 0], 8080).into());
        let h2c = section.key("H2C").boolean().or(false);
        let admin_listen =
            section.key("AdminListen").text(address).or(([127, 0, 0, 1], 9090).into());
        let address_policy = AddressPolicy {
            allow_loopback: section.key("AllowLoopbackUpstreams").boolean().or(false),
            allowed_networks: section.key("AllowedUpstreamNetworks").texts(network).or(Vec::new()),
        };
        let public_base_url = section
            .key("PublicBaseURL")
            .text(|text| public_base_url(text, address_policy.allow_loopback))
            .required("where the world finds this gateway, such as \"https://media.example.com\"");
        let apps_dir = section.key("AppsDir").text(path).or("apps.d".into());
        let secrets_dir = section.key("SecretsDir").text(path).or("/run/secrets/safelight".into());
        let trusted_proxies = section.key("TrustedProxies").texts(proxy_network).optional();
        let max_url_expiry = section.key("MaxURLExpiry").duration().check(url_expiry);
        let removal_grace = section.key("RemovalGrace").duration().check(removal_grace);
        let idle_timeout = section.key("IdleTimeout").duration().check(idle);
        let drain_notice = section.key("DrainNotice").duration().check(drain);
        let drain_timeout = section.key("DrainTimeout").duration().check(drain);
        Some(Self {
            listen,
            h2c,
            admin_listen,
            public_base_url: public_base_url?,
            apps_dir,
            secrets_dir,
            address_policy,
            trusted_proxies: trusted_proxies.map(TrustedProxies::new),
            max_url_expiry: max_url_expiry.or(Duration::from_secs(15 * 60)),
            removal_grace: removal_grace.or(REMOVAL_GRACE),
            idle_timeout: idle_timeout.or(Duration::from_secs(75)),
            drain_notice: drain_notice.or(Duration::from_secs(2)),
            drain_timeout: drain_timeout.or(Duration::from_secs(25)),
        })
    }
}

impl RecordsUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("sqlite:") {
            // A URL form with slashes would be taken for a path that it does not mean.
            Some(path) if path.starts_with("//") => {
                Err("write the path after \"sqlite:\" without slashes in between, such as \
                     \"sqlite:./data/safelight.db\" or \"sqlite:/var/lib/safelight/safelight.db\"")
            }
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("write \"sqlite:\" and the path of the database file, such as \
                      \"sqlite:./data/safelight.db\""),
        }
    }
}

impl LimitsSettings {
    fn from_section(section: &mut Section<'_>) -> Self {
        let memory = |text: &str| match text {
            "memory:" => Ok(()),
            _ => Err("write \"memory:\""),
        };
        // There is one store so far: the value decides nothing yet.
        let () = section.key("URL").text(memory).or(());
        let count = |given: Given<'_, u64>, default: usize| {
            let given = given.check(|count| match count {
                // More than a machine has file descriptors is a slip.
                1..=10_000_000 => Ok(()),
                _ => Err("write a number from 1 to 10000000"),
            });
            let count = given.optional().and_then(|count| usize::try_from(count).ok());
            NonZeroUsize::new(count.unwrap_or(default)).unwrap_or(NonZeroUsize::MIN)
        };
        Self {
            max_connections: count(section.key("MaxConnections").integer(), 10_000),
            max_connections_per_ip: count(section.key("MaxConnectionsPerIP").integer(), 256),
            max_concurrent_requests: count(section.key("MaxConcurrentRequests").integer(), 4096),
        }
    }
}

fn cache_size(section: &mut Section<'_>) -> u64 {
    let given = section.key("Size").byte_size();
    let given = given.check(|bytes| match *bytes {
        0 | SMALLEST_CACHE..=LARGEST_CACHE => Ok(()),
        _ => Err("write \"0B\" for none, or a size from \"1MiB\" to \"1TiB\""),
    });
    given.or(256 << 20)
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as \"0.0.0.0:8080\"")
}

fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("the path is empty") } else { Ok(text.into()) }
}

/// Signed URLs live whole seconds, and no longer than the providers allow.
fn url_expiry(expiry: &Duration) -> Result<(), &'static str> {
    let allowed = expiry.subsec_nanos() == 0
        && (Duration::from_secs(1)..=LONGEST_URL_EXPIRY).contains(expiry);
    if allowed { Ok(()) } else { Err("write whole seconds, from \"1s\" to \"7d\"") }
}

fn removal_grace(grace: &Duration) -> Result<(), &'static str> {
    if *grace <= Duration::from_secs(86_400) {
        Ok(())
    } else {
        Err("write a time of at most \"1d\"")
    }
}

/// Less than a client needs to ask again is a slip, and more than a day is no limit.
fn idle(time: &Duration) -> Result<(), &'static str> {
    let allowed = (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(time);
    if allowed { Ok(()) } else { Err("write a time from \"1s\" to \"1d\"") }
}

/// Whoever ends a process waits for minutes at most.
fn drain(time: &Duration) -> Result<(), &'static str> {
    let allowed = *time <= Duration::from_secs(3600);
    if allowed { Ok(()) } else { Err("write a time up to \"1h\"") }
}

fn proxy_network(text: &str) -> Result<IpNet, String> {
    let network: IpNet =
        text.parse().map_err(|_| "write a network such as \"10.0.0.0/8\"".to_owned())?;
    if network.trunc() != network {
        return Err(format!(
            "this is an address in a network; did you mean \"{}\"?",
            network.trunc()
        ));
    }
    Ok(network)
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = proxy_network(text)?;
    if network.network().is_loopback() {
        return Err("loopback is allowed with AllowLoopbackUpstreams = true, not here".to_owned());
    }
    Ok(network)
}

#[cfg(test)]
mod tests;
