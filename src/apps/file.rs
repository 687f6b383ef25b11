//! The file of one app, key by key.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;

use super::config::{AppConfig, CdnConfig, ReadMode, ReadPolicy, UploadPolicy, Visibility};
use super::cors_file::cors;
use super::identity_file::identity;
use super::load::LoadContext;
use super::secrets::SecretScope;
use super::storage_file::storage;
use crate::cdn::{KeyPair, KeyPairId, SigningKey};
use crate::config::{Place, Section, duration, nearest, public_base_url, rate};
use crate::domain::{AppName, HedgeAfter, KeyPrefix, MediaType, Percentile, Rate};
use crate::limits::UploadRates;
use crate::memory::LARGEST_OBJECT;
use crate::storage::StorageKind;

/// The life of an upload URL, unless the file says otherwise.
const URL_EXPIRY: Duration = Duration::from_secs(15 * 60);
/// How long a pending upload may be renewed or resumed, unless the file says otherwise.
const SESSION_EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// The share of reads that go to storage, unless the file says otherwise: enough to see within an
/// hour that storage does not answer any more, and few enough not to show in the bill.
const ORIGIN_SHARE: f64 = 0.01;
/// The longest wait for an upstream that a file may ask for: one that is silent for longer will
/// not answer, and its clients are long gone.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// The largest object that is kept in memory, unless the file says otherwise, in bytes.
const MEMORY_CACHE_MAX_OBJECT: u64 = 256 << 10;

/// Reads the file of an app, and where in it `[Storage]` is.
pub(super) fn app(
    file: &mut Section<'_>,
    name: &AppName,
    context: &LoadContext<'_>,
    secrets: &SecretScope<'_>,
) -> Option<(AppConfig, Place)> {
    let policy = context.address_policy;
    let allow_public_upload = file.key("AllowPublicUpload").boolean().or(false);
    let accept_foreign_keys = file.key("AcceptForeignKeys").boolean().or(false);
    let keep_names = file.key("KeepNames").boolean().or(true);
    let visibility = file.key("Visibility").text(parse_visibility);
    let public_base_url = file
        .key("PublicBaseURL")
        .non_empty()
        .text(|text| public_base_url(text, policy.allow_loopback))
        .optional();
    let cdn_url = file.key("CloudFrontURL").non_empty().text(|text| policy.parse_url(text));
    let cdn_prefix = file.key("CloudFrontPathPrefix").text(KeyPrefix::parse).optional();
    let (storage, storage_place) = file
        .section("Storage", |section| (storage(section, policy, secrets), section.place().clone()));
    let kind = storage.as_ref().map(|storage| &storage.kind);
    let upload = file.section("Upload", |section| {
        upload(section, context.max_url_expiry, kind, accept_foreign_keys)
    });
    let rate_limit = file.section("RateLimit", rate_limits);
    let (read, keys) = file.section("Read", |section| {
        let keys = signing_keys(section, secrets, cdn_url.is_present());
        (read_policy(section, upload.serve_only_ready, keys.is_some()), keys)
    });
    let identity = file.section("Identity", |section| identity(section, context, secrets));
    let visibility = visibility.check(|visibility| match visibility {
        Visibility::Public => Ok(()),
        Visibility::Private => {
            let open_cdn = cdn_url.is_present() && keys.is_none();
            may_be_private(open_cdn, read.mode, accept_foreign_keys, identity.is_some())
        }
    });
    let cors = file.section("CORS", cors);
    let storage = storage?;
    let cdn = cdn_url.optional().map(|url| CdnConfig {
        url,
        path_prefix: cdn_prefix.as_ref().unwrap_or(&storage.key_prefix).as_str().to_owned(),
        keys,
    });
    let name = name.clone();
    let app = AppConfig {
        name,
        allow_public_upload,
        cdn,
        public_base_url,
        accept_foreign_keys,
        keep_names,
        visibility: visibility.or(Visibility::Public),
        storage,
        upload,
        rate_limit,
        read,
        cors,
        identity,
    };
    Some((app, storage_place))
}

fn parse_visibility(text: &str) -> Result<Visibility, &'static str> {
    match text {
        "public" => Ok(Visibility::Public),
        "private" => Ok(Visibility::Private),
        _ => Err("write \"public\" or \"private\""),
    }
}

