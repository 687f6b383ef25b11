//! Connections on which nobody asks for a while, over real sockets: they sleep, and nobody notices.
//! Time is made to pass only while nothing is under way.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::certificates::{Authority, ServerFiles};
use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::http2_client::{tls, trusting};
use crate::harness::raw::Raw;

const GET: &str = "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n";

/// After this without a request a connection sleeps.
const A_WHILE: Duration = Duration::from_secs(2);

async fn gateway() -> TestGateway {
    Setup::with_app("shop", offline_app_file("", "")).start().await
}

/// Lets time pass, in no time.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}

/// A connection that was used once, and sleeps since.
async fn asleep(gateway: &TestGateway) -> Raw {
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(GET).await;
    assert_answered(&mut raw).await;
    pass(A_WHILE).await;
    raw
}

async fn assert_answered(raw: &mut Raw) {
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_route"), "{answer:?}");
    assert_eq!(answer.header("connection"), "");
}

#[tokio::test]
async fn they_wake_for_whatever_is_asked() {
    let gateway = gateway().await;
    let mut raw = asleep(&gateway).await;
    raw.send(GET).await;
    assert_answered(&mut raw).await;
    pass(A_WHILE).await;
    raw.send(GET.repeat(3)).await;
    for _ in 0..3 {
        assert_answered(&mut raw).await;
    }
    // A head in two pieces, and a body in a third.
    pass(A_WHILE).await;
    let body = r#"{"file":"a.jpg"}"#;
    let head = format!(
        "POST /darkroom/shop/v1/images/presigned-urls HTTP/1.1\r\nHost: h\r\nX_Owner_Id: owner-1\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    let (one, two) = head.split_at(30);
    raw.send(one).await;
    raw.send(two).await;
    assert_eq!(raw.head().await.expect("an interim answer").status, 100);
    raw.send(body).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
    // And an end that is asked for is one.
    pass(A_WHILE).await;
    raw.send("GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").header("connection"), "close");
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn they_wake_under_tls() {
    let authority = Authority::new();
    let files = ServerFiles::new(&authority.issue(2090));
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_settings(&files.settings()).start().await;
    let config = trusting(&authority.pem(), &["http/1.1"]);
    let mut stream = tls(&gateway, &config).await.unwrap();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the connection ended");
        }
        assert!(answer.starts_with(b"HTTP/1.1 404 "));
        pass(A_WHILE).await;
    }
    // An orderly end, which nobody can have cut.
    gateway.stop().await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn at_the_signal_they_are_closed_at_once() {
    let mut gateway = gateway().await;
    let mut raw = asleep(&gateway).await;
    let stopping = gateway.begin_to_stop(Duration::ZERO);
    assert!(raw.is_closed().await);
    stopping.await.unwrap();
}

#[tokio::test]
async fn they_do_not_sleep_for_ever() {
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_server("IdleTimeout = \"100s\"").start().await;
    let mut raw = asleep(&gateway).await;
    pass(Duration::from_secs(90)).await;
    raw.send(GET).await;
    assert_answered(&mut raw).await;
    pass(Duration::from_secs(101)).await;
    assert!(raw.is_closed().await);
}

/// This one waits for a limit of the gateway's to run out.
#[tokio::test]
async fn a_head_that_does_not_end_is_none() {
    let gateway = gateway().await;
    let mut raw = asleep(&gateway).await;
    raw.send("GET /nowhere HTTP/1.1\r\nHo").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(answer.header("connection"), "close");
    assert!(raw.is_closed().await);
}
