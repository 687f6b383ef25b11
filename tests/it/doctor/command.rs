//! The command itself: what it prints, and its exit status.

use std::process::Command;

use safelight::doctor::Check;

use super::PAGE;
use super::buckets::bucket;
use crate::harness::gateway::{Setup, app_file};

/// Runs the command: its exit status, and what it says.
pub(super) async fn command(setup: &Setup, args: &[&str]) -> (i32, String, String) {
    let (_folder, settings) = setup.files();
    let mut command = Command::new(env!("CARGO_BIN_EXE_safelight"));
    command.arg("doctor").arg("--config").arg(&settings).args(args);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (run.status.code().expect("no signal"), text(run.stdout), text(run.stderr))
}

#[tokio::test]
async fn the_command_tells_by_its_exit_status_what_came_of_it() {
    let storage = bucket("doctor-command").await;
    let good = Setup::with_app("shop", app_file(&storage, "", ""));
    let (status, out, err) = command(&good, &["--app", "shop"]).await;
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("pass  a signed PUT is accepted"), "{out}");
    assert!(out.contains("the bucket needs no CORS configuration"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    assert!(out.contains(" passed, 0 failed, "), "{out}");

    let (status, out, _) = command(&good, &["--app", "shop", "--origin", PAGE]).await;
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("FAIL  browsers may PUT") && out.contains("fix: "), "{out}");
    assert!(out.contains("put-bucket-cors --bucket doctor-command"), "{out}");

    let (status, out, err) = command(&good, &["--app", "shop", "--format", "json"]).await;
    assert_eq!(status, 0, "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["app"], "shop");
    assert_eq!(document["provider"], "s3");
    assert_eq!(document["checks"][0]["check"], "put");
    assert_eq!(document["checks"][0]["verdict"], "pass");
    assert_eq!(document["checks"].as_array().unwrap().len(), Check::ALL.len());

    let (status, _, err) = command(&good, &["--app", "shoop"]).await;
    assert_eq!(status, 78);
    assert!(err.contains("\"shoop\"") && err.contains("has shop"), "{err}");
    let bad = Setup::with_app("shop", "Nonsense = 1");
    assert_eq!(command(&bad, &["--app", "shop"]).await.0, 78);
    assert_eq!(command(&good, &[]).await.0, 2, "the usage is told");
    let (status, _, err) = command(&good, &["--app", "shop", "--origin", "shop.example/"]).await;
    assert!(status == 2 && err.contains("https://www.example.com"), "{err}");
}
