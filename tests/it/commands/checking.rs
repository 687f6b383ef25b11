//! `safelight check`, and that `serve` refuses what it refuses.

use std::path::Path;

use serde_json::{Value, json};

use super::Files;
use crate::harness::program::{Ended, run, run_with};

/// `EX_CONFIG` of sysexits.h: init systems do not restart a process that says it.
const BAD_CONFIGURATION: Option<i32> = Some(78);

fn check(files: &Files) -> Ended {
    run(&["check", "--config", &files.settings()])
}

/// Both commands must refuse with one line that has all of these.
#[track_caller]
fn assert_refused(files: &Files, expected: &[&str]) {
    for command in ["check", "serve"] {
        let ended = run(&[command, "--config", &files.settings()]);
        assert_eq!(ended.code, BAD_CONFIGURATION, "{command}: {ended:?}");
        assert_eq!(ended.stdout, "", "{command}");
        let is_told = ended.stderr.lines().any(|line| expected.iter().all(|e| line.contains(e)));
        assert!(is_told, "{command}: no line has all of {expected:?}:\n{}", ended.stderr);
    }
}

#[test]
fn good_files() {
    let files = Files::good();
    let ended = check(&files);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("app shop: ok"), "{}", ended.stdout);
    assert!(!files.path("data/safelight.db").exists(), "check changes nothing");
}

#[test]
fn limits_that_are_not_in_force_are_told() {
    let files = Files::good();
    let note = "Server.TrustedProxies is not set";
    let ended = check(&files);
    assert!(ended.code == Some(0) && ended.stdout.contains(note), "{ended:?}");
    files.replace("safelight.toml", "[Server]", "[Server]\nTrustedProxies = []");
    let ended = check(&files);
    assert!(ended.code == Some(0) && !ended.stdout.contains(note), "{ended:?}");
}

#[test]
fn the_settings_may_come_from_the_environment() {
    let files = Files::good();
    let settings = files.settings();
    let by_variable = run_with(&["check"], &[("SAFELIGHT_CONFIG", &settings)]);
    assert_eq!(by_variable.code, Some(0), "{by_variable:?}");

    let bad = run_with(
        &["check", "--config", &settings],
        &[("SAFELIGHT__SERVER__MAXURLEXPIRY", "\"soon\"")],
    );
    assert_eq!(bad.code, BAD_CONFIGURATION);
    assert!(bad.stderr.contains("SAFELIGHT__SERVER__MAXURLEXPIRY"), "{}", bad.stderr);
}

#[test]
fn a_misspelt_key_is_told_with_its_place_and_the_nearest_one() {
    let files = Files::good();
    files.replace("apps.d/shop.toml", "AllowPublicUpload", "AllowPublicUploads");
    let text = std::fs::read_to_string(files.path("apps.d/shop.toml")).unwrap();
    let line = text.lines().position(|line| line.starts_with("AllowPublicUploads")).unwrap() + 1;
    let place = format!("apps.d/shop.toml:{line}: ");
    assert_refused(&files, &[&place, "AllowPublicUploads", "did you mean", "AllowPublicUpload"]);
}

#[test]
fn bad_settings() {
    for (from, to, expected) in [
        ("[Server]", "[Servr]", &["safelight.toml:", "Servr", "Server"][..]),
        ("PublicBaseURL = \"https://media.test\"", "", &["safelight.toml", "PublicBaseURL"]),
        ("[Records]", "[TLS]\n[Records]", &["safelight.toml:", "TLS"]),
        ("Listen = \"127.0.0.1:0\"", "Listen = \"here\"", &["safelight.toml:", "Listen"]),
        ("[Keys]", "[Keys", &["safelight.toml:", "TOML"]),
    ] {
        let files = Files::good();
        files.replace("safelight.toml", from, to);
        assert_refused(&files, expected);
    }
}

