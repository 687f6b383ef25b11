//! The `[Storage]` of an app's file.

use url::Url;

use super::config::{GcsAccess, S3Access, StorageConfig, StorageKind};
use super::secrets::SecretScope;
use crate::config::{Given, Key, Section, nearest};
use crate::domain::{Grant, KeyPrefix, Secret};
use crate::storage::{AccessKey, GcsConfig, Provider, Regions, ServiceAccount};
use crate::upstream::guard::AddressPolicy;

/// The kinds of storage that there are.
const KINDS: [&str; 3] = ["s3", "gcs", "embedded"];

/// What is said where the process's own credentials would have to be used.
const OWN_CREDENTIALS: &str = "the process's own credentials are not available in this version";

#[derive(Clone, Copy)]
enum Kind {
    S3,
    Gcs,
    Embedded,
}

/// Reads `[Storage]`.
pub(super) fn storage(
    section: &mut Section<'_>,
    policy: &AddressPolicy,
    secrets: &SecretScope<'_>,
) -> Option<StorageConfig> {
    let kind = section.key("Kind").text(kind);
    if kind.is_wrong() {
        // What the other keys mean hangs on it.
        section.ignore_rest();
        return None;
    }
    let bucket = section.key("Bucket").non_empty().text(bucket).required("the bucket's name");
    let key_prefix = section.key("KeyPrefix").text(KeyPrefix::parse);
    let key_prefix = key_prefix.or(KeyPrefix::parse("").expect("the empty prefix is valid"));
    let kind = match kind.or(Kind::S3) {
        Kind::S3 => StorageKind::S3(s3(section, bucket.as_deref(), policy, secrets)?),
        Kind::Gcs => StorageKind::Gcs(gcs(section, policy, secrets)?),
        Kind::Embedded => StorageKind::Embedded,
    };
    Some(StorageConfig { kind, bucket: bucket?, key_prefix })
}

fn s3(
    section: &mut Section<'_>,
    bucket: Option<&str>,
    policy: &AddressPolicy,
    secrets: &SecretScope<'_>,
) -> Option<S3Access> {
    let endpoint = section.key("Endpoint").non_empty().text(|text| upstream_url(text, policy));
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
            section.error(&path_style_place, message, Some("write PathStyle = true".to_owned()));
        }
    }
    let wanted = bucket.map(|bucket| Grant {
        app: secrets.app.clone(),
        bucket: bucket.to_owned(),
        endpoint: endpoint.as_ref().map(|url| url.origin().ascii_serialization()),
    });
    let key = access_key(section, secrets, wanted)?;
    Some(S3Access { provider, region, endpoint, path_style, key })
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
        Regions::One(names) => {
            let own = names[0];
            let given = given.check(|given| {
                let title = provider.title();
                let reason = format!("{title} has one region: write \"{own}\"");
                if names.contains(&given.as_str()) { Ok(()) } else { Err(reason) }
            });
            given.or(own.to_owned())
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
    secrets: &SecretScope<'_>,
    wanted: Option<Grant>,
) -> Option<Option<AccessKey>> {
    let id = secret(section.key("AccessKeyID"), secrets);
    let secret_key = secret(section.key("SecretAccessKey"), secrets);
    let token = secret(section.key("SessionToken"), secrets);
    if id.is_present() || secret_key.is_present() || token.is_present() {
        let with = "AccessKeyID and SecretAccessKey go together";
        let (id, secret_key) = (id.required(with), secret_key.required(with));
        return Some(Some(AccessKey {
            access_key_id: id?.expose_str()?.to_owned(),
            secret_access_key: secret_key?,
            session_token: token.optional(),
        }));
    }
    if wanted.as_ref().is_some_and(|wanted| secrets.grants.allow(wanted)) {
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

fn gcs(
    section: &mut Section<'_>,
    policy: &AddressPolicy,
    secrets: &SecretScope<'_>,
) -> Option<GcsAccess> {
    let endpoint = section.key("Endpoint").non_empty().text(|text| {
        let url = upstream_url(text, policy)?;
        // A signature is of no use to who sees it; a token is.
        if url.scheme() == "https" || GcsConfig::is_emulator(Some(&url)) {
            Ok(url)
        } else {
            Err("the URL must begin with https://: requests carry a token".to_owned())
        }
    });
    let endpoint_is_wrong = endpoint.is_wrong();
    let endpoint = endpoint.optional();
    let service_account = section
        .key("CredentialsFile")
        .non_empty()
        .text(|name| ServiceAccount::parse(secrets.document(name)?));
    let needed = !endpoint_is_wrong && !GcsConfig::is_emulator(endpoint.as_ref());
    let service_account = if needed {
        Some(service_account.required(OWN_CREDENTIALS)?)
    } else {
        service_account.optional()
    };
    Some(GcsAccess { endpoint, service_account })
}

fn secret<'a>(key: Key<'a>, secrets: &SecretScope<'_>) -> Given<'a, Secret> {
    key.non_empty().text(|text| secrets.resolve(text))
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "s3" => Ok(Kind::S3),
        "gcs" => Ok(Kind::Gcs),
        "embedded" => Ok(Kind::Embedded),
        _ => Err(match nearest(text, KINDS) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write \"s3\", \"gcs\" or \"embedded\"".to_owned(),
        }),
    }
}

/// A bucket's name goes into host names and paths. Amazon's rules, and the upper case and `_` that
/// older buckets and other stores have.
fn bucket(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let valid = (3..=63).contains(&text.len())
        && text.bytes().all(plain)
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.as_bytes()[text.len() - 1].is_ascii_alphanumeric()
        && !text.contains("..");
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a bucket's name is 3 to 63 letters, digits, '-', '_' and '.', with a letter or a \
             digit at both ends")
    }
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

/// A host that the gateway talks to for an app.
pub(super) fn upstream_url(text: &str, policy: &AddressPolicy) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}); write it like \"https://host.example\"")
    })?;
    policy.check_url(&url)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL must not have a query or a fragment".to_owned());
    }
    if url.path() != "/" {
        return Err("the URL must not have a path: prefixes have keys of their own".to_owned());
    }
    Ok(url)
}
