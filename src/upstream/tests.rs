//! The client against a scripted server on a raw socket.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{AddressPolicy, Body, BodyError, Client, Origin, Repeatable, SendError, Timeouts};

const PATIENT: Timeouts =
    Timeouts { connect: Duration::from_secs(10), first_byte: Duration::from_secs(10) };

/// A server that answers each request on each connection with the next script of a list, and tells
/// when a connection was closed by the client.
struct Scripted {
    origin: Origin,
    closed: mpsc::UnboundedReceiver<usize>,
}

/// What the server does when it has read a request head.
#[derive(Clone)]
enum Act {
    Write(Vec<u8>),
    Close,
    Reset,
    /// Waits until the client closes.
    Wait,
}

fn text(text: &str) -> Act {
    Act::Write(text.as_bytes().to_vec())
}

impl Scripted {
    /// One list of acts per connection, in the order in which they are accepted; one act list
    /// element per request, a request may take several acts.
    async fn start(connections: Vec<Vec<Vec<Act>>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (report, closed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for (number, script) in connections.into_iter().enumerate() {
                let (stream, _) = listener.accept().await.unwrap();
                let report = report.clone();
                tokio::spawn(async move {
                    serve(stream, script).await;
                    let _ = report.send(number);
                });
            }
        });
        Self { origin: Origin::from_url(&url.parse().unwrap()).unwrap(), closed }
    }
}

async fn serve(mut stream: TcpStream, script: Vec<Vec<Act>>) {
    for acts in script {
        if !read_head(&mut stream).await {
            return;
        }
        for act in acts {
            match act {
                Act::Write(bytes) => stream.write_all(&bytes).await.unwrap(),
                Act::Close => return,
                Act::Reset => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                Act::Wait => {}
            }
        }
    }
    read_head(&mut stream).await;
}

/// Reads a request head; false if the client closed instead.
async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

fn client() -> Client {
    Client::new(AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }).unwrap()
}

fn get() -> Request<Full<Bytes>> {
    Request::get("/photo").body(Full::default()).unwrap()
}

async fn read(body: Body) -> Result<Bytes, BodyError> {
    body.collect().await.map(http_body_util::Collected::to_bytes)
}

