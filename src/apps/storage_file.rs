//! The `[Storage]` of an app's file.

use url::Url;

use super::config::{GcsAccess, GcsAccount, S3Access, StorageConfig, StorageKind};
use super::secrets::SecretScope;
use crate::config::{Given, Key, Section, nearest};
use crate::domain::{Grant, KeyPrefix, Secret};
use crate::storage::{AccessKey, GOOGLE_STORAGE, GcsConfig, ServiceAccount};
use crate::upstream::guard::AddressPolicy;

/// The kinds of storage that there are.
const KINDS: [&str; 3] = ["s3", "gcs", "embedded"];

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
        Kind::Gcs => StorageKind::Gcs(gcs(section, bucket.as_deref(), policy, secrets)?),
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
    let region = section.key("Region").non_empty().text(region).or("us-east-1".to_owned());
    let endpoint = section.key("Endpoint").non_empty().text(|text| upstream_url(text, policy));
    let endpoint_place = endpoint.place().clone();
    let endpoint = endpoint.optional();
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
    Some(S3Access { region, endpoint, path_style, key })
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
    bucket: Option<&str>,
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
    let file = section
        .key("CredentialsFile")
        .non_empty()
        .text(|name| ServiceAccount::parse(secrets.document(name)?));
    if file.is_present() {
        let account = GcsAccount::Own(file.optional()?);
        return Some(GcsAccess { endpoint, account });
    }
    // A grant names Google by its address: one for a bucket of Amazon's is none for a bucket of the
    // same name here.
    let google = || Url::parse(GOOGLE_STORAGE).expect("the constant is a URL");
    let server = endpoint.clone().unwrap_or_else(google);
    let wanted = bucket.filter(|_| !endpoint_is_wrong).map(|bucket| Grant {
        app: secrets.app.clone(),
        bucket: bucket.to_owned(),
        endpoint: Some(server.origin().ascii_serialization()),
    });
    let granted = wanted.as_ref().is_some_and(|wanted| secrets.grants.allow(wanted));
    let account = match (granted, GcsConfig::is_emulator(endpoint.as_ref())) {
        (true, _) => GcsAccount::Process,
        (false, true) => GcsAccount::Nobody,
        (false, false) => {
            // A wrong endpoint or bucket has been told already.
            let wanted = wanted?;
            let message = "Storage.CredentialsFile is missing: the app is not granted the \
                           process's own credentials";
            let hint = format!(
                "name the key file of a service account, or let the operator add to the \
                 settings: {wanted}"
            );
            section.error(file.place(), message, Some(hint));
            return None;
        }
    };
    Some(GcsAccess { endpoint, account })
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

/// A region goes into Amazon's host names.
fn region(text: &str) -> Result<String, &'static str> {
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
