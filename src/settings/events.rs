//! `[Events]`: how storage tells the gateway that an object has arrived.

use std::time::Duration;

use url::Url;

use crate::config::{Given, Place, Section};
use crate::domain::Secret;
use crate::upstream::AddressPolicy;

use super::keys::{secret, secrets_in_file};

/// Where Google publishes the keys that sign the tokens of its service accounts
/// (`jwks_uri` of <https://accounts.google.com/.well-known/openid-configuration>).
const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// How long a message stays hidden from other consumers, unless the settings say otherwise: twice
/// what handling one may take.
const VISIBILITY: Duration = Duration::from_secs(120);

/// The longest time for which SQS hides a message (API reference, `ReceiveMessage`).
const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 3600);

/// `[Events]`: the sources of storage events; any number of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsSettings {
    /// A queue that the gateway asks.
    pub sqs: Option<SqsSettings>,
    /// `[Events.Push.PubSub]`
    pub pubsub: Option<PubSubSettings>,
    /// `[Events.Push.Webhook]`
    pub webhook: Option<WebhookSettings>,
}

/// A queue of Amazon SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsSettings {
    /// Its URL, which is its name to SQS.
    pub queue_url: Url,
    /// The region that requests are signed for.
    pub region: String,
    /// Scheme, host and port of the server; no path.
    pub endpoint: Url,
    /// For how long a message that is being handled is hidden from others, and how long one that
    /// failed waits. Whole seconds.
    pub visibility_timeout: Duration,
}

/// A push subscription of Google Cloud Pub/Sub, with authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PubSubSettings {
    /// The audience that the subscription's tokens are for.
    pub audience: String,
    /// The service account that the subscription signs as: its e-mail address.
    pub service_account: String,
    /// Where the public keys of the tokens are.
    pub jwks_url: Url,
}

/// A webhook that sends a shared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Whoever knows one of these may send events. Never empty.
    pub secrets: Vec<Secret>,
}

impl EventsSettings {
    /// Reads the section. Without a policy, `[Server]` is wrong and the file is refused anyway.
    pub(super) fn from_section(section: &mut Section<'_>, policy: Option<&AddressPolicy>) -> Self {
        let default = AddressPolicy::default();
        let policy = policy.unwrap_or(&default);
        let sqs = sqs(section, policy);
        let (pubsub, webhook) = section.section("Push", |push| {
            (
                push.section("PubSub", |section| pubsub(section, policy)),
                push.section("Webhook", webhook),
            )
        });
        Self { sqs, pubsub, webhook }
    }

    /// Whether events come from a service that wants the process's own AWS credentials.
    #[must_use]
    pub const fn uses_process_credentials(&self) -> bool {
        self.sqs.is_some()
    }
}

fn sqs(section: &mut Section<'_>, policy: &AddressPolicy) -> Option<SqsSettings> {
    let queue_url = section.key("SQSQueueURL").non_empty().text(|text| queue_url(text, policy));
    let region = section.key("SQSRegion").non_empty().text(region);
    let endpoint = section.key("SQSEndpoint").non_empty().text(|text| endpoint(text, policy));
    let visibility = section.key("SQSVisibilityTimeout").duration().check(visibility);
    if !queue_url.is_present() {
        let (region, endpoint) = (place_of(&region), place_of(&endpoint));
        for place in [region, endpoint, place_of(&visibility)].into_iter().flatten() {
            let hint = Some("set Events.SQSQueueURL, or remove this".to_owned());
            section.error(&place, "there is no Events.SQSQueueURL that this would be about", hint);
        }
        return None;
    }
    let queue_url = queue_url.optional()?;
    let what = "the region of the queue, such as \"eu-central-1\": its URL does not tell it";
    let region = match amazon_region(&queue_url) {
        Some(told) => Some(region.or(told)),
        None => region.required(what),
    };
    let mut server = queue_url.clone();
    server.set_path("/");
    Some(SqsSettings {
        queue_url,
        region: region?,
        endpoint: endpoint.or(server),
        visibility_timeout: visibility.or(VISIBILITY),
    })
}

/// Where a key stands, if it is there.
fn place_of<T>(given: &Given<'_, T>) -> Option<Place> {
    given.is_present().then(|| given.place().clone())
}

