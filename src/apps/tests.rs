//! Good and bad apps' files.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::ConfigError;
use crate::domain::{AppName, Grant, Grants, MediaType, Rate};
use crate::storage::{GcsAccount, Provider, S3Access, StorageKind};
use crate::upstream::guard::AddressPolicy;

const STORAGE: &str = "Bucket = 'media'\nAccessKeyID = 'AKID'\nSecretAccessKey = 'hunter2'\n";

fn policy(allow_loopback: bool, networks: &[&str]) -> AddressPolicy {
    let allowed_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    AddressPolicy { allow_loopback, allowed_networks }
}

fn env(variable: &str) -> Option<String> {
    (variable == "SAFELIGHT_APP_EXAMPLE_ACCESS_KEY_ID").then(|| "AKIDEXAMPLE".to_owned())
}

fn context<'a>(address_policy: &'a AddressPolicy, secrets_dir: &'a Path) -> LoadContext<'a> {
    static GRANTS: LazyLock<Grants> = LazyLock::new(|| {
        let shop = AppName::parse("shop").unwrap();
        let endpoint = Some("https://s3.example".to_owned());
        Grants::from_iter([
            Grant { app: shop.clone(), bucket: "shop-media".into(), endpoint: None },
            Grant { app: shop, bucket: "elsewhere".into(), endpoint },
        ])
    });
    let (max_url_expiry, grants) = (Duration::from_secs(900), &*GRANTS);
    let trusted_proxies = None;
    LoadContext { address_policy, max_url_expiry, secrets_dir, env: &env, grants, trusted_proxies }
}

