//! The client against a scripted server on a raw socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::dial::Dialer;
use super::guard::AddressClass;
use super::pool::Pool;
use super::{AddressPolicy, Body, BodyError, Client, Origin, Repeatable, SendError, Timeouts};

mod bodies;

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

fn get() -> Request<Bytes> {
    Request::get("/photo").body(Bytes::new()).unwrap()
}

async fn read(body: Body) -> Result<Bytes, BodyError> {
    body.collect().await.map(http_body_util::Collected::to_bytes)
}

async fn send(client: &Client, server: &Scripted) -> Result<http::Response<Body>, SendError> {
    client.send(&server.origin, get(), &PATIENT).await
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_small_body_is_discarded_and_its_connection_used_again() {
    let no = text("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnever");
    let server = Scripted::start(vec![vec![vec![no], vec![text(HELLO)]]]).await;
    let client = client();
    send(&client, &server).await.unwrap().into_body().discard();
    // There is no second connection that would be answered.
    let answer = send(&client, &server).await.unwrap().into_body();
    assert_eq!(read(answer).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_would_have_to_be_waited_for_is_discarded_with_its_connection() {
    let large = format!("HTTP/1.1 404 Not Found\r\nContent-Length: 60000\r\n\r\n{:60000}", "");
    let half = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhe".to_owned();
    for first in [large, half] {
        let script = vec![vec![vec![text(&first), Act::Wait]], vec![vec![text(HELLO)]]];
        let mut server = Scripted::start(script).await;
        let client = client();
        send(&client, &server).await.unwrap().into_body().discard();
        assert_eq!(server.closed.recv().await, Some(0));
        let answer = send(&client, &server).await.unwrap().into_body();
        assert_eq!(read(answer).await.unwrap(), "hello");
    }
}

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
        ("close", Act::Close, |e| matches!(e, SendError::Closed)),
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
        ("half a head", text("HTTP/1.1 200 OK\r\nConte"), |e| matches!(e, SendError::Closed)),
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

/// A client for which every name means what the n-th list says when it is looked up for the n-th
/// time, and counts how often that was.
fn resolving(lists: Vec<Vec<IpAddr>>, policy: AddressPolicy) -> (Client, Arc<AtomicUsize>) {
    let (lists, looked_up) = (Mutex::new(lists.into_iter()), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&looked_up);
    let dialer = Dialer::new(Some(policy)).unwrap().with_lookup(move |_, port| {
        counter.fetch_add(1, Ordering::SeqCst);
        let list = lists.lock().unwrap().next().expect("no more lookups are expected");
        Ok(list.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    });
    (Client { dialer: Arc::new(dialer), pool: Pool::start() }, looked_up)
}

fn loopback_allowed() -> AddressPolicy {
    AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }
}

/// The same server by a name.
fn named(server: &Scripted) -> Origin {
    let url = format!("http://cdn.test:{}", server.origin.port());
    Origin::from_url(&url.parse().unwrap()).unwrap()
}

/// A name that led somewhere harmless when it was looked at is judged again by what it means at
/// each connection (DNS rebinding).
#[tokio::test]
async fn a_name_is_judged_at_every_connection() {
    let close = HELLO.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    for inside in ["169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "fd00:ec2::254", "100.64.0.1"]
    {
        let server = Scripted::start(vec![vec![vec![text(&close)]]]).await;
        let lists = vec![vec![here], vec![inside.parse().unwrap()]];
        let (client, looked_up) = resolving(lists, loopback_allowed());
        let origin = named(&server);
        let answer = client.send(&origin, get(), &PATIENT).await.unwrap();
        assert_eq!(read(answer.into_body()).await.unwrap(), "hello");
        let error = client.send(&origin, get(), &PATIENT).await.err().unwrap();
        assert!(matches!(error, SendError::Forbidden(_)), "{inside}: {error:?}");
        assert_eq!(looked_up.load(Ordering::SeqCst), 2, "{inside}");
    }
}

/// Of several addresses only those are tried that are allowed.
#[tokio::test]
async fn an_allowed_address_does_not_let_others_through() {
    let server = Scripted::start(vec![vec![vec![text(HELLO)]]]).await;
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mixed = ["10.0.0.1", "169.254.169.254", "::ffff:192.168.0.1"].map(|ip| ip.parse().unwrap());
    let lists = vec![[&mixed[..], &[here]].concat(), mixed.to_vec()];
    let (client, _) = resolving(lists, loopback_allowed());
    let answer = client.send(&named(&server), get(), &PATIENT).await.unwrap();
    drop(answer);
    let error = client.send(&named(&server), get(), &PATIENT).await.err().unwrap();
    assert!(matches!(error, SendError::Forbidden(_)), "{error:?}");
}

/// A name that leads to this machine needs `AllowLoopbackUpstreams`, over TLS too.
#[tokio::test]
async fn a_name_of_this_machine_is_loopback() {
    for (scheme, ip) in
        [("http", "127.0.0.1"), ("https", "127.0.0.1"), ("https", "0.0.0.0"), ("https", "::")]
    {
        let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap()).to_vec();
        let policy = AddressPolicy { allow_loopback: false, allowed_networks: everywhere };
        let (client, _) = resolving(vec![vec![ip.parse().unwrap()]], policy);
        let origin = Origin::from_url(&format!("{scheme}://cdn.test:1").parse().unwrap()).unwrap();
        match client.send(&origin, get(), &PATIENT).await.err() {
            Some(SendError::Forbidden(forbidden)) => {
                assert_eq!(forbidden.class, AddressClass::Loopback, "{scheme} {ip}");
            }
            other => panic!("{scheme} {ip}: {other:?}"),
        }
    }
}

/// What a server answers leads nowhere: a redirect is an answer like any other.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let redirect = "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/latest\r\n\
                    Content-Length: 0\r\n\r\n";
    let server = Scripted::start(vec![vec![vec![text(redirect)]]]).await;
    let (client, looked_up) =
        resolving(vec![vec![IpAddr::from(Ipv4Addr::LOCALHOST)]], loopback_allowed());
    let answer = client.send(&named(&server), get(), &PATIENT).await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(looked_up.load(Ordering::SeqCst), 1);
}

/// What was connected under one policy is used by no client with another.
#[tokio::test]
async fn a_connection_is_kept_for_the_client_that_opened_it() {
    let server = Scripted::start(vec![vec![vec![text(HELLO)], vec![text(HELLO)]]]).await;
    let open = client();
    read(send(&open, &server).await.unwrap().into_body()).await.unwrap();
    let strict = Client::new(AddressPolicy::default()).unwrap();
    let error = send(&strict, &server).await.err().unwrap();
    assert!(matches!(error, SendError::Forbidden(_)), "{error:?}");
    read(send(&open, &server).await.unwrap().into_body()).await.unwrap();
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
