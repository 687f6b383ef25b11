//! Bodies, in memory and in the kernel, and what a server may do around them.

use std::pin::Pin;
use std::task::Poll;

use tokio::task::coop::{has_budget_remaining, poll_proceed};

use super::*;
use crate::zero_copy::{Chunk, Chunks as _};

/// Its body can be told from any other one, and from itself moved.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

/// Reads a body as it is passed on; with it, how many of its bytes were never in this process.
async fn pass_on(mut body: Body) -> (Vec<u8>, usize, Option<BodyError>) {
    let (mut bytes, mut piped) = (Vec::new(), 0);
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_chunk(cx)).await {
            None => return (bytes, piped, None),
            Some(Err(error)) => return (bytes, piped, Some(error)),
            Some(Ok(chunk)) => {
                if let Chunk::InKernel(_) = chunk {
                    piped += chunk.len();
                }
                bytes.extend(chunk.into_bytes().unwrap());
            }
        }
    }
}

fn counted(body: &[u8]) -> Act {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    Act::Write([head.as_bytes(), body].concat())
}

#[tokio::test]
async fn a_large_body_stays_in_the_kernel() {
    let large = pattern(3_000_000);
    let script = vec![vec![counted(&large)], vec![counted(&large)], vec![text(HELLO)]];
    let server = Scripted::start(vec![script]).await;
    let client = client();
    // Over the same connection: there is no other.
    for _ in 0..2 {
        let (bytes, piped, error) =
            pass_on(send(&client, &server).await.unwrap().into_body()).await;
        assert_eq!((bytes == large, error), (true, None));
        assert!(piped >= large.len() - 2 * 16 * 1024, "{piped}");
    }
    let (bytes, piped, error) = pass_on(send(&client, &server).await.unwrap().into_body()).await;
    assert_eq!((&bytes[..], piped, error), (&b"hello"[..], 0, None));
}

#[tokio::test]
async fn what_has_no_length_or_is_small_is_read() {
    let large = pattern(100_000);
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186A0\r\n",
        &large[..],
        b"\r\n0\r\n\r\n",
    ];
    let to_the_end = [b"HTTP/1.1 200 OK\r\n\r\n", &large[..]].concat();
    for (act, expected) in [
        (Act::Write(chunked.concat()), &large[..]),
        (Act::Write(to_the_end), &large[..]),
        (counted(&large[..15_000]), &large[..15_000]),
    ] {
        let server = Scripted::start(vec![vec![vec![act, Act::Close]]]).await;
        let answer = send(&client(), &server).await.unwrap();
        let (bytes, piped, error) = pass_on(answer.into_body()).await;
        assert_eq!((bytes == expected, piped, error), (true, 0, None));
    }
}

#[tokio::test]
async fn a_body_that_breaks_in_the_kernel_tells_how() {
    let large = pattern(1_000_000);
    let Act::Write(whole) = counted(&large) else { unreachable!() };
    let cut = Act::Write(whole[..500_000].to_vec());
    let server = Scripted::start(vec![vec![vec![cut, Act::Close]]]).await;
    let answer = send(&client(), &server).await.unwrap();
    let (bytes, piped, error) = pass_on(answer.into_body()).await;
    assert_eq!(error, Some(BodyError::Short));
    assert_eq!((large.starts_with(&bytes), piped > 0), (true, true));
}

#[tokio::test]
async fn without_a_pipe_a_large_body_is_read() {
    let large = pattern(300_000);
    let server = Scripted::start(vec![vec![vec![counted(&large)], vec![counted(&large)]]]).await;
    let client = client();
    let mut held = Vec::new();
    let (sender, receiver) = std::os::unix::net::UnixStream::pair().unwrap();
    // Every pipe there may be, each with something in it.
    loop {
        std::io::Write::write_all(&mut &sender, b"x").unwrap();
        match client.pool.pipes().fill(&receiver, 1) {
            Some(piped) => held.push(piped.unwrap()),
            None => break,
        }
    }
    let (bytes, piped, error) = pass_on(send(&client, &server).await.unwrap().into_body()).await;
    assert_eq!((bytes == large, piped, error), (true, 0, None));
    drop(held);
    let (bytes, piped, error) = pass_on(send(&client, &server).await.unwrap().into_body()).await;
    assert_eq!((bytes == large, piped > 0, error), (true, true, None));
}

