//! `safelight serve` from its start to its end.

use http::Method;
use serde_json::Value;

use super::Files;
use crate::harness::gateway::{PUBLIC_BASE, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::program::{Program, run};
use crate::harness::raw::Raw;
use crate::harness::slow_cdn::{FIRST_HALF, PATIENT_READ, SlowCdn};

async fn get(url: String) -> Answer {
    Plain::new(Method::GET, url).send().await
}

fn healthcheck(admin: &str) -> (Option<i32>, String) {
    let ended = run(&["healthcheck", "--admin", admin.strip_prefix("http://").unwrap()]);
    (ended.code, ended.stderr)
}

async fn presigned(base: &str) -> Value {
    let answer = Plain::new(Method::POST, format!("{base}/darkroom/shop/v1/images/presigned-urls"))
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(r#"{"file":"a.jpg"}"#)
        .send()
        .await;
    answer.assert_success();
    answer.json()["data"].clone()
}

/// A gateway with a read in the middle of its body.
struct Busy {
    cdn: SlowCdn,
    program: Program,
    admin: String,
    reader: Raw,
    _files: Files,
}

impl Busy {
    async fn start() -> Self {
        let cdn = SlowCdn::start().await;
        let head = format!("CloudFrontURL = \"{}\"", cdn.url);
        let files = Files::with_app(&offline_app_file(&head, PATIENT_READ));
        let mut program = Program::serve(&files.path("safelight.toml"), &[]);
        let (base, admin) = program.addresses();
        let data = presigned(&base).await;
        let path = data["publicURL"].as_str().unwrap().strip_prefix(PUBLIC_BASE).unwrap();
        let mut reader = Raw::connect(&base).await;
        reader.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(reader.head().await.expect("an answer").status, 200);
        assert!(reader.body(FIRST_HALF).await == JPEG.bytes[..FIRST_HALF]);
        Self { cdn, program, admin, reader, _files: files }
    }
}

#[tokio::test]
async fn it_starts_answers_and_ends() {
    let files = Files::good();
    let mut program = Program::serve(&files.path("safelight.toml"), &[]);
    let (base, admin) = program.addresses();
    assert_eq!(healthcheck(&admin), (Some(0), String::new()));
    assert_eq!(get(format!("{admin}/readyz")).await.status, 200);
    presigned(&base).await;

    program.terminate();
    let ended = program.ended();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    for line in ended.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
    }
    let (code, why) = healthcheck(&admin);
    assert_eq!(code, Some(1));
    assert!(why.contains("not ready"), "{why}");
}

#[tokio::test]
async fn a_drain_says_so_and_lets_reads_finish() {
    let mut busy = Busy::start().await;
    busy.program.terminate();
    busy.program.wait_for("draining");
    // The signal is logged before readiness is taken back: one may be ahead of the other.
    let mut ready = get(format!("{}/readyz", busy.admin)).await;
    while ready.status == 200 {
        tokio::task::yield_now().await;
        ready = get(format!("{}/readyz", busy.admin)).await;
    }
    assert_eq!((ready.status.as_u16(), ready.text().as_str()), (503, "draining\n"));
    assert_eq!(get(format!("{}/livez", busy.admin)).await.status, 200);
    assert_eq!(healthcheck(&busy.admin).0, Some(1));

    busy.cdn.release();
    let rest = busy.reader.body(JPEG.bytes.len() - FIRST_HALF).await;
    assert!(rest == JPEG.bytes[FIRST_HALF..]);
    let ended = busy.program.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains(r#""message":"stopped""#), "{}", ended.stderr);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut busy = Busy::start().await;
    busy.program.terminate();
    busy.program.wait_for("draining");
    busy.program.terminate();
    // The read is never released: only the signal can be the reason of this end.
    let ended = busy.program.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("stopped by a second signal"), "{}", ended.stderr);
    assert!(busy.reader.is_closed().await);
}

#[tokio::test]
async fn an_address_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["Listen", "AdminListen"] {
        let files = Files::good();
        let before = format!("\n{key} = \"127.0.0.1:0\"");
        files.replace("safelight.toml", &before, &format!("\n{key} = \"{address}\""));
        let ended = run(&["serve", "--config", &files.settings()]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let event: Value = serde_json::from_str(ended.stderr.lines().last().unwrap()).unwrap();
        let text = event.to_string();
        let expected = format!("cannot listen on {address} (Server.{key})");
        assert!(text.contains(&expected), "{text}");
        assert_eq!(event["level"], "ERROR");
    }
}

/// Two processes on one database would each think that they alone write.
#[tokio::test]
async fn a_second_gateway_on_the_same_records() {
    let files = Files::good();
    let mut first = Program::serve(&files.path("safelight.toml"), &[]);
    let (base, _) = first.addresses();
    let second = run(&["serve", "--config", &files.settings()]);
    assert_eq!(second.code, Some(78), "{second:?}");
    assert!(second.stderr.contains("safelight.db"), "{}", second.stderr);
    presigned(&base).await;
}
