//! The `[Identity]` of an app's file.

use http::HeaderName;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use url::Url;

use super::load::LoadContext;
use super::secrets::SecretScope;
use crate::config::{Place, Section, nearest};
use crate::domain::{Caller, OwnerId, Scope};
use crate::identity::{
    Algorithm, ApiKey, IdentityConfig, JwtConfig, KeyHash, KeySource, PublicKeys,
};
use crate::upstream::AddressPolicy;

/// The claim that names the owner, unless the file says otherwise: the subject (RFC 7519 §4.1.2).
const OWNER_CLAIM: &str = "sub";

/// The longest text of an issuer, an audience or a claim's name.
const MAX_TEXT_BYTES: usize = 512;

/// Headers that mean something else here, or on the way.
const TAKEN_HEADERS: [HeaderName; 7] =
    [AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, ORIGIN];

/// Where the keys of tokens are, as the file says it; a file's key set depends on the algorithm.
enum Written {
    Url(Url),
    Document(crate::domain::Secret),
}

/// Reads the section: one way to prove who one is, or none where there is no section.
pub(super) fn identity(
    section: &mut Section<'_>,
    context: &LoadContext<'_>,
    secrets: &SecretScope<'_>,
) -> Option<IdentityConfig> {
    let jwt = section.section("Jwt", |inner| {
        inner.is_written().then(|| jwt(inner, context.address_policy, secrets))
    });
    let keys: Vec<_> = section.sections("ApiKeys", |inner| (api_key(inner), inner.place().clone()));
    let proxy = section
        .section("TrustedProxy", |inner| inner.is_written().then(|| trusted_proxy(inner, context)));
    let ways = [jwt.is_some(), !keys.is_empty(), proxy.is_some()];
    match ways.iter().filter(|way| **way).count() {
        0 if section.is_written() => {
            let message = "Identity names no way to prove who one is";
            let hint = "write one of Jwt, ApiKeys and TrustedProxy, or remove the section";
            section.error(&section.place().clone(), message, Some(hint.to_owned()));
            None
        }
        0 => None,
        1 => match (jwt, proxy) {
            (Some(jwt), _) => jwt,
            (None, Some(proxy)) => proxy,
            (None, None) => api_keys(section, keys),
        },
        _ => {
            let message = "Identity takes one of Jwt, ApiKeys and TrustedProxy, not several";
            let hint = "remove all but one";
            section.error(&section.place().clone(), message, Some(hint.to_owned()));
            None
        }
    }
}

fn jwt(
    section: &mut Section<'_>,
    policy: &AddressPolicy,
    secrets: &SecretScope<'_>,
) -> Option<IdentityConfig> {
    let issuer = section.key("Issuer").text(plain);
    let issuer = issuer.required("the `iss` of the tokens, such as \"https://auth.example.com/\"");
    let audience = section.key("Audience").text(plain);
    let audience = audience.required("the `aud` that the tokens must have: what names this app");
    let algorithm = section.key("Algorithm").text(algorithm).or(Algorithm::Rs256);
    let owner_claim = section.key("OwnerClaim").text(plain).or(OWNER_CLAIM.to_owned());
    let written = section.key("JWKS").text(|text| match text.strip_prefix("file:") {
        Some(name) => secrets.document(name).map(Written::Document),
        None => jwks_url(text, policy).map(Written::Url),
    });
    let written = written.check(|written| match written {
        Written::Document(document) => PublicKeys::parse(document.expose(), algorithm).map(drop),
        Written::Url(_) => Ok(()),
    });
    let what = "the public keys of the issuer: an https URL (`jwks_uri` of its \
                /.well-known/openid-configuration), or \"file:NAME\"";
    let keys = match written.required(what)? {
        Written::Url(url) => KeySource::Url(url),
        Written::Document(document) => {
            KeySource::Here(PublicKeys::parse(document.expose(), algorithm).ok()?)
        }
    };
    let (issuer, audience) = (issuer?, audience?);
    Some(IdentityConfig::Jwt(JwtConfig { issuer, audience, algorithm, owner_claim, keys }))
}

