//! What a new version of an app takes over from the one before: whatever depends on nothing that has
//! changed goes on, with all that it knows.

use std::sync::Arc;

use crate::cdn::{Cdn, RequestSigner};
use crate::domain::{KeyPrefix, Rate};
use crate::identity::Identity;
use crate::limits::{ConcurrencyBounds, ConcurrencyLimit, DEFAULT_MAX_KEYS, KeyedLimiter, Quotas};
use crate::metrics::AppMetrics;
use crate::storage::{Means, ObjectStore};
use crate::upstream::Timeouts;

use super::app::{App, Workshop};
use super::config::{AppConfig, CdnConfig, ReadPolicy, StorageConfig};
use super::guarded_cdn::GuardedCdn;
use super::read_proof::ReadProof;

/// How often one upload may be asked about, finalized or renewed: a client that polls every second
/// for a minute is fine, a loop is not. And one that asks for the URLs of 10,000 parts at once, 100 a
/// call, is fine twice.
const PER_UPLOAD: Rate = Rate::per_minute(60, 200);

/// The version of an app that another one takes the place of, and its configuration.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// The app.
    pub app: &'a App,
    /// What it was made of.
    pub config: &'a AppConfig,
}

/// How many keys each limit of so many apps remembers. A flood of invented owners at every app at once
/// stays within the bound of one, for up to a thousand apps; beyond, each still has room for this
/// many real ones.
pub(super) fn max_keys(apps: usize) -> usize {
    (DEFAULT_MAX_KEYS / apps.max(1)).max(1_000)
}

/// An app's storage, and what is known of it.
pub(super) struct Storage {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) read_proof: Arc<ReadProof>,
    pub(super) limit: Arc<ConcurrencyLimit>,
}

impl Storage {
    pub(super) fn open(
        config: &AppConfig,
        workshop: &Workshop<'_>,
        before: Option<Before<'_>>,
    ) -> Result<Self, String> {
        let Workshop { client, process, google, embedded, .. } = *workshop;
        let StorageConfig { kind, bucket, .. } = &config.storage;
        let (mut known, mut limit) = (None, None);
        if let Some(Before { app, config: AppConfig { storage: was, .. } }) = before {
            // Other credentials make another store, which is as busy as it was.
            let same_place = was.kind.namespace() == kind.namespace() && was.bucket == *bucket;
            limit = same_place.then(|| Arc::clone(&app.storage_limit));
            let is_same = was.kind == *kind && was.bucket == *bucket;
            known = is_same.then(|| (Arc::clone(&app.store), Arc::clone(&app.read_proof)));
        }
        let limit =
            limit.unwrap_or_else(|| Arc::new(ConcurrencyLimit::new(ConcurrencyBounds::STORAGE)));
        let (store, read_proof) = match known {
            Some(known) => known,
            None => {
                let means = Means { client, process, google, embedded };
                (kind.open(bucket, &means)?, Arc::default())
            }
        };
        Ok(Self { store, read_proof, limit })
    }
}

/// An app's limits of rates.
pub(super) struct Limits {
    pub(super) quotas: Arc<Quotas>,
    pub(super) upload: Arc<KeyedLimiter>,
}

impl Limits {
    pub(super) fn new(config: &AppConfig, apps: usize, before: Option<Before<'_>>) -> Self {
        let (rates, max_keys) = (config.rate_limit, max_keys(apps));
        match before {
            Some(Before { app, .. }) => Self {
                quotas: app.quotas.continued(rates, max_keys),
                upload: Arc::clone(&app.upload_limit),
            },
            None => Self {
                quotas: Arc::new(Quotas::new(rates, max_keys)),
                upload: Arc::new(KeyedLimiter::new("upload", PER_UPLOAD, max_keys)),
            },
        }
    }
}

/// Who may act as whom: the same, with the issuer's keys that are known, if nothing about it has changed.
pub(super) fn open_identity(
    config: &AppConfig,
    workshop: &Workshop<'_>,
    before: Option<Before<'_>>,
) -> Result<Option<Arc<Identity>>, String> {
    let Some(wanted) = &config.identity else { return Ok(None) };
    let same = before.filter(|before| before.config.identity.as_ref() == Some(wanted));
    if let Some(known) = same.and_then(|before| before.app.identity.as_ref()) {
        return Ok(Some(Arc::clone(known)));
    }
    let identity = Identity::open(wanted.clone(), &config.name, workshop.client)?;
    Ok(Some(Arc::new(identity)))
}

/// The app's CDN: the same, with all that is known of it, if nothing about it has changed; another
/// one with the same breaker, if only the manner of asking has.
pub(super) fn guard_cdn(
    config: &AppConfig,
    cdn_prefix: &KeyPrefix,
    workshop: &Workshop<'_>,
    metrics: &AppMetrics,
    before: Option<Before<'_>>,
) -> Result<Option<Arc<GuardedCdn>>, String> {
    let Some(wanted) = &config.cdn else { return Ok(None) };
    let read = &config.read;
    let same = before.filter(|before| before.config.cdn.as_ref() == Some(wanted));
    let known = same.and_then(|before| before.app.cdn.as_ref().zip(Some(&before.config.read)));
    if let Some((cdn, was)) = known
        && asked_in_the_same_way(was, read)
    {
        return Ok(Some(Arc::clone(cdn)));
    }
    let CdnConfig { url, keys, .. } = wanted;
    let timeouts = Timeouts { connect: read.connect_timeout, first_byte: read.first_byte_timeout };
    let (client, token) = (workshop.client.clone(), workshop.loop_token.clone());
    let mut cdn = Cdn::new(client, url, timeouts, token)?;
    if let Some(keys) = keys {
        cdn = cdn.signed_by(RequestSigner::new(keys.clone(), url, cdn_prefix));
    }
    let guarded = GuardedCdn::new(cdn, read, metrics, known.map(|(cdn, _)| &**cdn))?;
    Ok(Some(Arc::new(guarded)))
}

