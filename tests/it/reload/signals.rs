//! SIGHUP, to the program itself; and what the log says of a reload.

use std::fs;

use super::{ask, file, reloads, shop};
use crate::harness::program::Program;

#[tokio::test]
async fn a_hangup_reads_everything_again_and_says_what_needs_a_restart() {
    let (folder, settings) = shop().files();
    let mut program = Program::serve(&settings, &[]);
    program.addresses();
    let read = |outcome: &'static str| {
        move |line: &serde_json::Value| {
            line["message"] == "the apps' files were read" && line["outcome"] == outcome
        }
    };
    program.hang_up();
    program.wait_for_line("nothing has changed", read("unchanged"));

    let path = folder.path().join("apps.d/shop.toml");
    fs::write(&path, file("").replace("Region", "Regoin")).unwrap();
    program.hang_up();
    let refused = program.wait_for_line("why it is refused", |line| line["level"] == "ERROR");
    assert_eq!(refused["message"], "a file is refused: the app goes on as it was");
    let told = refused["error"].as_str().unwrap();
    assert!(told.starts_with(&format!("{}:7: unknown key", path.display())), "{told}");
    program.wait_for_line("the outcome", read("refused"));

    fs::write(&path, file("")).unwrap();
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{text}\n[Sweeper]\nGrace = \"2h\"\n")).unwrap();
    program.hang_up();
    let told = program.wait_for("the settings have changed: restart to put them into force");
    assert_eq!(told["section"], "Sweeper");

    fs::write(&settings, "nonsense").unwrap();
    program.hang_up();
    program.wait_for("the settings are bad: a restart would fail");
    program.terminate();
    assert_eq!(program.ended().code, Some(0));
}

/// An app that comes later may be the first to need the process's own credentials.
#[tokio::test]
async fn credentials_of_the_process_are_found_when_the_first_app_needs_them() {
    let grant =
        "[[Grants]]\nApp = \"cloud\"\nBucket = \"granted\"\nEndpoint = \"http://127.0.0.1:1\"\n";
    let environment = [("AWS_ACCESS_KEY_ID", "AKIDPROCESS"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let gateway = shop().and_settings(grant).serve(&environment);
    let cloud = "AllowPublicUpload = true\n[Storage]\nBucket = \"granted\"\n\
                 Endpoint = \"http://127.0.0.1:1\"\n";
    gateway.write_app("cloud", cloud);
    gateway.until_live("cloud", cloud).await;
    let answer = ask(&gateway, "cloud").await;
    answer.assert_success();
    assert!(answer.text().contains("AKIDPROCESS"), "{}", answer.text());
    assert_eq!(gateway.metrics().await.value(&reloads("ok")), 1.0);
}