/// Who answers before the question has ended is heard; what comes next on that connection could be the
/// rest of the question's answer, so there is nothing next.
#[tokio::test]
async fn an_answer_before_the_end_of_the_question() {
    let no = text("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nhello");
    let script = vec![vec![vec![no, Act::Wait]], vec![vec![text(HELLO)]]];
    let server = Scripted::start(script).await;
    let client = client();
    // More than the sockets between them hold.
    let large = Request::put("/").body(Bytes::from(vec![0; 32 << 20])).unwrap();
    let answer = client.send(&server.origin, large, &PATIENT).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(read(answer.into_body()).await.unwrap(), "hello");
    let answer = send(&client, &server).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), read(answer.into_body()).await.unwrap()),
        (200, HELLO[HELLO.len() - 5..].into())
    );
}

/// Nobody reads extensions and trailers, and nobody waits for them without an end.
#[tokio::test]
async fn framing_without_data_has_an_end() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = "x".repeat(20 << 10);
    let extended = |extension: &str| format!("{head}5;{extension}\r\nhello\r\n0\r\n\r\n");
    let trailing =
        |lines: usize| format!("{head}5\r\nhello\r\n0\r\n{}\r\n", "a: b\r\n".repeat(lines));
    // However small its chunks are, a body is mostly framing of its own.
    let tiny = format!("{head}{}0\r\n\r\n", "001\r\nh\r\n".repeat(10_000));
    for (name, answer, expected) in [
        ("an extension", extended("a=b"), Ok("hello".to_owned())),
        ("a long one", extended(&long), Err(BodyError::Protocol)),
        ("trailers", trailing(3), Ok("hello".to_owned())),
        ("many", trailing(4_000), Err(BodyError::Protocol)),
        ("tiny chunks", tiny, Ok("h".repeat(10_000))),
    ] {
        let server = Scripted::start(vec![vec![vec![text(&answer)]]]).await;
        let read = read(send(&client(), &server).await.unwrap().into_body()).await;
        assert_eq!(read, expected.map(Bytes::from), "{name}");
    }
}

#[tokio::test]
async fn interim_answers_have_an_end() {
    for (interim, is_taken) in [(1, true), (16, true), (17, false)] {
        let answer =
            ["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(interim), HELLO.to_owned()].concat();
        let server = Scripted::start(vec![vec![vec![text(&answer)]]]).await;
        match send(&client(), &server).await {
            Ok(answer) => {
                assert!(is_taken, "{interim}");
                assert_eq!(read(answer.into_body()).await.unwrap(), "hello");
            }
            Err(error) => {
                assert!(!is_taken && matches!(error, SendError::Protocol(_)), "{interim}: {error}");
            }
        }
    }
}

/// A server may begin its answer before it has the whole question, and wait for the rest.
#[tokio::test]
async fn the_question_goes_on_while_its_answer_is_read() {
    const LENGTH: usize = 32 << 20;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(read_head(&mut stream).await);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        stream.read_exact(&mut vec![0; LENGTH]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        // The connection is good for another one.
        assert!(read_head(&mut stream).await);
        stream.write_all(HELLO.as_bytes()).await.unwrap();
    });
    let (client, origin) = (client(), Origin::from_url(&url.parse().unwrap()).unwrap());
    let large = Request::put("/").body(Bytes::from(vec![0; LENGTH])).unwrap();
    for request in [large, get()] {
        let answer = client.send(&origin, request, &PATIENT).await.unwrap();
        assert_eq!(read(answer.into_body()).await.unwrap(), "hello");
    }
}

/// More than was promised is never the next answer, however busy the task is that asks.
#[tokio::test]
async fn what_follows_a_body_is_not_the_next_answer() {
    for is_busy in [false, true] {
        let body = pattern(100_000);
        let Act::Write(mut bytes) = counted(&body) else { unreachable!() };
        bytes.extend(HELLO.replace("hello", "wrong").as_bytes());
        let script = vec![vec![vec![Act::Write(bytes)]], vec![vec![text(HELLO)]]];
        let server = Scripted::start(script).await;
        let client = client();
        let first = send(&client, &server).await.unwrap().into_body();
        assert!(pass_on(first).await.0 == body);
        if is_busy {
            // A task without budget is told that nothing has come.
            std::future::poll_fn(|cx| {
                while has_budget_remaining()
                    && let Poll::Ready(proceeding) = poll_proceed(cx)
                {
                    proceeding.made_progress();
                }
                Poll::Ready(())
            })
            .await;
        }
        let second = send(&client, &server).await.unwrap().into_body();
        assert_eq!(read(second).await.unwrap(), "hello", "{is_busy}");
    }
}