/// Whether nothing else in the file shows private images to those who have no right to them.
fn may_be_private(
    has_open_cdn: bool,
    mode: ReadMode,
    accept_foreign_keys: bool,
    has_identity: bool,
) -> Result<(), &'static str> {
    if has_open_cdn {
        return Err("the CDN would show private images to whoever knows their keys: restrict the \
                    distribution and add SigningKeyPairID and SigningKeyFile, or remove \
                    CloudFrontURL");
    }
    if mode == ReadMode::Redirect {
        return Err("where a client is sent to, nobody asks for its right: write Mode = \"proxy\"");
    }
    if accept_foreign_keys {
        return Err("keys that other systems made have no record and so no owner: give them an \
                    app of their own, or remove AcceptForeignKeys");
    }
    if !has_identity {
        return Err("nobody could prove to own an image, or get a signed URL: add [Identity]");
    }
    Ok(())
}

fn upload(
    section: &mut Section<'_>,
    max_url_expiry: Duration,
    storage: Option<&StorageKind>,
    accept_foreign_keys: bool,
) -> UploadPolicy {
    let not_zero = |number: &u64| if *number == 0 { Err("write more than 0") } else { Ok(()) };
    let allowed_types = section
        .key("AllowedTypes")
        .texts(media_type)
        .check(|types| match types.as_slice() {
            [] => Err("the list is empty: leave the key out to allow every type but SVG"),
            types if types.iter().enumerate().any(|(i, t)| types[..i].contains(t)) => {
                Err("the list names a type twice")
            }
            _ => Ok(()),
        })
        .optional()
        .map_or(Cow::Borrowed(&MediaType::DEFAULT_ALLOWED[..]), Cow::Owned);
    let max_bytes = section.key("MaxBytes").byte_size().check(not_zero).or(20 << 20);
    let max_pixels = section.key("MaxPixels").integer().check(not_zero).or(100_000_000);
    // The operator's limit is not the tenant's mistake: it shortens what the file asks for.
    let url_expiry =
        section.key("URLExpiry").duration().check(whole_seconds).or(URL_EXPIRY).min(max_url_expiry);
    let session_expiry = section
        .key("SessionExpiry")
        .duration()
        .check(whole_seconds)
        .check(|session| {
            if *session < url_expiry {
                Err("a session is not shorter than URLExpiry")
            } else {
                Ok(())
            }
        })
        .or(SESSION_EXPIRY.max(url_expiry));
    let prevent_overwrite = section.key("PreventOverwrite").boolean();
    let prevent_overwrite = prevent_overwrite.check(|wanted| match storage {
        Some(storage) if *wanted => storage.check_keeps_what_exists(),
        Some(_) | None => Ok(()),
    });
    // Where it was refused, that is error enough.
    let is_refused = prevent_overwrite.is_wrong();
    let prevent_overwrite = prevent_overwrite.or(false);
    let serve_only_ready =
        serve_only_ready(section, prevent_overwrite || is_refused, accept_foreign_keys);
    UploadPolicy {
        allowed_types,
        max_bytes,
        max_pixels,
        url_expiry,
        session_expiry,
        require_size: section.key("RequireSize").boolean().or(false),
        prevent_overwrite,
        serve_only_ready,
    }
}

fn serve_only_ready(
    section: &mut Section<'_>,
    prevent_overwrite: bool,
    accept_foreign_keys: bool,
) -> bool {
    let given = section.key("ServeOnlyReady").boolean();
    let given = given.check(|wanted| match (wanted, prevent_overwrite, accept_foreign_keys) {
        (true, false, _) => {
            Err("it needs PreventOverwrite = true: an upload URL that may be used \
                                 twice makes other bytes of what was found ready")
        }
        (true, _, true) => Err("keys that other systems made have no record and are never ready: \
                                give them an app of their own, or remove AcceptForeignKeys"),
        _ => Ok(()),
    });
    given.or(false)
}

fn rate_limits(section: &mut Section<'_>) -> UploadRates {
    let mut read = |name, default| section.section(name, |section| rate(section, default));
    UploadRates {
        per_owner: read("PerOwner", Rate::per_minute(60, 20)),
        per_client_ip: read("PerClientIP", Rate::per_minute(120, 60)),
        per_app: read("PerApp", Rate::per_minute(6000, 600)),
    }
}

