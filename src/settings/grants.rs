//! `[[Grants]]`: which app may use the process's own cloud credentials, and where.

use url::Url;

use crate::config::Section;
use crate::domain::{AppName, Grant, Grants};
use crate::upstream::AddressPolicy;

/// Reads every `[[Grants]]`. Without a policy, `[Server]` is wrong and the file is refused anyway.
pub(super) fn grants(file: &mut Section<'_>, policy: Option<&AddressPolicy>) -> Grants {
    let default = AddressPolicy::default();
    let policy = policy.unwrap_or(&default);
    let grants = file.sections("Grants", |section| grant(section, policy));
    grants.into_iter().flatten().collect()
}

fn grant(section: &mut Section<'_>, policy: &AddressPolicy) -> Option<Grant> {
    let app = section.key("App").text(AppName::parse).required("the app that is granted them");
    let bucket = section.key("Bucket").text(bucket).required("the bucket that they are for");
    let endpoint = section.key("Endpoint").non_empty().text(|text| endpoint(text, policy));
    Some(Grant { endpoint: endpoint.optional(), app: app?, bucket: bucket? })
}

/// The names are compared with those of the apps' files, which are checked there.
fn bucket(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("the name is empty") } else { Ok(text.to_owned()) }
}

/// Scheme, host and port, in the spelling in which the endpoints of apps are compared with it.
fn endpoint(text: &str, policy: &AddressPolicy) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}); write it like \"https://host.example\"")
    })?;
    policy.check_url(&url)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("the URL must not have a path, a query or a fragment".to_owned());
    }
    Ok(url.origin().ascii_serialization())
}