fn plain(text: &str) -> Result<String, &'static str> {
    match text.len() {
        0 => Err("the text is empty"),
        1..=MAX_TEXT_BYTES => Ok(text.to_owned()),
        _ => Err("the text has more than 512 bytes"),
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let names = Algorithm::ALL.map(Algorithm::name);
    if let Some(known) = Algorithm::ALL.into_iter().find(|known| known.name() == text) {
        return Ok(known);
    }
    Err(match nearest(text, names) {
        Some(near) => format!("unknown algorithm {text:?}; did you mean \"{near}\"?"),
        None => format!("unknown algorithm {text:?}; there are {}", names.join(", ")),
    })
}

/// Unlike the URLs of upstreams, this one has a path, and with some issuers a query.
fn jwks_url(text: &str, policy: &AddressPolicy) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!(
            "this is not a URL ({error}); write it like \
             \"https://auth.example.com/.well-known/jwks.json\", or \"file:NAME\""
        )
    })?;
    policy.check_url(&url)?;
    if url.fragment().is_some() {
        return Err("the URL must not have a fragment".to_owned());
    }
    Ok(url)
}

fn api_key(section: &mut Section<'_>) -> Option<ApiKey> {
    let id = section.key("ID").text(key_id).required("a name for the key, such as \"backend-1\"");
    let hash = section.key("Hash").text(KeyHash::parse);
    let hash = hash.required("the hash of the key, as `safelight api-key` prints it");
    let owner = section.key("Owner").text(|text| OwnerId::parse(text.as_bytes()));
    let owners = section.key("Owners").text(|text| match text {
        "any" => Ok(()),
        _ => Err("write \"any\", or name the one owner with Owner"),
    });
    let may_delete = section.key("MayDelete").boolean().or(false);
    let scope = match (owner.is_present(), owners.is_present()) {
        (true, false) => Scope::Owner(owner.optional()?),
        (false, true) => owners.optional().map(|()| Scope::Application)?,
        (has_both, _) => {
            let message = match has_both {
                true => "Owner and Owners are both set: a key is for one owner, or for any",
                false => "the key does not say for whom it is",
            };
            let hint = "write Owner = \"…\", or Owners = \"any\" for the application's own servers";
            section.error(&section.place().clone(), message, Some(hint.to_owned()));
            return None;
        }
    };
    Some(ApiKey { id: id?, hash: hash?, caller: Caller { scope, may_delete } })
}

/// The name of a key is a label of metrics.
fn key_id(text: &str) -> Result<String, &'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 64 letters, digits, '-', '_' and '.'")
    }
}

fn api_keys(section: &Section<'_>, keys: Vec<(Option<ApiKey>, Place)>) -> Option<IdentityConfig> {
    let mut known: Vec<ApiKey> = Vec::with_capacity(keys.len());
    let mut is_right = true;
    for (key, place) in keys {
        let Some(key) = key else {
            is_right = false;
            continue;
        };
        if known.iter().any(|other| other.id == key.id) {
            section.error(&place, format!("there are two keys with the ID {:?}", key.id), None);
            is_right = false;
        } else if let Some(other) = known.iter().find(|other| other.hash == key.hash) {
            let message = format!("this is the key {:?} once more", other.id);
            section.error(&place, message, None);
            is_right = false;
        }
        known.push(key);
    }
    is_right.then_some(IdentityConfig::ApiKeys(known))
}

fn trusted_proxy(section: &mut Section<'_>, context: &LoadContext<'_>) -> Option<IdentityConfig> {
    if context.trusted_proxies.is_none_or(|proxies| proxies.is_empty()) {
        let message =
            "Identity.TrustedProxy needs proxies that are trusted, and the process has none";
        let hint = "the operator names them in Server.TrustedProxies of the settings";
        section.error(&section.place().clone(), message, Some(hint.to_owned()));
    }
    let header = section.key("Header").text(owner_header);
    let what = "the header in which the proxy names the owner, such as \"X-Owner-Id\"";
    header.required(what).map(IdentityConfig::TrustedProxy)
}

fn owner_header(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| "write the name of a header, such as \"X-Owner-Id\"".to_owned())?;
    let is_taken = TAKEN_HEADERS.contains(&name)
        || ["forwarded", "x-forwarded-", "x-real-ip", "upload-token", "idempotency-key", "range"]
            .iter()
            .any(|taken| name.as_str().starts_with(taken));
    if is_taken {
        return Err(format!("{text} has a meaning of its own: choose another header"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