/// The queue's URL names an account and a queue; whom it leads to is the operator's choice, also
/// into private networks (an interface endpoint of a VPC), as long as TLS says who answers.
fn queue_url(text: &str, policy: &AddressPolicy) -> Result<Url, String> {
    let url = operators_url(text, policy)?;
    if url.path().trim_matches('/').is_empty() || url.query().is_some() || url.fragment().is_some()
    {
        return Err("write the whole URL of the queue, such as \
                    \"https://sqs.eu-central-1.amazonaws.com/123456789012/media-events\""
            .to_owned());
    }
    Ok(url)
}

fn endpoint(text: &str, policy: &AddressPolicy) -> Result<Url, String> {
    let url = operators_url(text, policy)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("the URL must not have a path, a query or a fragment".to_owned());
    }
    Ok(url)
}

/// A URL of the operator's own: over TLS to any host, in plain text only where tenants' may be.
fn operators_url(text: &str, policy: &AddressPolicy) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}); write it like \"https://host.example\"")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not hold a user name or a password".to_owned());
    }
    if url.scheme() != "https" {
        policy.check_url(&url)?;
    }
    Ok(url)
}

/// The region in the host name of an Amazon queue: `sqs.{region}.amazonaws.com`.
fn amazon_region(queue: &Url) -> Option<String> {
    let mut labels = queue.host_str()?.split('.');
    let is_amazon = labels.next() == Some("sqs");
    let region = labels.next()?;
    let rest: Vec<_> = labels.collect();
    let is_amazon =
        is_amazon && matches!(rest[..], ["amazonaws", "com"] | ["amazonaws", "com", "cn"]);
    is_amazon.then(|| region.to_owned())
}

fn region(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.len() > 63 || !text.bytes().all(plain) {
        return Err("write a region such as \"eu-central-1\"");
    }
    Ok(text.to_owned())
}

fn visibility(timeout: &Duration) -> Result<(), &'static str> {
    let allowed = timeout.subsec_nanos() == 0
        && (Duration::from_secs(1)..=LONGEST_VISIBILITY).contains(timeout);
    if allowed { Ok(()) } else { Err("write whole seconds, from \"1s\" to \"12h\"") }
}

fn pubsub(section: &mut Section<'_>, policy: &AddressPolicy) -> Option<PubSubSettings> {
    let audience = section.key("Audience").text(not_empty);
    let account = section.key("ServiceAccount").text(service_account);
    let jwks_url = section.key("JWKSURL").non_empty().text(|text| operators_url(text, policy));
    let is_set = audience.is_present() || account.is_present() || jwks_url.is_present();
    if !section.is_written() && !is_set {
        return None;
    }
    let audience = audience.required("the audience of the subscription's tokens");
    let account = account.required("the service account that the subscription signs as");
    let google = Url::parse(GOOGLE_KEYS).expect("the constant is a URL");
    Some(PubSubSettings {
        audience: audience?,
        service_account: account?,
        jwks_url: jwks_url.or(google),
    })
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("the text is empty") } else { Ok(text.to_owned()) }
}

fn service_account(text: &str) -> Result<String, &'static str> {
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && host.contains('.') => Ok(text.to_owned()),
        _ => Err("write its e-mail address, such as \
                  \"push@my-project.iam.gserviceaccount.com\""),
    }
}

fn webhook(section: &mut Section<'_>) -> Option<WebhookSettings> {
    let written = section.key("Secret").text(|text| secret(text, None));
    let filed = section.key("SecretFile").text(secrets_in_file);
    if !section.is_written() && !written.is_present() && !filed.is_present() {
        return None;
    }
    if written.is_present() && filed.is_present() {
        let message = "Events.Push.Webhook.Secret and SecretFile are both set";
        section.error(filed.place(), message, Some("remove one of the two".to_owned()));
        return None;
    }
    if filed.is_present() {
        return Some(WebhookSettings { secrets: filed.optional()? });
    }
    let what =
        "what the sender proves itself with (or SecretFile); make one with: openssl rand -hex 32";
    Some(WebhookSettings { secrets: vec![written.required(what)?] })
}