#[test]
fn bad_apps() {
    for (from, to, expected) in [
        ("Kind = \"s3\"", "Kind = \"s4\"", &["shop.toml:", "Storage.Kind", "s3"][..]),
        ("Kind = \"s3\"", "Kind = \"azure\"", &["shop.toml:", "azure"]),
        ("Bucket = \"nowhere\"", "", &["shop.toml:", "Bucket"]),
        (
            "Endpoint = \"http://127.0.0.1:1\"",
            "Endpoint = \"http://169.254.169.254\"",
            &["shop.toml:", "Endpoint"],
        ),
        (
            "[Storage]",
            "CloudFrontURL = \"https://me:pw@cdn.example\"\n[Storage]",
            &["shop.toml:", "CloudFrontURL"],
        ),
        ("\"no-secret\"", "\"env:HOME\"", &["shop.toml:", "SAFELIGHT_APP_SHOP_"]),
        ("\"no-secret\"", "\"file:../other/secret\"", &["shop.toml:", "SecretAccessKey"]),
        ("\"no-secret\"", "\"file:absent\"", &["shop.toml:", "absent"]),
    ] {
        let files = Files::good();
        files.replace("apps.d/shop.toml", from, to);
        assert_refused(&files, expected);
    }
}

/// What a provider cannot do is refused here, and not found out by somebody's photo.
#[test]
fn what_a_provider_does_not_have() {
    let elsewhere = "Endpoint = \"http://127.0.0.1:1\"";
    let at = |endpoint: &str, more: &str| format!("Endpoint = \"{endpoint}\"\n{more}");
    let b2 = "https://s3.us-west-004.backblazeb2.com";
    let once = "[Upload]\nPreventOverwrite = true";
    for (to, expected) in [
        (
            at(b2, once),
            &["shop.toml:", "Upload.PreventOverwrite", "Backblaze B2", "write false"][..],
        ),
        (
            format!("{elsewhere}\nProvider = \"garage\"\n{once}"),
            &["shop.toml:", "Upload.PreventOverwrite", "Garage", "write false"],
        ),
        (
            at(b2, "Provider = \"minio\""),
            &["shop.toml:", "Storage.Provider", "Backblaze B2", "\"b2\""],
        ),
        (at(b2, "Region = \"us-east-1\""), &["shop.toml:", "Storage.Region", "us-west-004"]),
        (
            at("https://0123abcd.r2.cloudflarestorage.com", "Region = \"weur\""),
            &["shop.toml:", "Storage.Region", "Cloudflare R2", "\"auto\""],
        ),
        (
            format!("{elsewhere}\nProvider = \"minoi\""),
            &["shop.toml:", "Storage.Provider", "did you mean", "minio"],
        ),
        (
            "Provider = \"garage\"".to_owned(),
            &["shop.toml:", "Storage.Provider", "write the Endpoint"],
        ),
    ] {
        let files = Files::good();
        // At the end of `[Storage]`, where another section may begin.
        files.replace("apps.d/shop.toml", elsewhere, "");
        files.replace("apps.d/shop.toml", "Region = \"us-east-1\"", "");
        let text = std::fs::read_to_string(files.path("apps.d/shop.toml")).unwrap();
        files.write("apps.d/shop.toml", &format!("{text}\n{to}\n"));
        assert_refused(&files, expected);
    }
}