/// Whether a CDN is asked as it was.
fn asked_in_the_same_way(one: &ReadPolicy, other: &ReadPolicy) -> bool {
    let manner = |read: &ReadPolicy| {
        let ReadPolicy { connect_timeout, first_byte_timeout, .. } = *read;
        (connect_timeout, first_byte_timeout, read.hedge_after, read.origin_share)
    };
    manner(one) == manner(other)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::apps::{LoadContext, read_app};
    use crate::domain::{AppName, Grants};
    use crate::metrics::Metrics;
    use crate::upstream::{AddressPolicy, Client};

    const FILE: &str = "CloudFrontURL = 'http://127.0.0.1:1'\n\
        [Storage]\nBucket = 'media'\nKeyPrefix = 'a/'\nEndpoint = 'http://127.0.0.1:2'\n\
        AccessKeyID = 'id'\nSecretAccessKey = 'secret'\n\
        [RateLimit]\nPerOwner = { Rate = '1/h', Burst = 1 }\nPerApp = { Rate = '2/h', Burst = 1 }\n\
        PerClientIP = { Rate = '4/h', Burst = 1 }\n\
        [Read]\nFirstByteTimeout = '1s'\nStallTimeout = '1s'\n";

    fn config(text: &str) -> AppConfig {
        let context = LoadContext {
            address_policy: &AddressPolicy { allow_loopback: true, ..AddressPolicy::default() },
            max_url_expiry: Duration::from_secs(900),
            secrets_dir: Path::new("/nowhere"),
            env: &|_| None,
            grants: &Grants::default(),
            trusted_proxies: None,
        };
        read_app(&AppName::parse("shop").unwrap(), "shop.toml", text, &[], &context).unwrap()
    }

    /// What of two versions of an app is one and the same.
    fn shared(one: &App, other: &App) -> String {
        let cdn = one.cdn.as_ref().zip(other.cdn.as_ref());
        let parts = [
            ("store", Arc::ptr_eq(&one.store, &other.store)),
            ("proof", Arc::ptr_eq(&one.read_proof, &other.read_proof)),
            ("load", Arc::ptr_eq(&one.storage_limit, &other.storage_limit)),
            ("cdn", cdn.is_some_and(|(one, other)| Arc::ptr_eq(one, other))),
            ("breaker", cdn.is_some_and(|(one, other)| Arc::ptr_eq(&one.breaker, &other.breaker))),
            ("hedges", cdn.is_some_and(|(one, other)| Arc::ptr_eq(&one.hedges, &other.hedges))),
            ("uploads", Arc::ptr_eq(&one.upload_limit, &other.upload_limit)),
        ];
        let shared = parts.into_iter().filter(|(_, same)| *same).map(|(part, _)| part);
        shared.chain(one.quotas.shared_with(&other.quotas)).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn what_depends_on_nothing_that_changed_goes_on() {
        let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
        let workshop = Workshop {
            client: &Client::new(policy).unwrap(),
            metrics: &Metrics::new(),
            public_base_url: &"https://media.test".parse().unwrap(),
            loop_token: &HeaderValue::from_static("test"),
            embedded: None,
            process: None,
            google: None,
            apps: 1,
        };
        let was = config(FILE);
        let app = App::build(was.clone(), &workshop).unwrap();
        let all = "store proof load cdn breaker hedges uploads clients app owners";
        for (from, to, expected) in [
            ("", "", all),
            ("StallTimeout = '1s'", "StallTimeout = '2s'", all),
            (
                "KeyPrefix = 'a/'\n",
                "KeyPrefix = 'b/'\n",
                "store proof load uploads clients app owners",
            ),
            ("'secret'", "'rotated'", "load cdn breaker hedges uploads clients app owners"),
            ("'media'", "'other'", "cdn breaker hedges uploads clients app owners"),
            ("127.0.0.1:2", "127.0.0.1:3", "cdn breaker hedges uploads clients app owners"),
            ("127.0.0.1:1", "127.0.0.1:3", "store proof load uploads clients app owners"),
            ("FirstByteTimeout = '1s'", "", all),
            (
                "FirstByteTimeout = '1s'",
                "FirstByteTimeout = '2s'",
                "store proof load breaker hedges uploads clients app owners",
            ),
            (
                "[Read]",
                "[Read]\nHedgeAfter = 'off'",
                "store proof load breaker hedges uploads clients app owners",
            ),
            ("'1/h'", "'3/h'", "store proof load cdn breaker hedges uploads clients app"),
            ("'2/h'", "'3/h'", "store proof load cdn breaker hedges uploads clients owners"),
            ("'4/h'", "'3/h'", "store proof load cdn breaker hedges uploads app owners"),
            (
                "CloudFrontURL = 'http://127.0.0.1:1'\n",
                "",
                "store proof load uploads clients app owners",
            ),
        ] {
            let before = Some(Before { app: &app, config: &was });
            let next = config(&FILE.replacen(from, to, 1));
            let next = App::build_after(next, &workshop, before).unwrap();
            assert_eq!(shared(&app, &next), expected, "{from} → {to}");
        }
    }
}
