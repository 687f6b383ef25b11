//! What an app's file says of an S3 store.

use url::Url;

use super::S3Store;
use super::config::{S3Config, S3Timeouts};
use super::credentials::{AccessKey, S3Credentials};
use super::provider::{Provider, Regions};
use crate::config::{Given, Key, Section, nearest};
use crate::domain::{Grant, Secret, Source};
use crate::storage::kind::{FileContext, Means};

/// How to get at an S3 store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Access {
    /// Who runs it: what it cannot do is refused.
    pub provider: Provider,
    /// The region that requests are signed for, and without an endpoint sent to.
    pub region: String,
    /// Scheme, host and port of a store other than Amazon's; no path.
    pub endpoint: Option<Url>,
    /// Whether the bucket stands in the path, and not in the host name.
    pub path_style: bool,
    /// The app's own key, of visible ASCII; without one, the process's credentials, which the
    /// operator has granted it for this bucket.
    pub key: Option<AccessKey>,
}

impl S3Access {
    /// Reads the keys of `Kind = "s3"`.
    pub(in crate::storage) fn read(
        section: &mut Section<'_>,
        bucket: Option<&str>,
        context: &FileContext<'_>,
    ) -> Option<Self> {
        let endpoint =
            section.key("Endpoint").non_empty().text(|text| context.policy.parse_url(text));
        let endpoint_place = endpoint.place().clone();
        let endpoint_is_wrong = endpoint.is_wrong();
        let endpoint = endpoint.optional();
        let host = endpoint.as_ref().and_then(Url::host_str);
        // Of a host that cannot be read, nothing is said.
        let told = match host {
            Some(host) => Provider::of_host(host),
            None => (!endpoint_is_wrong).then_some(Provider::Aws),
        };
        let provider = provider(section, host, told);
        let region = region(section, &provider.regions(host), provider);
        let path_style = section.key("PathStyle").boolean();
        let path_style_place = path_style.place().clone();
        let path_style = path_style.or(endpoint.is_some());
        if !path_style {
            let is_name = |url: &Url| url.domain().is_some();
            if endpoint.as_ref().is_some_and(|url| !is_name(url)) {
                let message = "Storage.PathStyle = false puts the bucket into the host name, and \
                               Storage.Endpoint has an IP address";
                section.error(&endpoint_place, message, Some("write PathStyle = true".to_owned()));
            }
            if endpoint.is_none() && bucket.is_some_and(|bucket| bucket.contains('.')) {
                let message = "Storage.Bucket has a '.', and Amazon's certificates do not cover such \
                               host names";
                section.error(
                    &path_style_place,
                    message,
                    Some("write PathStyle = true".to_owned()),
                );
            }
        }
        let wanted = bucket.map(|bucket| Grant {
            app: context.app.clone(),
            bucket: bucket.to_owned(),
            endpoint: endpoint.as_ref().map(|url| url.origin().ascii_serialization()),
        });
        let key = access_key(section, context, wanted)?;
        Some(Self { provider, region, endpoint, path_style, key })
    }

    /// Opens the bucket.
    pub(in crate::storage) fn open(
        &self,
        bucket: &str,
        source: Source,
        means: &Means<'_>,
    ) -> Result<S3Store, String> {
        let credentials = match (&self.key, means.process) {
            (Some(key), _) => S3Credentials::Key(key.clone()),
            (None, Some(process)) => S3Credentials::Process(process.clone()),
            (None, None) => return Err("the process has no credentials of its own".into()),
        };
        let config = S3Config {
            bucket: bucket.to_owned(),
            provider: self.provider,
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
            credentials,
            source,
            timeouts: S3Timeouts::default(),
        };
        S3Store::new(config, means.client.clone())
    }
}

/// Who runs the storage: what the host tells, or the file where it does not.
fn provider(section: &mut Section<'_>, host: Option<&str>, told: Option<Provider>) -> Provider {
    let given = section.key("Provider").non_empty().text(provider_named);
    let given = given.check(|given| match told {
        Some(told) if told != *given => Err(match host {
            Some(_) => format!(
                "Storage.Endpoint is a host of {}: leave Provider out, or write \"{}\"",
                told.title(),
                told.name()
            ),
            None => "without Storage.Endpoint the storage is Amazon's: write the Endpoint".into(),
        }),
        Some(_) | None => Ok(()),
    });
    given.optional().or(told).unwrap_or(Provider::Other)
}

/// The region, of those that the provider has.
fn region(section: &mut Section<'_>, regions: &Regions, provider: Provider) -> String {
    let given = section.key("Region").non_empty().text(region_named);
    match regions {
        Regions::Any(default) => given.or((*default).to_owned()),
        Regions::One { own, alias } => {
            let given = given.check(|given| {
                let title = provider.title();
                let reason = format!("{title} has one region: write \"{own}\"");
                if [own, alias].contains(&&given.as_str()) { Ok(()) } else { Err(reason) }
            });
            given.or((*own).to_owned())
        }
        Regions::OfHost(own) => {
            let given = given.check(|given| {
                let reason = format!("the host of Storage.Endpoint is of the region \"{own}\"");
                if given == own { Ok(()) } else { Err(reason) }
            });
            given.or(own.clone())
        }
        // After an error it does not matter which.
        Regions::Required => given.required("the region of the bucket").unwrap_or_default(),
    }
}

/// The app's own key. Without one, the process's credentials are used, if the operator allows it:
/// `Some(None)`.
fn access_key(
    section: &mut Section<'_>,
    context: &FileContext<'_>,
    wanted: Option<Grant>,
) -> Option<Option<AccessKey>> {
    let id = secret(section.key("AccessKeyID"), context);
    let secret_key = secret(section.key("SecretAccessKey"), context);
    let token = secret(section.key("SessionToken"), context);
    if id.is_present() || secret_key.is_present() || token.is_present() {
        let with = "AccessKeyID and SecretAccessKey go together";
        let (id, secret_key) = (id.required(with), secret_key.required(with));
        return Some(Some(AccessKey {
            access_key_id: id?.expose_str()?.to_owned(),
            secret_access_key: secret_key?,
            session_token: token.optional(),
        }));
    }
    if wanted.as_ref().is_some_and(|wanted| context.grants.allow(wanted)) {
        return Some(None);
    }
    let message = "Storage.AccessKeyID is missing: the app is not granted the process's own \
                   credentials";
    let mut hint = "write AccessKeyID and SecretAccessKey".to_owned();
    if let Some(wanted) = wanted {
        hint = format!("{hint}, or let the operator add to the settings: {wanted}");
    }
    section.error(id.place(), message, Some(hint));
    None
}

fn secret<'a>(key: Key<'a>, context: &FileContext<'_>) -> Given<'a, Secret> {
    key.non_empty().text(|text| (context.secret)(text))
}

fn provider_named(text: &str) -> Result<Provider, String> {
    let names = Provider::ALL.map(Provider::name);
    let known = Provider::ALL.into_iter().find(|provider| provider.name() == text);
    known.ok_or_else(|| match nearest(text, names) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}; write \"other\" for what is none of them", names.join(", ")),
    })
}

/// A region goes into Amazon's host names.
fn region_named(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.len() <= 40 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a region is letters, digits and '-', such as \"eu-central-1\"")
    }
}
