//! Every key that takes the URL of an upstream refuses what no file may lead to. Which keys those are
//! the reference says, so a new one is among them.

use safelight::config::ConfigError;

use super::super::configuration::{load_app, load_settings};
use super::files::{LEAST_APP, LEAST_SETTINGS, with};
use super::{APP, SETTINGS};

/// Hosts that are not public, in the spellings that have fooled others.
const FORBIDDEN: [&str; 22] = [
    "https://169.254.169.254",
    "https://[::ffff:169.254.169.254]",
    "https://metadata.google.internal",
    "https://168.63.129.16",
    "https://127.0.0.1",
    "https://127.1",
    "https://0177.0.0.1",
    "https://0x7f000001",
    "https://2130706433",
    "https://0.0.0.0",
    "https://localhost",
    "https://localhost.",
    "https://[::1]",
    "https://10.0.0.1",
    "https://192.168.0.1:8443",
    "https://100.64.0.1",
    "https://[fd00:ec2::254]",
    "https://[fe80::1]",
    "https://[64:ff9b::10.0.0.1]",
    "https://[2002:a00:1::]",
    "https://user:pa55@host.example",
    "http://host.example",
];

fn assert_refused(load: fn(&str) -> Result<String, Vec<ConfigError>>, name: &str, text: &str) {
    let errors = load(text).err().unwrap_or_default();
    let error = errors.iter().find(|error| error.key.as_deref() == Some(name));
    let error = error.unwrap_or_else(|| panic!("{name} takes it: {errors:?}\n{text}"));
    assert!(!error.to_string().contains("pa55"), "{error}");
}

#[test]
fn no_key_leads_where_none_may() {
    let mut keys = Vec::new();
    for (kind, least, load) in [
        (APP, &LEAST_APP, load_app as fn(&str) -> _),
        (SETTINGS, &LEAST_SETTINGS, load_settings as fn(&str) -> _),
    ] {
        for (name, told) in kind.told() {
            // Other URLs of the settings are the operator's own, who may keep a server anywhere.
            let is_upstream = match kind.is_overridden {
                true => told.takes.starts_with("upstream URL"),
                false => told.takes.contains("upstream URL"),
            };
            if !is_upstream {
                continue;
            }
            let in_list = name.starts_with("Grants.");
            for url in FORBIDDEN {
                assert_refused(load, &name, &with(least, &name, &format!("'{url}'"), in_list));
            }
            keys.push(name);
        }
    }
    for key in ["CloudFrontURL", "Storage.Endpoint", "Identity.Jwt.JWKS", "Grants.Endpoint"] {
        assert!(keys.iter().any(|found| found == key), "{key} is not among {keys:?}");
    }

    let google = [("Storage", "Kind", "'gcs'"), ("Storage", "Bucket", "'media'")];
    for url in FORBIDDEN {
        let text = with(&google, "Storage.Endpoint", &format!("'{url}'"), false);
        assert_refused(load_app, "Storage.Endpoint", &text);
    }
}
