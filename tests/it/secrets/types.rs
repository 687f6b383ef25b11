//! Types that hold secrets cannot be printed for users nor written as JSON, which the compiler holds
//! to, and show none when they are printed for debugging.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use safelight::apps::{AppConfig, LoadContext, read_app};
use safelight::cdn::{KeyPair, KeyPairId, SigningKey};
use safelight::domain::{AppName, Grants, MintSecrets, OwnerId, Secret, UploadRecord, UploadToken};
use safelight::identity::{ApiKey, IdentityConfig, UploadTokens};
use safelight::settings::{EventsSettings, KeySettings, Settings, WebhookSettings};
use safelight::storage::{
    AccessKey, GcsCredentials, S3Access, S3Config, S3Credentials, ServiceAccount, SignedRequest,
    StorageKind,
};
use safelight::traces::Collector;
use safelight::upstream::AddressPolicy;

use crate::harness::fake_gcs::KEY_FILE;

/// Does not compile if the type has the trait: then there are two answers to which `probe` is meant.
macro_rules! assert_lacks {
    ($trait:path: $($type:ty),+ $(,)?) => {$(
        const _: fn() = || {
            trait Ambiguous<Choice> {
                fn probe() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct HasTheTrait;
            impl<T: ?Sized + $trait> Ambiguous<HasTheTrait> for T {}
            <$type as Ambiguous<_>>::probe();
        };
    )+};
}

assert_lacks!(Display:
    Secret, MintSecrets, UploadToken, UploadTokens, OwnerId, UploadRecord, AccessKey, S3Access,
    S3Config, S3Credentials, StorageKind, ServiceAccount, GcsCredentials, SigningKey, KeyPair,
    KeyPairId, SignedRequest, KeySettings, WebhookSettings, EventsSettings, Settings, AppConfig,
    ApiKey, IdentityConfig, Collector,
);
assert_lacks!(serde::Serialize:
    Secret, MintSecrets, UploadToken, UploadTokens, OwnerId, UploadRecord, AccessKey, S3Access,
    S3Config, S3Credentials, StorageKind, ServiceAccount, GcsCredentials, SigningKey, KeyPair,
    KeyPairId, SignedRequest, KeySettings, WebhookSettings, EventsSettings, Settings, AppConfig,
    ApiKey, IdentityConfig, Collector,
);
// What can be read by anybody by accident.
assert_lacks!(AsRef<[u8]>: Secret);
assert_lacks!(std::ops::Deref: Secret);

#[test]
fn debug_output_of_settings_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("safelight.toml");
    let secret = "debug-Hy5r-secret-0123456789abcdef0123456789";
    let text = format!(
        "[Server]\nPublicBaseURL = 'https://media.test'\n[Keys]\nMintSecrets = ['{secret}']\n\
         SigningSecrets = ['{secret}']\n[Events.Push.Webhook]\nSecret = '{secret}'\n[Tracing]\n\
         OTLPEndpoint = 'https://c.test'\nHeaders = ['X-Key: {secret}']\n"
    );
    std::fs::write(&path, text).unwrap();
    let settings = Settings::load(Some(&path), std::iter::empty()).unwrap();
    assert!(!format!("{settings:?} {settings:#?}").contains("Hy5r"));
}

#[test]
fn debug_output_of_apps_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("shop");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("key.json"), KEY_FILE).unwrap();
    std::fs::write(secrets.join("key.pem"), crate::signed_cdn::P256).unwrap();
    let name = AppName::parse("shop").unwrap();
    let load = |text: &str| {
        let context = LoadContext {
            address_policy: &AddressPolicy::default(),
            max_url_expiry: Duration::from_secs(900),
            secrets_dir: folder.path() as &Path,
            env: &|_| Some("debug-Bw3k-secret".to_owned()),
            grants: &Grants::default(),
            trusted_proxies: None,
        };
        read_app(&name, "shop.toml", text, &[], &context).unwrap()
    };
    let s3 = load(
        "CloudFrontURL = 'https://cdn.example'\n[Storage]\nBucket = 'media'\n\
         AccessKeyID = 'env:SAFELIGHT_APP_SHOP_A'\nSecretAccessKey = 'env:SAFELIGHT_APP_SHOP_B'\n\
         SessionToken = 'env:SAFELIGHT_APP_SHOP_C'\n[Read]\nSigningKeyPairID = 'K2JCJMDEHXQW5F'\n\
         SigningKeyFile = 'key.pem'\n",
    );
    let gcs = load("[Storage]\nKind = 'gcs'\nBucket = 'media'\nCredentialsFile = 'key.json'\n");
    let shown = format!("{s3:?} {s3:#?} {gcs:?} {gcs:#?}");
    let key: serde_json::Value = serde_json::from_str(KEY_FILE).unwrap();
    let google = key["private_key"].as_str().unwrap().lines().nth(3).unwrap();
    let pem = crate::signed_cdn::P256.lines().nth(1).unwrap();
    for secret in ["Bw3k", "K2JCJMDEHXQW5F", "PRIVATE", google, pem] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
