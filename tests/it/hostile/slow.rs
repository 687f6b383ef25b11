//! Clients that take their time. Each of these waits for a limit of the gateway's to run out; none
//! measures it.

use std::time::Duration;

use super::*;

/// Sends a byte every now and then, until the server has something to say.
async fn answer_while_dripping(
    gateway: &TestGateway,
    begin: &str,
    drip: &str,
) -> (RawAnswer, bool) {
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(begin).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            answer = raw.answer() => {
                let answer = answer.expect("an answer");
                return (answer, raw.is_closed().await);
            }
            _ = ticks.tick() => {}
        }
        raw.send(drip).await;
    }
}

#[tokio::test]
async fn heads_and_bodies_that_do_not_end() {
    let gateway = gateway().await;
    let length = presign_head("Content-Length: 4000\r\n");
    let chunked = presign_head("Transfer-Encoding: chunked\r\n");
    let dripping = [
        ("a request line", "GET /", "x"),
        ("headers", "GET / HTTP/1.1\r\nHost: h\r\n", "X-A: b\r\n"),
        ("a head that stands still", "GET / HTTP/1.1\r\nHost: h\r\n", ""),
        ("a counted body", &length, " "),
        ("a body that stands still", &length, ""),
        ("a chunked body", &chunked, "1\r\n \r\n"),
        ("the size of a chunk", &chunked, "0"),
    ];
    let answers = dripping.map(|(_, begin, drip)| answer_while_dripping(&gateway, begin, drip));
    let answers = futures_util::future::join_all(answers).await;
    for ((why, ..), (answer, is_closed)) in dripping.iter().zip(answers) {
        let expected = (408, "request_timeout".to_owned(), "close");
        assert_eq!((answer.status, answer.code(), answer.header("connection")), expected, "{why}");
        assert!(is_closed, "{why}: the connection is still open");
    }
    assert_healthy(&gateway).await;
}

/// Nobody has asked for anything: there is nothing to answer, and an answer could be taken for that
/// to the next request.
#[tokio::test]
async fn idle_connections_are_closed_without_a_word() {
    let setup = Setup::with_app("shop", offline_app_file("", ""));
    let gateway = setup.and_server("IdleTimeout = \"1s\"").start().await;
    let mut silent = Raw::connect(&gateway.base).await;
    let mut used = Raw::connect(&gateway.base).await;
    used.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(used.answer().await.expect("an answer").status, 404);
    let mut interrupted = Raw::connect(&gateway.base).await;
    interrupted.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\nGET /nowh").await;
    assert_eq!(interrupted.answer().await.expect("an answer").status, 404);

    assert!(used.is_closed().await);
    // One that is in the middle of a request is not idle.
    interrupted.send("ere HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(interrupted.answer().await.expect("an answer").status, 404);
    assert!(interrupted.is_closed().await);
    assert!(silent.is_closed().await);
}