fn parse_under(policy: &AddressPolicy, text: &str) -> Result<AppConfig, Vec<String>> {
    let name = AppName::parse("shop").unwrap();
    read_app(&name, "apps.d/shop.toml", text, &[], &context(policy, Path::new("/nowhere")))
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn parse(text: &str) -> Result<AppConfig, Vec<String>> {
    parse_under(&AddressPolicy::default(), text)
}

/// A file with `top` in its first line, `[Storage]` in the second, the required keys in the next
/// three, `storage` in the sixth and `rest` from the seventh.
fn with(top: &str, storage: &str, rest: &str) -> String {
    format!("{top}\n[Storage]\n{STORAGE}{storage}\n{rest}")
}

/// The credentials of the process are for the app, the bucket and the place that are granted.
#[test]
fn without_a_key_the_app_needs_a_grant() {
    let read = |storage: &str| {
        let app = parse(&format!("[Storage]\n{storage}"))?;
        let StorageKind::S3(access) = app.storage.kind else { panic!("s3 is the default") };
        Ok::<_, Vec<String>>(access.key)
    };
    assert_eq!(read("Bucket = 'shop-media'"), Ok(None));
    assert_eq!(read("Bucket = 'elsewhere'\nEndpoint = 'https://s3.example:443/'"), Ok(None));
    let refusal = "apps.d/shop.toml:1: Storage.AccessKeyID is missing: the app is not granted the \
                   process's own credentials; write AccessKeyID and SecretAccessKey, or let the \
                   operator add to the settings: [[Grants]] with App = \"shop\", ";
    for (storage, entry) in [
        ("Bucket = 'shop-media2'", "Bucket = \"shop-media2\""),
        (
            "Bucket = 'shop-media'\nEndpoint = 'https://other.s3.amazonaws.com'\nPathStyle = true",
            "Bucket = \"shop-media\", Endpoint = \"https://other.s3.amazonaws.com\"",
        ),
        ("Bucket = 'elsewhere'", "Bucket = \"elsewhere\""),
    ] {
        assert_eq!(read(storage), Err(vec![format!("{refusal}{entry}")]), "{storage}");
    }
    // A key that is there in part is a slip, and no wish for other credentials.
    for part in ["AccessKeyID = 'a'", "SecretAccessKey = 's'", "SessionToken = 't'"] {
        let errors = read(&format!("Bucket = 'shop-media'\n{part}")).unwrap_err();
        assert!(errors.iter().all(|error| error.contains("go together")), "{errors:?}");
    }
}

#[test]
fn the_least_file_has_the_defaults() {
    let app = parse(&with("", "", "")).unwrap();
    assert_eq!(app.name.as_str(), "shop");
    assert!(!app.allow_public_upload && !app.accept_foreign_keys && app.keep_names);
    assert_eq!((app.cdn, app.public_base_url), (None, None));
    assert_eq!((app.storage.bucket.as_str(), app.storage.key_prefix.as_str()), ("media", ""));
    let StorageKind::S3(access) = app.storage.kind else { panic!("s3 is the default") };
    assert_eq!(
        (access.region.as_str(), access.endpoint, access.path_style),
        ("us-east-1", None, false)
    );
    let key = access.key.expect("the file has a key");
    assert_eq!(key.access_key_id, "AKID");
    assert_eq!(key.secret_access_key.expose(), b"hunter2");
    assert_eq!(key.session_token, None);
    assert_eq!(
        app.upload,
        UploadPolicy {
            allowed_types: Cow::Borrowed(&MediaType::DEFAULT_ALLOWED),
            max_bytes: 20 << 20,
            max_pixels: 100_000_000,
            url_expiry: Duration::from_secs(900),
            session_expiry: Duration::from_secs(86_400),
            require_size: false,
            prevent_overwrite: false,
            serve_only_ready: false,
        }
    );
    assert_eq!(app.rate_limit.per_owner, Rate::per_minute(60, 20));
    assert_eq!(app.rate_limit.per_app, Rate::per_minute(6000, 600));
    assert_eq!(app.read.cache_control, "public, max-age=31536000, immutable");
    assert_eq!(app.read.connect_timeout, Duration::from_millis(300));
    assert_eq!(app.read.first_byte_timeout, Duration::from_secs(1));
    assert_eq!(app.read.stall_timeout, Duration::from_secs(5));
    assert_eq!(app.rate_limit.per_client_ip, Rate::per_minute(120, 60));
    assert_eq!(
        app.cors,
        Cors {
            allowed_origins: Vec::new(),
            allowed_headers: Vec::new(),
            allow_credentials: false,
            max_age: Duration::from_secs(7200),
        }
    );
}

/// What the file says of an S3 store, from `Endpoint`, `Provider` and `Region`.
fn s3_access(lines: &str) -> Result<S3Access, Vec<String>> {
    match parse(&with("", lines, ""))?.storage.kind {
        StorageKind::S3(access) => Ok(access),
        StorageKind::Gcs(_) | StorageKind::Embedded => panic!("s3 is the default"),
    }
}

#[test]
fn the_host_tells_the_provider_and_its_region() {
    use Provider as P;
    let r2 = "Endpoint = 'https://0123abcd.eu.r2.cloudflarestorage.com'";
    let b2 = "Endpoint = 'https://s3.us-west-004.backblazeb2.com'";
    let amazon = "Endpoint = 'https://s3.eu-central-1.amazonaws.com'";
    let own = "Endpoint = 'https://s3.example'";
    for (endpoint, more, provider, region) in [
        ("", "", P::Aws, "us-east-1"),
        ("", "Region = 'eu-west-1'", P::Aws, "eu-west-1"),
        ("", "Provider = 'aws'", P::Aws, "us-east-1"),
        (amazon, "", P::Aws, "eu-central-1"),
        (amazon, "Region = 'eu-central-1'", P::Aws, "eu-central-1"),
        (r2, "", P::R2, "auto"),
        (r2, "Region = 'auto'", P::R2, "auto"),
        (r2, "Region = 'us-east-1'\nProvider = 'r2'", P::R2, "us-east-1"),
        (b2, "", P::B2, "us-west-004"),
        (b2, "Provider = 'b2'\nRegion = 'us-west-004'", P::B2, "us-west-004"),
        (own, "", P::Other, "us-east-1"),
        (own, "Provider = ''", P::Other, "us-east-1"),
        (own, "Provider = 'other'\nRegion = 'here'", P::Other, "here"),
        (own, "Provider = 'garage'", P::Garage, "garage"),
        (own, "Provider = 'garage'\nRegion = 'home'", P::Garage, "home"),
        (own, "Provider = 'seaweedfs'", P::SeaweedFs, "us-east-1"),
        (own, "Provider = 'ceph'\nRegion = 'default'", P::Ceph, "default"),
        (own, "Provider = 'minio'", P::MinIo, "us-east-1"),
        (own, "Provider = 'b2'\nRegion = 'us-west-004'", P::B2, "us-west-004"),
    ] {
        let access = s3_access(&format!("{endpoint}\n{more}")).unwrap();
        assert_eq!(
            (access.provider, access.region.as_str()),
            (provider, region),
            "{endpoint} {more}"
        );
    }
    for (endpoint, more, expected) in [
        ("", "Provider = 'garage'", "7: Storage.Provider: without Storage.Endpoint the storage is"),
        (
            r2,
            "Provider = 'aws'",
            "7: Storage.Provider: Storage.Endpoint is a host of Cloudflare R2",
        ),
        (
            amazon,
            "Provider = 'other'",
            "7: Storage.Provider: Storage.Endpoint is a host of Amazon S3",
        ),
        (own, "Provider = 'garrage'", "7: Storage.Provider: did you mean \"garage\"?"),
        (
            own,
            "Provider = 'wasabi'",
            "7: Storage.Provider: there are aws, r2, b2, seaweedfs, garage",
        ),
        (own, "Provider = 7", "7: Storage.Provider: expected a string"),
        (r2, "Region = 'weur'", "7: Storage.Region: Cloudflare R2 has one region: write \"auto\""),
        (
            b2,
            "Region = 'us-east-1'",
            "7: Storage.Region: the host of Storage.Endpoint is of the region",
        ),
        (amazon, "Region = 'us-east-1'", "7: Storage.Region: the host of Storage.Endpoint is of"),
        (own, "Provider = 'b2'", "2: Storage.Region is missing"),
    ] {
        let errors = s3_access(&format!("{endpoint}\n{more}")).unwrap_err();
        let told = [errors.len() == 1, errors[0].contains(&format!("shop.toml:{expected}"))];
        assert_eq!(told, [true; 2], "{endpoint} {more}: {errors:#?}");
    }
    // An endpoint that cannot be read tells nothing, and accuses nobody.
    let errors = s3_access("Endpoint = 'ftp://x'\nProvider = 'garage'").unwrap_err();
    assert!(errors.len() == 1 && errors[0].contains("Storage.Endpoint"), "{errors:#?}");
}

#[test]
fn no_upload_url_works_once_where_the_provider_overwrites() {
    for provider in Provider::ALL {
        let storage = format!(
            "Endpoint = 'https://s3.example'\nProvider = '{}'\nRegion = 'auto'",
            provider.name()
        );
        let read = |wanted: bool| {
            parse(&with("", &storage, &format!("[Upload]\nPreventOverwrite = {wanted}")))
        };
        assert!(read(false).is_ok(), "{provider:?}");
        match read(true) {
            Ok(app) => assert!(provider.keeps_what_exists() && app.upload.prevent_overwrite),
            Err(errors) => {
                assert!(!provider.keeps_what_exists(), "{provider:?}");
                let expected = format!(
                    "apps.d/shop.toml:10: Upload.PreventOverwrite: {} is not known to obey",
                    provider.title()
                );
                let told = errors.len() == 1 && errors[0].starts_with(&expected);
                assert!(told && errors[0].contains("write false"), "{errors:#?}");
            }
        }
    }
}

#[test]
fn everything_can_be_said() {
    let text = with(
        "AllowPublicUpload = true\nCloudFrontURL = 'https://d1.cloudfront.net'\nKeepNames = false",
        "Endpoint = 'https://acc.r2.cloudflarestorage.com'\nKeyPrefix = 'images/'\nRegion = 'auto'\nSessionToken = 't'",
        "[Upload]\nAllowedTypes = ['image/svg+xml']\nURLExpiry = '1h'\nSessionExpiry = '15m'\nMaxBytes = 1\n\
         [RateLimit.PerOwner]\nRate = '5/s'\nBurst = 1\n[CORS]\nAllowedOrigins = ['*', 'http://localhost:3000']",
    );
    let app = parse(&text).unwrap();
    let cdn = app.cdn.unwrap();
    assert_eq!(
        (cdn.url.as_str(), cdn.path_prefix.as_str()),
        ("https://d1.cloudfront.net/", "images/")
    );
    let StorageKind::S3(access) = app.storage.kind else { panic!("s3 is the default") };
    assert!(access.path_style && access.key.is_some_and(|key| key.session_token.is_some()));
    assert_eq!(app.upload.url_expiry, Duration::from_secs(900), "MaxURLExpiry shortens it");
    assert_eq!(*app.upload.allowed_types, [MediaType::Svg]);
    assert_eq!(app.rate_limit.per_owner.window(), Duration::from_secs(1));
    assert_eq!(app.cors.allowed_origins, ["*", "http://localhost:3000"]);

    let own_prefix = parse(&text.replace("KeepNames", "CloudFrontPathPrefix = ''\nKeepNames"));
    assert_eq!(own_prefix.unwrap().cdn.unwrap().path_prefix, "", "an empty prefix is a prefix");
    let embedded = parse("[Storage]\nKind = 'embedded'\nBucket = 'dev'").unwrap();
    assert!(matches!(embedded.storage.kind, StorageKind::Embedded));
}

#[test]
fn images_are_public_unless_the_file_says_otherwise() {
    let hash = "0".repeat(64);
    let identity =
        format!("[Identity]\nApiKeys = [{{ ID = 'a', Hash = 'sha256:{hash}', Owner = 'u' }}]");
    for (line, expected) in [
        ("", Visibility::Public),
        ("Visibility = 'public'", Visibility::Public),
        ("Visibility = 'private'", Visibility::Private),
    ] {
        assert_eq!(parse(&with(line, "", &identity)).unwrap().visibility, expected, "{line}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, expected) in [
        (
            with("AllowPublicUploads = true", "", ""),
            "1: unknown key \"AllowPublicUploads\"; did you mean \"AllowPublicUpload\"?",
        ),
        (
            with("", "KeepNames = true", ""),
            "6: unknown key \"KeepNames\" in [Storage]; it belongs above the first [section]",
        ),
        (with("", "", "[Cors]"), "7: unknown section [Cors]; did you mean [CORS]?"),
        (with("Visibility = 'secret'", "", ""), "1: Visibility: write \"public\" or \"private\""),
        (
            with("Visibility = 'private'\nCloudFrontURL = 'https://cdn.example.com'", "", ""),
            "1: Visibility: the CDN would show private images to whoever knows their keys: restrict the distribution and add SigningKeyPairID and SigningKeyFile, or remove CloudFrontURL",
        ),
        (
            with("Visibility = 'private'", "", "[Read]\nMode = 'redirect'"),
            "1: Visibility: where a client is sent to, nobody asks for its right: write Mode = \"proxy\"",
        ),
        (
            with("Visibility = 'private'", "", ""),
            "1: Visibility: nobody could prove to own an image, or get a signed URL: add [Identity]",
        ),
        (
            with("Visibility = 'private'\nAcceptForeignKeys = true", "", ""),
            "1: Visibility: keys that other systems made have no record and so no owner: give them an app of their own, or remove AcceptForeignKeys",
        ),
        (
            with("", "Kind = 'azure'\nRegion = 7", ""),
            "6: Storage.Kind = \"azure\" is not available in this version; choose another",
        ),
        (with("", "Kind = 'S3'", ""), "6: Storage.Kind: did you mean \"s3\"?"),
        (
            with("", "", "[Upload]\nServeOnlyReady = true"),
            "8: Upload.ServeOnlyReady: it needs PreventOverwrite = true: an upload URL that may be used twice makes other bytes of what was found ready",
        ),
        (
            with(
                "AcceptForeignKeys = true",
                "",
                "[Upload]\nPreventOverwrite = true\nServeOnlyReady = true",
            ),
            "9: Upload.ServeOnlyReady: keys that other systems made have no record and are never ready: give them an app of their own, or remove AcceptForeignKeys",
        ),
        (
            with("", "", "[CORS]\nAllowedOrigins = ['*']\nAllowCredentials = true"),
            "9: CORS.AllowCredentials: credentials are for origins that are named: name them in AllowedOrigins instead of \"*\"",
        ),
        (
            with("", "", "[CORS]\nAllowedHeaders = ['X-Trace-Id', '*']"),
            "8: CORS.AllowedHeaders: write the name of a header, such as \"X-Trace-Id\"",
        ),
        (
            with("", "", "[CORS]\nMaxAge = '25h'"),
            "8: CORS.MaxAge: write whole seconds, from \"0s\" to \"24h\"",
        ),
        (
            with("", "", "[Read]\nMode = 'elsewhere'"),
            "8: Read.Mode: write \"proxy\" or \"redirect\"",
        ),
        (
            with("", "", "[Read]\nHedgeAfter = 'p100'"),
            "8: Read.HedgeAfter: \"p100\" does not say when to ask storage too: write \"off\", a percentile from \"p50\" to \"p99\", or a time such as \"80ms\"",
        ),
        (
            with("", "", "[Read]\nHedgeAfter = 'p49'"),
            "8: Read.HedgeAfter: \"p49\" does not say when to ask storage too: write \"off\", a percentile from \"p50\" to \"p99\", or a time such as \"80ms\"",
        ),
        (
            with("", "", "[Read]\nHedgeAfter = '2 s'"),
            "8: Read.HedgeAfter: \"2 s\" does not say when to ask storage too: write \"off\", a percentile from \"p50\" to \"p99\", or a time such as \"80ms\"",
        ),
        (
            with("", "", "[Read]\nHedgeAfter = '0ms'"),
            "8: Read.HedgeAfter: \"0ms\" is no wait: write \"off\", or a time above 0",
        ),
        (
            with("", "", "[Read]\nHedgeAfter = 80"),
            "8: Read.HedgeAfter: expected a string, found an integer",
        ),
        (
            with("", "", "[Read]\nOriginShare = 1.5"),
            "8: Read.OriginShare: write the share of reads, from 0 (none) to 1 (all)",
        ),
        (
            with("", "", "[Read]\nOriginShare = -0.01"),
            "8: Read.OriginShare: write the share of reads, from 0 (none) to 1 (all)",
        ),
        (
            with("", "", "[Read]\nOriginShare = nan"),
            "8: Read.OriginShare: write the share of reads, from 0 (none) to 1 (all)",
        ),
        (
            with("", "", "[Read]\nOriginShare = '1%'"),
            "8: Read.OriginShare: expected a number such as 0.01, found a string",
        ),
        (
            with("", "", "[Read]\nMemoryCacheMaxObject = '65MiB'"),
            "8: Read.MemoryCacheMaxObject: write at most \"64MiB\": such an object is read wholly before it is sent",
        ),
        (
            with("CloudFrontURL = 'https://cdn.example'", "", "[Read]\nSigningKeyPairID = 'K1'"),
            "7: Read.SigningKeyFile is missing: SigningKeyPairID and SigningKeyFile go together",
        ),
        (
            with("", "", "").replace("AccessKeyID = 'AKID'\n", ""),
            "2: Storage.AccessKeyID is missing: AccessKeyID and SecretAccessKey go together",
        ),
        (
            with("", "", "").replace("'hunter2'", "''"),
            "2: Storage.SecretAccessKey is missing: AccessKeyID and SecretAccessKey go together",
        ),
        (
            with("", "", "")
                .replace("'hunter2'", "'hunter2\\n'")
                .replace("'hunter2\\n'", "\"hunter2\\n\""),
            "5: Storage.SecretAccessKey: the secret holds a space, a line break or another character that no credential has",
        ),
        (
            with("", "", "").replace("'hunter2'", "'env:AWS_SECRET_ACCESS_KEY'"),
            "5: Storage.SecretAccessKey: the names of this app's variables begin with SAFELIGHT_APP_SHOP_",
        ),
        (
            with("", "", "").replace("'hunter2'", "'file:../other/key'"),
            "5: Storage.SecretAccessKey: name a file in {SecretsDir}/shop/, without '..' or a leading '/'",
        ),
        (
            with("", "", "").replace("'media'", "'me/dia'"),
            "3: Storage.Bucket: a bucket's name is 3 to 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends",
        ),
        (
            with("", "", "").replace("'media'", "'media.example'"),
            "2: Storage.Bucket has a '.', and Amazon's certificates do not cover such host names; write PathStyle = true",
        ),
        (
            with("", "Region = 'x.evil.example/'", ""),
            "6: Storage.Region: a region is letters, digits and '-', such as \"eu-central-1\"",
        ),
        (
            with("", "KeyPrefix = '/images'", ""),
            "6: Storage.KeyPrefix: a prefix does not begin with '/'",
        ),
        (
            with("CloudFrontPathPrefix = 'a/../b'", "", ""),
            "1: CloudFrontPathPrefix: a prefix has no empty, '.' or '..' segments",
        ),
        (
            with("CloudFrontURL = 'http://d1.cloudfront.net'", "", ""),
            "1: CloudFrontURL: the URL must begin with https:// (plain http is for hosts in Server.AllowedUpstreamNetworks)",
        ),
        (
            with("CloudFrontURL = 'd1.cloudfront.net'", "", ""),
            "1: CloudFrontURL: this is not a URL (relative URL without a base); write it like \"https://host.example\"",
        ),
        (
            with("CloudFrontURL = 'https://u:p@d1.cloudfront.net'", "", ""),
            "1: CloudFrontURL: the URL must not hold a user name or a password",
        ),
        (
            with("CloudFrontURL = 'https://d1.cloudfront.net/images'", "", ""),
            "1: CloudFrontURL: the URL must not have a path: prefixes have keys of their own",
        ),
        (
            with("CloudFrontURL = 'https://d1.cloudfront.net?x'", "", ""),
            "1: CloudFrontURL: the URL must not have a query or a fragment",
        ),
        (
            with("CloudFrontURL = 'https://2130706433'", "", ""),
            "1: CloudFrontURL: 127.0.0.1 is a loopback address, which needs Server.AllowLoopbackUpstreams = true",
        ),
        (
            with("", "Endpoint = 'https://[::ffff:10.0.0.1]'", ""),
            "6: Storage.Endpoint: 10.0.0.1 is not a public address: it must lie in Server.AllowedUpstreamNetworks",
        ),
        (
            with("", "Endpoint = 'https://metadata.google.internal'", ""),
            "6: Storage.Endpoint: metadata.google.internal is a cloud's metadata address, which is never allowed",
        ),
        (
            with("PublicBaseURL = 'http://m.example'", "", ""),
            "1: PublicBaseURL: the URL must begin with https://; write it like \"https://media.example.com\"",
        ),
        (
            with("", "", "[Upload]\nAllowedTypes = ['image/jpg']"),
            "8: Upload.AllowedTypes: unknown type \"image/jpg\"; did you mean \"image/jpeg\"?",
        ),
        (
            with("", "", "[Upload]\nAllowedTypes = []"),
            "8: Upload.AllowedTypes: the list is empty: leave the key out to allow every type but SVG",
        ),
        (
            with("", "", "[Upload]\nAllowedTypes = ['image/png', 'image/png']"),
            "8: Upload.AllowedTypes: the list names a type twice",
        ),
        (with("", "", "[Upload]\nMaxBytes = '0B'"), "8: Upload.MaxBytes: write more than 0"),
        (
            with("", "", "[Upload]\nMaxBytes = '20M'"),
            "8: Upload.MaxBytes: \"20M\" is not a size: write a whole number and one of B, KB, MB, GB, KiB, MiB, GiB, TiB, such as \"20MiB\"",
        ),
        (
            with("", "", "[Upload]\nURLExpiry = '1500ms'"),
            "8: Upload.URLExpiry: write whole seconds, at least \"1s\"",
        ),
        (
            with("", "", "[Upload]\nSessionExpiry = '1m'"),
            "8: Upload.SessionExpiry: a session is not shorter than URLExpiry",
        ),
        (
            with("", "", "[RateLimit]\nPerApp = '60/m'"),
            "8: RateLimit.PerApp is a section, not a string",
        ),
        (
            with("", "", "[RateLimit]\nPerApp = { Rate = '60/min', Burst = 1 }"),
            "8: RateLimit.PerApp.Rate: \"60/min\" is no rate: a rate is a whole number, '/', and s, m or h, for example \"60/m\"",
        ),
        (
            with("", "", "[Read]\nCacheControl = \"a\\r\\nSet-Cookie: x\""),
            "8: Read.CacheControl: write the value of a header: visible ASCII characters",
        ),
        (
            with("", "", "[Read]\nStallTimeout = '0s'"),
            "8: Read.StallTimeout: write a time from \"1ms\" to \"5m\"",
        ),
        (
            with("", "", "[CORS]\nAllowedOrigins = ['https://Example.com/']"),
            "8: CORS.AllowedOrigins: this is not an origin; did you mean \"https://example.com\"?",
        ),
        (
            with("", "", "[CORS]\nAllowedOrigins = ['null']"),
            "8: CORS.AllowedOrigins: write \"*\", or an origin such as \"https://www.example.com\"",
        ),
    ] {
        let errors = parse(&text).unwrap_err();
        assert_eq!(errors, [format!("apps.d/shop.toml:{expected}")], "{text}");
        assert!(!errors[0].contains("hunter2"));
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let text = "Keepnames = 1\n[Storage]\nBucket = ''\nRegion = 1\n[Upload]\nMaxBytes = 'x'\nRequireSize = 'yes'";
    let errors = parse(text).unwrap_err();
    let lines: Vec<_> = errors.iter().map(|told| told.split(':').nth(1).unwrap()).collect();
    // The bucket and the credentials are missing in the section that begins in line 2.
    assert_eq!(lines, ["1", "2", "2", "4", "6", "7"]);
}

#[test]
fn what_the_operator_allows_is_allowed() {
    let endpoint = |url: &str| with("", &format!("Endpoint = '{url}'"), "");
    for (policy, url, path_style) in [
        (policy(true, &[]), "http://127.0.0.1:8333", true),
        (policy(true, &[]), "http://localhost:8333", true),
        (policy(false, &["10.0.0.0/8"]), "http://10.1.1.1:3900", true),
        (policy(false, &["10.0.0.0/8"]), "https://10.1.1.1", true),
        (policy(false, &["10.0.0.0/8"]), "http://garage.internal:3900", true),
    ] {
        let app = parse_under(&policy, &endpoint(url)).unwrap();
        let StorageKind::S3(access) = app.storage.kind else { panic!("s3 is the default") };
        assert_eq!(access.path_style, path_style, "{url}");
        assert!(parse(&endpoint(url)).is_err(), "{url}");
    }
    let virtual_host =
        endpoint("http://127.0.0.1:1").replace("[Storage]", "[Storage]\nPathStyle = false");
    assert_eq!(
        parse_under(&policy(true, &[]), &virtual_host).unwrap_err(),
        [
            "apps.d/shop.toml:7: Storage.PathStyle = false puts the bucket into the host name, and Storage.Endpoint has an IP address; write PathStyle = true"
        ]
    );
}

/// The sample shows every key; the required ones aside, with the default.
#[test]
fn the_sample_is_the_default() {
    let sample = include_str!("../../apps.d/example.toml.sample");
    let secrets = tempfile::tempdir().unwrap();
    std::fs::create_dir(secrets.path().join("example")).unwrap();
    std::fs::write(secrets.path().join("example/secret-access-key"), "hunter2\n").unwrap();
    let policy = AddressPolicy::default();
    let context = context(&policy, secrets.path());
    let name = AppName::parse("example").unwrap();
    let read = |text: &str| read_app(&name, "sample", text, &[], &context);
    let app = read(sample).unwrap();
    let least = read(&with("", "", "").replace("'media'", "'example-media'")).unwrap();
    assert_eq!(format!("{app:?}"), format!("{least:?}"));

    // What is known in each section is in the sample, but for what cannot be set to anything yet.
    for section in ["", "[Storage]", "[Upload]", "[RateLimit]", "[Read]", "[CORS]"] {
        let errors = read(&format!("{section}\nNonsense = 1")).unwrap_err();
        let told: Vec<_> = errors.iter().filter_map(|error| error.hint.as_deref()).collect();
        let list = told.iter().find_map(|hint| hint.strip_prefix("known here: ")).unwrap();
        let absent = ["Identity", "Account", "Container", "AccountKey"];
        for key in list.split(", ").filter(|key| !absent.contains(key)) {
            assert!(sample.contains(key), "the sample lacks {key} in {section}");
        }
    }
}

/// A gateway's secrets: the app shop has a service account's key file, and two that lead elsewhere.
fn secrets_of_google() -> tempfile::TempDir {
    let secrets = tempfile::tempdir().unwrap();
    std::fs::create_dir(secrets.path().join("shop")).unwrap();
    let key = include_str!("../../tests/keys/service-account.json");
    let of_type = |kind: &str| key.replace("\"service_account\"", &format!("\"{kind}\""));
    std::fs::write(secrets.path().join("shop/key.json"), key).unwrap();
    let elsewhere = of_type("external_account");
    std::fs::write(secrets.path().join("shop/elsewhere.json"), elsewhere).unwrap();
    let impersonated = of_type("impersonated_service_account");
    std::fs::write(secrets.path().join("shop/impersonated.json"), impersonated).unwrap();
    std::fs::write(secrets.path().join("operator.json"), key).unwrap();
    secrets
}

#[test]
fn google_needs_a_key_file_of_the_apps_own() {
    let secrets = secrets_of_google();
    let read = |policy: &AddressPolicy, storage: &str| {
        let text = format!("[Storage]\nKind = 'gcs'\nBucket = 'media'\n{storage}");
        let name = AppName::parse("shop").unwrap();
        let context = context(policy, secrets.path());
        read_app(&name, "shop.toml", &text, &[], &context)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (strict, dev) = (policy(false, &[]), policy(true, &["10.0.0.0/8"]));

    let app = read(&strict, "CredentialsFile = 'key.json'\nKeyPrefix = 'images/'").unwrap();
    let StorageKind::Gcs(access) = app.storage.kind else { panic!("it is gcs") };
    let GcsAccount::Own(account) = access.account else { panic!("it has a key") };
    assert_eq!(account.client_email(), "gateway@safelight-tests.iam.gserviceaccount.com");
    assert_eq!((access.endpoint, app.storage.key_prefix.as_str()), (None, "images/"));
    let emulator = read(&dev, "Endpoint = 'http://127.0.0.1:4443'").unwrap();
    let StorageKind::Gcs(access) = emulator.storage.kind else { panic!("it is gcs") };
    assert!(matches!(access.account, GcsAccount::Nobody));

    for (policy, storage, expected) in [
        (
            &strict,
            "CredentialsFile = '../operator.json'",
            "shop.toml:4: Storage.CredentialsFile: name a file in {SecretsDir}/shop/, without '..' or a leading '/'",
        ),
        (
            &strict,
            "CredentialsFile = 'elsewhere.json'",
            "shop.toml:4: Storage.CredentialsFile: credentials of the type external_account name places to ask for a token, and no app's file may send the gateway anywhere: use the key file of a service account, or let the operator grant the app the process's own credentials",
        ),
        (
            &strict,
            "CredentialsFile = 'impersonated.json'",
            "shop.toml:4: Storage.CredentialsFile: credentials of the type impersonated_service_account name places to ask for a token, and no app's file may send the gateway anywhere: use the key file of a service account, or let the operator grant the app the process's own credentials",
        ),
        (
            &dev,
            "CredentialsFile = 'key.json'\nEndpoint = 'http://10.1.1.1'",
            "shop.toml:5: Storage.Endpoint: the URL must begin with https://: requests carry a token",
        ),
        (
            &strict,
            "CredentialsFile = 'key.json'\nRegion = 'us-east-1'",
            "shop.toml:5: unknown key \"Region\" in [Storage]; known here: Account, Container, AccountKey, Kind, Bucket, KeyPrefix, Endpoint, CredentialsFile",
        ),
    ] {
        let errors = read(policy, storage).unwrap_err();
        assert_eq!(errors, [expected], "{storage}");
    }
}

#[test]
fn google_without_a_key_file_needs_a_grant_for_google() {
    let shop = AppName::parse("shop").unwrap();
    let grant = |bucket: &str, endpoint: Option<&str>| Grant {
        app: shop.clone(),
        bucket: bucket.into(),
        endpoint: endpoint.map(str::to_owned),
    };
    let grants = Grants::from_iter([
        grant("media", Some("https://storage.googleapis.com")),
        grant("media", Some("http://127.0.0.1:4443")),
        grant("private", Some("https://private.googleapis.com")),
        // Of Amazon's.
        grant("other", None),
    ]);
    let dev = policy(true, &[]);
    let read = |storage: &str| {
        let text = format!("[Storage]\nKind = 'gcs'\n{storage}");
        let context = LoadContext { grants: &grants, ..context(&dev, Path::new("/nowhere")) };
        let app = read_app(&shop, "shop.toml", &text, &[], &context);
        let app =
            app.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        assert!(!app.uses_aws_process_credentials());
        let is_granted = app.uses_google_process_credentials();
        let StorageKind::Gcs(access) = app.storage.kind else { panic!("it is gcs") };
        assert_eq!(is_granted, matches!(access.account, GcsAccount::Process));
        Ok::<_, Vec<String>>(is_granted)
    };
    for storage in [
        "Bucket = 'media'",
        "Bucket = 'media'\nEndpoint = 'https://storage.googleapis.com:443/'",
        "Bucket = 'media'\nEndpoint = 'http://127.0.0.1:4443'",
        "Bucket = 'private'\nEndpoint = 'https://private.googleapis.com'",
    ] {
        assert_eq!(read(storage), Ok(true), "{storage}");
    }
    assert_eq!(read("Bucket = 'media'\nEndpoint = 'http://127.0.0.1:4444'"), Ok(false), "nobody");
    let refusal = "shop.toml:1: Storage.CredentialsFile is missing: the app is not granted the \
                   process's own credentials; name the key file of a service account, or let the \
                   operator add to the settings: [[Grants]] with App = \"shop\", ";
    for (storage, entry) in [
        ("Bucket = 'other'", "Bucket = \"other\", Endpoint = \"https://storage.googleapis.com\""),
        ("Bucket = 'medi'", "Bucket = \"medi\", Endpoint = \"https://storage.googleapis.com\""),
        (
            "Bucket = 'media'\nEndpoint = 'https://private.googleapis.com'",
            "Bucket = \"media\", Endpoint = \"https://private.googleapis.com\"",
        ),
    ] {
        assert_eq!(read(storage), Err(vec![format!("{refusal}{entry}")]), "{storage}");
    }
}

/// A restricted distribution's keys: both or none, from the app's own secrets, of a kind that
/// CloudFront knows, and never told.
#[test]
fn requests_to_the_cdn_are_signed_with_a_key_of_the_apps_secrets() {
    let secrets = tempfile::tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/cloudfront");
    std::fs::create_dir(secrets.path().join("shop")).unwrap();
    for name in ["p256.pkcs8.pem", "rsa-3072.pkcs8.pem"] {
        std::fs::copy(keys.join(name), secrets.path().join("shop").join(name)).unwrap();
    }
    std::fs::write(secrets.path().join("operator.pem"), "hunter2").unwrap();
    let name = AppName::parse("shop").unwrap();
    let policy = policy(false, &[]);
    let context = context(&policy, secrets.path());
    let read = |url: &str, lines: &str| {
        let text = with(&format!("CloudFrontURL = '{url}'"), "", &format!("[Read]\n{lines}"));
        read_app(&name, "shop.toml", &text, &[], &context)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let cdn = "https://d111111abcdef8.cloudfront.net";
    let both = "SigningKeyPairID = 'K2JCJMDEHXQW5F'\nSigningKeyFile = 'p256.pkcs8.pem'";
    let app = read(cdn, both).unwrap();
    let printed = format!("{app:?}");
    assert!(app.cdn.unwrap().keys.is_some());
    assert!(!printed.contains("K2JCJ") && !printed.contains("PRIVATE"), "{printed}");
    let neither = read(cdn, "SigningKeyPairID = ''\nSigningKeyFile = ''").unwrap();
    assert!(neither.cdn.unwrap().keys.is_none());

    let together = "is missing: SigningKeyPairID and SigningKeyFile go together";
    for (url, lines, expected) in [
        (cdn, &*both.replace("K2JCJMDEHXQW5F", ""), format!("7: Read.SigningKeyPairID {together}")),
        (cdn, &both.replace("p256.pkcs8.pem", ""), format!("7: Read.SigningKeyFile {together}")),
        (
            cdn,
            &both.replace("K2JC", "k2jc"),
            "8: Read.SigningKeyPairID: write the id of the public key as CloudFront shows it: \
             upper-case letters and digits, such as \"K2JCJMDEHXQW5F\""
                .to_owned(),
        ),
        (
            cdn,
            &both.replace("p256", "rsa-3072"),
            "9: Read.SigningKeyFile: CloudFront takes RSA keys of 2048 bits and ECDSA keys on \
             P-256: make one with `openssl ecparam -name prime256v1 -genkey -noout`"
                .to_owned(),
        ),
        (
            cdn,
            &both.replace("p256.pkcs8.pem", "../operator.pem"),
            "9: Read.SigningKeyFile: name a file in {SecretsDir}/shop/, without '..' or a leading '/'"
                .to_owned(),
        ),
        (
            "",
            both,
            "8: Read.SigningKeyPairID: there is no CloudFrontURL whose requests could be signed"
                .to_owned(),
        ),
    ] {
        assert_eq!(read(url, lines).unwrap_err(), [format!("shop.toml:{expected}")], "{lines}");
    }
}

fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let policy = policy(true, &[]);
    let (apps, errors) = load_apps(dir.path(), &context(&policy, Path::new("/nowhere")));
    let prefix = format!("{}/", dir.path().display());
    let told = |error: &ConfigError| error.to_string().replace(&prefix, "");
    let told = errors.iter().map(told).collect();
    (dir, apps.iter().map(|app| app.name.to_string()).collect(), told)
}

#[test]
fn every_toml_file_is_an_app() {
    let good = |prefix: &str| with("", &format!("KeyPrefix = '{prefix}/'"), "");
    let (dir, apps, errors) = directory(&[
        ("b.toml", &good("b")),
        ("a-1.toml", &good("a")),
        ("bad.toml", "[Storage"),
        ("Shop_1.toml", &good("x")),
        (".hidden.toml", "x"),
        ("example.toml.sample", "x"),
        ("README.md", "x"),
    ]);
    assert_eq!(apps, ["a-1", "b"]);
    assert_eq!(errors.len(), 2);
    assert_eq!(
        errors[0],
        "Shop_1.toml: \"Shop_1\" is the name of no app: an app name is 1 to 63 characters of a-z, 0-9 \
         and '-', beginning with a letter or a digit; rename the file: its name is the name of the app"
    );
    assert!(errors[1].starts_with("bad.toml:1: this is not TOML: "), "{}", errors[1]);

    let nowhere = dir.path().join("none");
    let policy = AddressPolicy::default();
    let (apps, errors) = load_apps(&nowhere, &context(&policy, &nowhere));
    assert!(
        apps.is_empty() && errors[0].to_string().contains("none: cannot be read: No such file")
    );
}

/// As Kubernetes mounts a ConfigMap.
#[test]
fn links_to_files_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("..2026")).unwrap();
    std::fs::write(dir.path().join("..2026/shop.toml"), with("", "", "")).unwrap();
    std::os::unix::fs::symlink("..2026", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/shop.toml", dir.path().join("shop.toml")).unwrap();
    let policy = AddressPolicy::default();
    let (apps, errors) = load_apps(dir.path(), &context(&policy, Path::new("/nowhere")));
    assert_eq!((apps.len(), errors), (1, vec![]));
}

#[test]
fn no_two_apps_share_a_part_of_a_bucket() {
    let at = |prefix: &str, more: &str| with("", &format!("KeyPrefix = '{prefix}'\n{more}"), "");
    let peer = |port: u16| format!("Endpoint = 'http://127.0.0.1:{port}'");
    for (a, b, overlaps) in [
        (at("", ""), at("", ""), true),
        (at("", ""), at("images/", ""), true),
        (at("images/", ""), at("images/2026/", ""), true),
        (at("images", ""), at("images2/", ""), true),
        (at("images/", ""), at("images2/", ""), false),
        (at("a/", ""), at("b/", ""), false),
        (at("", ""), at("", "").replace("'media'", "'other'"), false),
        (at("", "Region = 'us-west-2'"), at("", ""), true),
        (at("", "Endpoint = 'https://s3.us-east-1.amazonaws.com'"), at("", ""), true),
        (at("", &peer(1)), at("", &peer(1)), true),
        (at("", &peer(1)), at("", &peer(2)), false),
        (at("", &peer(1)), at("", ""), false),
        (at("", &peer(1)), "[Storage]\nKind = 'embedded'\nBucket = 'media'".to_owned(), false),
    ] {
        let (_dir, apps, errors) = directory(&[
            ("a.toml", &a),
            ("b.toml", &b),
            ("c.toml", &at("elsewhere/", "Endpoint = 'https://c.example'")),
        ]);
        let expected: &[&str] = if overlaps { &["c"] } else { &["a", "b", "c"] };
        assert_eq!(apps, expected, "{a}\n{b}");
        assert_eq!(errors.len(), if overlaps { 2 } else { 0 }, "{errors:?}");
    }
    let (_dir, _, errors) = directory(&[("a.toml", &at("", "")), ("b.toml", &at("x/", ""))]);
    assert_eq!(
        errors[1],
        "b.toml:2: the bucket \"media\" with the prefix \"x/\" overlaps with a.toml, which has the prefix \"\" there; \
         give each app a KeyPrefix of its own, such as \"my-app/\""
    );
}

#[test]
fn a_neighbours_variables_are_not_ones_own() {
    let named = |name: &str| with("", &format!("KeyPrefix = '{name}/'"), "");
    let thief = named("my").replace("'hunter2'", "'env:SAFELIGHT_APP_MY_APP_KEY'");
    let (_dir, apps, errors) = directory(&[("my.toml", &thief), ("my-app.toml", "broken = ")]);
    assert!(apps.is_empty());
    assert_eq!(
        errors[0],
        "my.toml:5: Storage.SecretAccessKey: SAFELIGHT_APP_MY_APP_KEY belongs to the app my-app: choose another name"
    );
}

proptest! {
    #[test]
    fn no_file_is_too_strange(text in "(?s).{0,300}") {
        let _ = parse(&text);
    }

    /// Right keys with wrong values of every kind.
    #[test]
    fn no_value_is_too_strange(
        key in prop::sample::select(vec![
            "CloudFrontURL", "CloudFrontPathPrefix", "PublicBaseURL", "Visibility", "Storage",
            "Storage.Kind", "Storage.Bucket", "Storage.Region", "Storage.Endpoint",
            "Storage.KeyPrefix", "Storage.AccessKeyID", "Upload.AllowedTypes", "Upload.MaxBytes",
            "Upload.URLExpiry", "RateLimit.PerOwner", "RateLimit.PerOwner.Rate", "Read.OriginShare",
            "Read.CacheControl", "CORS.AllowedOrigins", "Identity", "\"\"",
        ]),
        value in prop_oneof![
            "'[^'\\p{C}]{0,40}'",
            "'https?://[a-z0-9.:@/?#\\[\\]%-]{0,30}'",
            "\\['[^'\\p{C}]{0,20}', 1\\]",
            "-?[0-9]{1,25}",
            Just("nan".to_owned()), Just("{}".to_owned()), Just("[[]]".to_owned()),
            Just("1979-05-27".to_owned()), Just("true".to_owned()),
        ],
    ) {
        let _ = parse(&format!("{key} = {value}"));
    }
}