#[test]
fn two_apps_on_one_part_of_a_bucket() {
    let files = Files::good();
    let text = std::fs::read_to_string(files.path("apps.d/shop.toml")).unwrap();
    files.write("apps.d/other.toml", &text);
    assert_refused(&files, &["apps.d/shop.toml:", "other"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let files = Files::good();
    files.replace("apps.d/shop.toml", "AllowPublicUpload = true", "AllowPublicUpload = 1");
    files.replace("apps.d/shop.toml", "Bucket = \"nowhere\"", "Bucket = \"Nowhere!\"");
    files.write("apps.d/other.toml", "nonsense");
    let ended = check(&files);
    assert_eq!(ended.code, BAD_CONFIGURATION);
    for expected in ["AllowPublicUpload", "Bucket", "other.toml:1"] {
        assert!(ended.stderr.contains(expected), "{expected}:\n{}", ended.stderr);
    }
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.ends_with("errors in the configuration"), "{last}");
}

#[test]
fn the_same_for_programs() {
    let json = |files: &Files| {
        let ended = run(&["check", "--format", "json", "--config", &files.settings()]);
        assert_eq!(ended.stderr, "", "{ended:?}");
        let told: Value = serde_json::from_str(&ended.stdout).unwrap();
        (ended.code, told)
    };
    let files = Files::good();
    assert_eq!(json(&files), (Some(0), json!([])));

    files.replace("apps.d/shop.toml", "AllowPublicUpload = true", "AllowPublicUploads = true");
    files.write("apps.d/other.toml", "\n[Storage]\nBucket = 1");
    let (code, told) = json(&files);
    assert_eq!(code, BAD_CONFIGURATION);
    let shop = files.path("apps.d/shop.toml");
    let text = std::fs::read_to_string(&shop).unwrap();
    let line = text.lines().position(|line| line.starts_with("AllowPublicUploads")).unwrap() + 1;
    let errors = told.as_array().unwrap();
    assert!(
        errors.contains(&json!({"file": shop, "line": line, "column": 1,
            "key": "AllowPublicUploads", "message": "unknown key \"AllowPublicUploads\"",
            "hint": "did you mean \"AllowPublicUpload\"?"})),
        "{told:#}"
    );
    assert!(
        errors.contains(&json!({"file": files.path("apps.d/other.toml"), "line": 3, "column": 10,
            "key": "Storage.Bucket", "message": "Storage.Bucket: expected a string, found an integer",
            "hint": null})),
        "{told:#}"
    );

    // What only shows when the apps are built has no line, and the file all the same.
    let files = Files::with_app("[Storage]\nKind = \"embedded\"\nBucket = \"media\"");
    let (code, told) = json(&files);
    assert_eq!(code, BAD_CONFIGURATION);
    assert_eq!(told[0]["file"], json!(files.path("apps.d/shop.toml")), "{told:#}");
    assert_eq!(told.as_array().unwrap().len(), 1, "{told:#}");

    files.replace("safelight.toml", "[Server]", "[Servr]");
    let (code, told) = json(&files);
    assert_eq!(code, BAD_CONFIGURATION);
    assert!(told.as_array().unwrap().iter().any(|error| error["key"] == "Servr"), "{told:#}");
}

#[test]
fn schemas_are_printed_as_they_are_committed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (arguments, path) in [
        (&["schema"][..], "apps.d/app.schema.json"),
        (&["schema", "--settings"], "safelight.schema.json"),
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert_eq!(ended.stdout, std::fs::read_to_string(root.join(path)).unwrap(), "{path}");
    }
}

#[test]
fn files_that_are_not_there() {
    let files = Files::good();
    let absent = files.path("absent.toml");
    let ended = run(&["check", "--config", absent.to_str().unwrap()]);
    assert_eq!(ended.code, BAD_CONFIGURATION);
    assert!(ended.stderr.contains("absent.toml"), "{}", ended.stderr);

    std::fs::remove_dir_all(files.path("apps.d")).unwrap();
    assert_refused(&files, &["apps.d", "Server.AppsDir"]);
}

#[test]
fn no_message_tells_a_secret() {
    let files = Files::good();
    files.replace("apps.d/shop.toml", "\"no-secret\"", "\"sekret\\u0001value\"");
    files.replace("safelight.toml", "mint-secret-of-the-tests-0123456789abcdef", "short-sekret");
    let ended = check(&files);
    assert_eq!(ended.code, BAD_CONFIGURATION);
    assert!(!ended.stderr.contains("sekret"), "{}", ended.stderr);
}