fn read_policy(
    section: &mut Section<'_>,
    serve_only_ready: bool,
    is_restricted: bool,
) -> ReadPolicy {
    let mode = section.key("Mode").text(|text| match (text, serve_only_ready, is_restricted) {
        ("proxy", ..) => Ok(ReadMode::Proxy),
        ("redirect", true, _) => Err("a redirect cannot hold back what is not ready: write \
                                      \"proxy\", or remove ServeOnlyReady"),
        ("redirect", _, true) => Err("a client that is sent to the CDN has no signature for it: \
                                      write \"proxy\", or remove SigningKeyPairID"),
        ("redirect", false, false) => Ok(ReadMode::Redirect),
        _ => Err("write \"proxy\" or \"redirect\""),
    });
    let mode = mode.or(ReadMode::Proxy);
    let default = HeaderValue::from_static("public, max-age=31536000, immutable");
    let cache_control = section.key("CacheControl").text(header_value).or(default);
    let mut wait = |key, millis| {
        let wait = section.key(key).duration().check(sensible_wait);
        wait.or(Duration::from_millis(millis))
    };
    ReadPolicy {
        mode,
        cache_control,
        connect_timeout: wait("ConnectTimeout", 300),
        first_byte_timeout: wait("FirstByteTimeout", 1000),
        stall_timeout: wait("StallTimeout", 5000),
        memory_cache_max_object: memory_cache_max_object(section),
        hedge_after: section
            .key("HedgeAfter")
            .text(|text| HedgeAfter::parse(text, duration))
            .or(HedgeAfter::Percentile(Percentile::P98)),
        origin_share: section
            .key("OriginShare")
            .number()
            .check(|share| match share {
                0.0..=1.0 => Ok(()),
                _ => Err("write the share of reads, from 0 (none) to 1 (all)"),
            })
            .or(ORIGIN_SHARE),
    }
}

fn memory_cache_max_object(section: &mut Section<'_>) -> u64 {
    let given = section.key("MemoryCacheMaxObject").byte_size();
    let given = given.check(|bytes| match *bytes {
        0..=LARGEST_OBJECT => Ok(()),
        _ => Err("write at most \"64MiB\": such an object is read wholly before it is sent"),
    });
    given.or(MEMORY_CACHE_MAX_OBJECT)
}

/// What requests to a restricted distribution are signed with: both keys, or none.
fn signing_keys(
    section: &mut Section<'_>,
    secrets: &SecretScope<'_>,
    has_cdn: bool,
) -> Option<KeyPair> {
    let id = section.key("SigningKeyPairID").non_empty().text(KeyPairId::parse);
    let id = id.check(|_| match has_cdn {
        true => Ok(()),
        false => Err("there is no CloudFrontURL whose requests could be signed"),
    });
    let key = section.key("SigningKeyFile").non_empty().text(|name| {
        let pem = secrets.document(name)?;
        SigningKey::parse(&pem).map_err(str::to_owned)
    });
    if !id.is_present() && !key.is_present() {
        return None;
    }
    let with = "SigningKeyPairID and SigningKeyFile go together";
    let (id, key) = (id.required(with), key.required(with));
    Some(KeyPair { id: id?, key: key? })
}

fn media_type(text: &str) -> Result<MediaType, String> {
    let known = MediaType::ALL.map(MediaType::as_str);
    if let Some(exact) = MediaType::ALL.into_iter().find(|known| known.as_str() == text) {
        return Ok(exact);
    }
    Err(match nearest(text, known) {
        Some(near) => format!("unknown type {text:?}; did you mean \"{near}\"?"),
        None => format!("unknown type {text:?}; there are {}", known.join(", ")),
    })
}

fn header_value(text: &str) -> Result<HeaderValue, &'static str> {
    let visible = !text.trim().is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    let value = HeaderValue::from_str(text.trim()).ok().filter(|_| visible);
    value.ok_or("write the value of a header: visible ASCII characters")
}

fn whole_seconds(time: &Duration) -> Result<(), &'static str> {
    if time.subsec_nanos() == 0 && !time.is_zero() {
        Ok(())
    } else {
        Err("write whole seconds, at least \"1s\"")
    }
}

fn sensible_wait(time: &Duration) -> Result<(), &'static str> {
    if !time.is_zero() && *time <= LONGEST_WAIT {
        Ok(())
    } else {
        Err("write a time from \"1ms\" to \"5m\"")
    }
}
