//! Files with a secret where none belongs: what is told of them does not repeat it.

use crate::harness::gateway::{Setup, offline_app_file};
use crate::harness::program::run_with;

/// What must not be repeated, whatever it is part of.
const SECRET: &str = "Sk8-misplaced-Qx2";

fn settings(more: &str) -> Setup {
    Setup::with_app("shop", offline_app_file("", "")).and_settings(more)
}

fn app(head: &str, storage: &str) -> Setup {
    Setup::with_app("shop", offline_app_file(head, storage))
}

#[test]
fn no_message_repeats_a_secret_in_a_wrong_place() {
    let s = SECRET;
    let key = &format!("-----BEGIN PRIVATE KEY-----\n{s}\n-----END PRIVATE KEY-----");
    let json = &format!("{{\"type\": \"service_account\", \"private_key\": \"{s}\", \"x\": {s}}}");
    let cases = [
        // Under a name that is none, of a type that is none, or without quotes.
        ("a misspelt key", app("", &format!("SecretAccesKey = \"{s}\""))),
        ("a misspelt section", app("", &format!("[Strage]\nSecretAccessKey = \"{s}\""))),
        ("a list", app("", &format!("SessionToken = [\"{s}\"]"))),
        ("a table", app("", &format!("SessionToken = {{ Value = \"{s}\" }}"))),
        ("no quotes", app("", &format!("SessionToken = {s}"))),
        ("half a string", app("", &format!("SessionToken = \"{s}"))),
        ("a control character", app("", &format!("SessionToken = \"{s}\\u0001\""))),
        // Where something else belongs.
        ("a region", app("", &format!("[Read]\nSigningKeyPairID = \"{s}\""))),
        ("a type", app("", &format!("Provider = \"{s}\""))),
        ("a CDN's URL", app(&format!("CloudFrontURL = \"https://key:{s}@cdn.example\""), "")),
        ("a URL's query", app(&format!("CloudFrontURL = \"https://cdn.example/?k={s}\""), "")),
        ("no URL", app(&format!("CloudFrontURL = \"{s}\""), "")),
        ("a public URL", app(&format!("PublicBaseURL = \"https://{s}:{s}@media.example\""), "")),
        ("a variable's name", app("", &format!("SessionToken = \"env:{s}\""))),
        ("an origin", app("", &format!("[CORS]\nAllowedOrigins = [\"https://u:{s}@a.example\"]"))),
        // What a file of secrets holds.
        (
            "a broken key",
            app(
                "CloudFrontURL = \"https://cdn.example\"",
                "[Read]\nSigningKeyPairID = \"K1\"\nSigningKeyFile = \"key\"",
            )
            .and_secret("shop/key", key),
        ),
        (
            "a broken account",
            Setup::with_app(
                "shop",
                "[Storage]\nKind = \"gcs\"\nBucket = \"media\"\nCredentialsFile = \"key\"",
            )
            .and_secret("shop/key", json),
        ),
        ("several lines", app("", "SessionToken = \"file:key\"").and_secret("shop/key", key)),
        // The settings.
        ("a short secret", settings(&format!("[Events.Push.Webhook]\nSecret = \"{s}\""))),
        ("a database's password", settings(&format!("Records.URL = \"postgres://me:{s}@db/x\""))),
        (
            "a queue's password",
            settings(&format!("[Events]\nSQSQueueURL = \"https://u:{s}@q.example/1/q\"")),
        ),
        (
            "an address of keys",
            settings(&format!("[Events.Push.PubSub]\nJWKSURL = \"https://u:{s}@k.example\"")),
        ),
        ("an unknown setting", settings(&format!("[Events.Push.Webhok]\nSecret = \"{s}\""))),
        (
            "a number",
            settings(&format!("[Events.Push.PubSub]\nAudience = 1\nServiceAccount = \"{s}\"")),
        ),
    ];
    for (what, setup) in cases {
        let (_folder, path) = setup.files();
        for format in ["text", "json"] {
            let arguments = ["check", "--format", format, "--config", path.to_str().unwrap()];
            let ended = run_with(&arguments, &[("SAFELIGHT_LOG", "trace")]);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert_eq!(ended.code, Some(78), "{what}: {said}");
            assert!(!said.contains(SECRET), "{what}: {said}");
        }
    }
}

#[test]
fn no_message_repeats_a_secret_of_the_environment() {
    let (_folder, path) = settings("").files();
    for (what, variable) in [
        ("too short", "SAFELIGHT__KEYS__MINTSECRETS"),
        ("misspelt", "SAFELIGHT__KEYS__MINTSECRET"),
        ("of no section", "SAFELIGHT__SECRET"),
        ("of another type", "SAFELIGHT__SERVER__ALLOWLOOPBACKUPSTREAMS"),
        ("no address", "SAFELIGHT__SERVER__LISTEN"),
        ("no database", "SAFELIGHT__RECORDS__URL"),
    ] {
        let arguments = ["check", "--config", path.to_str().unwrap()];
        let ended = run_with(&arguments, &[(variable, SECRET)]);
        assert_eq!(ended.code, Some(78), "{what}: {ended:?}");
        assert!(ended.stderr.contains(variable), "{what}: {ended:?}");
        assert!(!format!("{ended:?}").contains(SECRET), "{what}: {ended:?}");
    }
}