async fn send(client: &Client, server: &Scripted) -> Result<http::Response<Body>, SendError> {
    client.send(&server.origin, get(), &PATIENT).await
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_connection_is_used_again_after_its_body_was_read() {
    let server = Scripted::start(vec![vec![vec![text(HELLO)], vec![text(HELLO)]]]).await;
    let client = client();
    for _ in 0..2 {
        let response = send(&client, &server).await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_chunked_body_gives_its_connection_back_too() {
    let chunked =
        text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let server = Scripted::start(vec![vec![vec![chunked.clone()], vec![chunked]]]).await;
    let client = client();
    for _ in 0..2 {
        let response = send(&client, &server).await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn only_what_may_be_sent_twice_goes_over_a_connection_that_may_be_dead() {
    let says = |body: &str| vec![text(&HELLO.replace("hello", body))];
    let (first, second) = (vec![says("first"); 3], vec![says("other")]);
    let server = Scripted::start(vec![first, second]).await;
    let client = client();
    let post = |repeatable: bool| {
        let mut request = get();
        *request.method_mut() = http::Method::POST;
        if repeatable {
            request.extensions_mut().insert(Repeatable);
        }
        request
    };
    for (request, connection) in [(get(), "first"), (post(true), "first"), (post(false), "other")] {
        let response = client.send(&server.origin, request, &PATIENT).await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), connection);
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection() {
    let endless = text("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning");
    let mut server =
        Scripted::start(vec![vec![vec![endless, Act::Wait]], vec![vec![text(HELLO)]]]).await;
    let client = client();
    let response = send(&client, &server).await.unwrap();
    drop(response);
    assert_eq!(server.closed.recv().await, Some(0), "the server sees the hang-up");
    let response = send(&client, &server).await.unwrap();
    assert_eq!(read(response.into_body()).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_pooled_connection_that_the_server_closed_is_replaced() {
    for ending in [Act::Close, Act::Reset] {
        // The first connection dies upon the second request, the moment that no pool can foresee.
        let server =
            Scripted::start(vec![vec![vec![text(HELLO)], vec![ending]], vec![vec![text(HELLO)]]])
                .await;
        let client = client();
        for _ in 0..2 {
            let response = send(&client, &server).await.unwrap();
            assert_eq!(read(response.into_body()).await.unwrap(), "hello");
        }
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_are_never_the_next_answer() {
    let stray = text(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
    );
    let server = Scripted::start(vec![vec![vec![stray]], vec![vec![text(HELLO)]]]).await;
    let client = client();
    for _ in 0..2 {
        let response = send(&client, &server).await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn failures_before_the_head() {
    type Expect = fn(&SendError) -> bool;
    let head_of = |size: usize| {
        text(&format!(
            "HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(size)
        ))
    };
    let cases: [(&str, Act, Expect); 11] = [
        ("close", Act::Close, |e| matches!(e, SendError::Closed(_))),
        ("reset", Act::Reset, |e| matches!(e, SendError::Reset(_))),
        ("not HTTP", text("SSH-2.0-OpenSSH_9.2\r\n\r\n"), |e| matches!(e, SendError::Protocol(_))),
        ("a head over 32 KiB", head_of(33 * 1024), |e| matches!(e, SendError::Protocol(_))),
        (
            "two lengths",
            text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            |e| matches!(e, SendError::Protocol(_)),
        ),
        (
            "length and chunks",
            text(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            |e| matches!(e, SendError::Protocol(_)),
        ),
        (
            "chunks and length",
            text(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            ),
            |e| matches!(e, SendError::Protocol(_)),
        ),
        (
            "a coding that ends with the connection",
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello"),
            |e| matches!(e, SendError::Protocol(_)),
        ),
        (
            "a coding within the chunks",
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            |e| matches!(e, SendError::Protocol(_)),
        ),
        (
            "chunks twice",
            text(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            |e| matches!(e, SendError::Protocol(_)),
        ),
        ("half a head", text("HTTP/1.1 200 OK\r\nConte"), |e| matches!(e, SendError::Closed(_))),
    ];
    for (name, act, expected) in cases {
        let server = Scripted::start(vec![vec![vec![act, Act::Close]]]).await;
        let error = send(&client(), &server).await.err().expect(name);
        assert!(expected(&error), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_limit() {
    let server = Scripted::start(vec![vec![vec![Act::Wait]]]).await;
    let timeouts = Timeouts { first_byte: Duration::from_millis(20), ..PATIENT };
    let error = client().send(&server.origin, get(), &timeouts).await.err().unwrap();
    assert!(matches!(error, SendError::FirstByteTimeout), "{error:?}");
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let origin = Origin::from_url(&url.parse().unwrap()).unwrap();
    let error = client().send(&origin, get(), &PATIENT).await.err().unwrap();
    assert!(matches!(error, SendError::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn forbidden_addresses_are_refused_before_connecting() {
    let server = Scripted::start(vec![]).await;
    let strict = Client::new(AddressPolicy::default()).unwrap();
    let error = strict.send(&server.origin, get(), &PATIENT).await.err().unwrap();
    assert!(matches!(error, SendError::Forbidden(_)), "{error:?}");
    assert!(AddressPolicy::default().check(IpAddr::from(Ipv4Addr::LOCALHOST)).is_err());
}

#[tokio::test]
async fn a_broken_body_is_an_error_that_tells_how() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let bad_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
    let cut_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    for (name, acts, expected) in [
        ("short", vec![text(head), Act::Close], BodyError::Short),
        ("bad chunk", vec![text(bad_chunk), Act::Wait], BodyError::Protocol),
        ("cut chunk", vec![text(cut_chunk), Act::Close], BodyError::Short),
    ] {
        let server = Scripted::start(vec![vec![acts]]).await;
        let response = send(&client(), &server).await.unwrap();
        assert_eq!(read(response.into_body()).await, Err(expected), "{name}");
    }
}

#[tokio::test]
async fn a_reset_in_the_body_is_told_from_a_short_one() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (go, wait) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
        // A reset throws away what the other side has not read yet, so it waits for that.
        wait.await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let origin = Origin::from_url(&url.parse().unwrap()).unwrap();
    let response = client().send(&origin, get(), &PATIENT).await.unwrap();
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "hello");
    go.send(()).unwrap();
    assert_eq!(body.frame().await.unwrap().err(), Some(BodyError::Reset));
}
