//! What the log says, and what it must never say.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::Files;
use crate::harness::gateway::{Grant, PUBLIC_BASE, app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::{Ended, Program};
use crate::harness::seaweed::{Seaweed, key_of};

const OWNER: &str = "owner-whom-nobody-may-know";
const QUERY: &str = "query-that-nobody-may-know";

/// The answers of one upload, by the name of its route, and what it granted.
struct Story {
    answers: Vec<(&'static str, Answer)>,
    grant: Grant,
}

/// Uploads a photo, looks after it, finalizes it, reads it, and gets a few refusals.
async fn live(base: &str) -> Story {
    let local = |url: &str| url.replacen(PUBLIC_BASE, base, 1);
    let mut answers = Vec::new();
    let presign = |body: Value| {
        Plain::new(Method::POST, format!("{base}/darkroom/shop/v1/images/presigned-urls?q={QUERY}"))
            .with_header("X_Owner_Id", Some(OWNER))
            .with_body(body.to_string())
    };
    let answer = presign(json!({"file": "private-name.jpg"})).send().await;
    answer.assert_success();
    let grant = Grant(answer.json()["data"].clone());
    answers.push(("presign", answer));
    let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
    let finalize = || Plain::new(Method::POST, local(grant.text("finalizeURL")));
    let upload = |token: &str| {
        let path = format!("{base}/darkroom/shop/v1/uploads/{id}?token={token}");
        Plain::new(Method::GET, path)
    };
    let image = || Plain::new(Method::GET, local(grant.public_url()) + "?q=" + QUERY);

    answers.push(("finalize", finalize().send().await));
    grant.put(JPEG.bytes).send().await.assert_success();
    answers.push(("upload", upload(token).send().await));
    answers.push(("upload", upload("made-up").with_header("Upload-Token", Some("x")).send().await));
    answers.push(("finalize", finalize().send().await));
    let bearer = image().with_header("Authorization", Some("Bearer bearer-of-nobody"));
    answers.push(("image", bearer.with_header("X_Owner_Id", Some(OWNER)).send().await));
    answers.push(("presign", presign(json!({"file": format!("{QUERY}.exe")})).send().await));
    answers.push(("presign", presign(json!(QUERY)).send().await));
    let twice = presign(json!({"file": "a.jpg"})).with_header("X-Owner-Id", Some("another"));
    answers.push(("presign", twice.send().await));
    answers.push(("none", Plain::new(Method::GET, format!("{base}/{QUERY}")).send().await));
    Story { answers, grant }
}

async fn served(level: &str) -> (Story, Ended) {
    let storage = Seaweed::shared().await.config();
    let files = Files::with_app(&app_file(&storage, "", ""));
    let settings = files.path("safelight.toml");
    let mut program = Program::serve(&settings, &[("SAFELIGHT_LOG", level)]);
    let (base, _) = program.addresses();
    let story = live(&base).await;
    program.terminate();
    let ended = program.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    (story, ended)
}

#[tokio::test]
async fn every_answer_has_one_line_that_its_id_finds() {
    let (story, ended) = served("info").await;
    let mut lines: BTreeMap<String, Value> = BTreeMap::new();
    for line in ended.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if let Some(id) = event["request_id"].as_str() {
            let former = lines.insert(id.to_owned(), event.clone());
            assert!(former.is_none(), "two lines for one request: {line}");
        }
    }
    for (route, answer) in &story.answers {
        let id = answer.header("x-request-id");
        let line = lines.get(id).unwrap_or_else(|| panic!("{route}: no line for {id}"));
        assert_eq!(line["route"], *route, "{line}");
        assert_eq!(line["status"], answer.status.as_u16(), "{line}");
        assert_eq!(line["bytes"], answer.body.len(), "{line}");
        assert_eq!(line["outcome"], "complete", "{line}");
        assert!(line["milliseconds"].is_number() && line["method"].is_string(), "{line}");
        let app = if *route == "none" { Value::Null } else { json!("shop") };
        assert_eq!(line["app"], app, "{line}");
    }
    assert_eq!(lines.len(), story.answers.len());
    let statuses: Vec<u16> = story.answers.iter().map(|(_, a)| a.status.as_u16()).collect();
    assert_eq!(statuses, [200, 409, 200, 404, 200, 200, 400, 400, 400, 404]);
}

#[tokio::test]
async fn the_log_keeps_secrets_however_much_it_says() {
    let storage = Seaweed::shared().await.config();
    let key = key_of(&storage);
    let secret_key = key.secret_access_key.expose_str().unwrap();
    // Also where the operator asks the libraries themselves.
    let asked = "trace,aws_sigv4::http_request::sign=trace,aws_smithy_runtime::client=trace";
    for level in ["info", "trace", asked] {
        let (story, ended) = served(level).await;
        let log = ended.stderr;
        assert!(log.contains("request_id"), "there is a log");
        let grant = &story.grant;
        let upload = url::Url::parse(grant.text("uploadURL")).unwrap();
        let signature = upload.query_pairs().find(|(name, _)| name == "X-Amz-Signature").unwrap().1;
        for (what, secret) in [
            ("the owner", OWNER),
            ("a query string", QUERY),
            ("the upload token", grant.text("uploadToken")),
            ("the signature", &*signature),
            ("a signed URL", "X-Amz-"),
            ("a signed header", "AWS4-HMAC-SHA256"),
            ("a token's name", "token="),
            ("the storage's secret", secret_key),
            ("a mint secret", "mint-secret-of-the-tests"),
            ("a signing secret", "signing-secret-of-the-tests"),
            ("an authorization", "bearer-of-nobody"),
            ("the name of a file", "private-name"),
        ] {
            let line = log.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{what} is in the log at level {level}: {}", line.unwrap());
        }
    }
}
