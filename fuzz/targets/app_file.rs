//! The file of an app: what is accepted keeps to the operator's bounds, and what is refused is told on
//! one line each, without secrets.

#![no_main]

use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use safelight::apps::{AppConfig, LoadContext, ReadMode, read_app};
use safelight::domain::{AppName, Grants, TrustedProxies};
use safelight::upstream::AddressPolicy;

/// What the app's own variables hold.
const SECRET: &str = "Qm9YdEp3c2VjcmV0";
const MAX_URL_EXPIRY: Duration = Duration::from_secs(3600);

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = AddressPolicy::default();
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
    let context = LoadContext {
        address_policy: &policy,
        max_url_expiry: MAX_URL_EXPIRY,
        secrets_dir: Path::new("/nowhere"),
        env: &|name| (name == "SAFELIGHT_APP_SHOP_KEY").then(|| SECRET.to_owned()),
        grants: &Grants::default(),
        trusted_proxies: Some(&proxies),
    };
    let name = AppName::parse("shop").expect("a name");
    match read_app(&name, "shop.toml", text, &[], &context) {
        Ok(app) => accepted(&app, &policy),
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let told = error.to_string();
                assert!(!told.chars().any(char::is_control), "one line: {told:?}");
                assert!(!told.contains(SECRET), "{told}");
                let lines = text.split('\n').count();
                assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{told}");
            }
        }
    }
});

fn accepted(app: &AppConfig, policy: &AddressPolicy) {
    assert!(!format!("{app:?}").contains(SECRET));
    let upload = &app.upload;
    assert!(!upload.allowed_types.is_empty() && upload.max_bytes > 0 && upload.max_pixels > 0);
    assert!(upload.url_expiry >= Duration::from_secs(1) && upload.url_expiry <= MAX_URL_EXPIRY);
    assert!(upload.session_expiry >= upload.url_expiry);
    if upload.serve_only_ready {
        assert!(upload.prevent_overwrite && !app.accept_foreign_keys);
        assert_eq!(app.read.mode, ReadMode::Proxy);
    }
    assert!((0.0..=1.0).contains(&app.read.origin_share));
    assert!(app.read.memory_cache_max_object <= 64 << 20);
    assert!(!app.read.cache_control.as_bytes().is_empty());
    assert!((3..=63).contains(&app.storage.bucket.len()));
    assert!(app.storage.key_prefix.as_str().len() <= 100);
    if let Some(cdn) = &app.cdn {
        assert_eq!(policy.check_url(&cdn.url), Ok(()));
        assert_eq!(cdn.url.scheme(), "https");
        assert!(cdn.url.path() == "/" && cdn.url.query().is_none());
    }
    for origin in &app.cors.allowed_origins {
        assert!(origin == "*" || origin.starts_with("https://") || origin.starts_with("http://"));
    }
}
