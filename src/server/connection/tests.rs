//! Connections that fall asleep and wake, over a pipe and in virtual time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::{ShutdownTrigger, shutdown};
use super::*;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const IDLE: Duration = Duration::from_secs(75);

/// How little hyper never reads into.
const HYPER_BUFFER_BYTES: usize = 8192;

/// More than hyper, and what is between, take at once.
const LARGE: usize = 200_000;

impl Chunks for Full<Bytes> {}

/// A stream that knows how much there was room for when it was last read, and whether it was shut
/// down in order.
struct Probe {
    stream: DuplexStream,
    room: Arc<AtomicUsize>,
    is_shut: Arc<AtomicBool>,
}

impl AsyncRead for Probe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.room.store(buffer.remaining(), Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Probe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client, and the connection that serves it.
struct Scene {
    client: DuplexStream,
    room: Arc<AtomicUsize>,
    is_shut: Arc<AtomicBool>,
    /// Lets `/late` be answered.
    late: Arc<Semaphore>,
    stop: ShutdownTrigger,
    server: JoinHandle<()>,
}

impl Scene {
    fn new() -> Self {
        Self::with(IDLE)
    }

    fn with(idle: Duration) -> Self {
        let (client, stream) = duplex(16 * 1024);
        let (room, late) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        let is_shut = Arc::<AtomicBool>::default();
        let probe = Probe { stream, room: Arc::clone(&room), is_shut: Arc::clone(&is_shut) };
        let known = Arc::clone(&late);
        let handler = move |request, _| answer(request, Arc::clone(&known));
        let (stop, stopped) = shutdown();
        let server = tokio::spawn(serve_http1(probe, None, PEER, idle, handler, stopped));
        Self { client, room, is_shut, late, stop, server }
    }

    /// One that has been answered once, and sleeps since.
    async fn asleep() -> Self {
        let mut scene = Self::new();
        assert_eq!(scene.get("/first").await, (200, "/first".into()));
        sleep(Duration::from_secs(2)).await;
        assert!(scene.is_asleep() && !scene.is_shut.load(Ordering::Relaxed));
        scene
    }

    /// Whether hyper, and its buffers, are gone.
    fn is_asleep(&self) -> bool {
        self.room.load(Ordering::Relaxed) < HYPER_BUFFER_BYTES
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(get(path)).await;
        self.answer().await
    }

    /// The next answer: its status and its body.
    async fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.client.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.client.read_exact(&mut body).await.unwrap();
        (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
    }

    /// What comes until the connection ends, and after how much time it does.
    async fn end(mut self) -> (String, Duration) {
        let begun = Instant::now();
        let mut rest = String::new();
        self.client.read_to_string(&mut rest).await.unwrap();
        let elapsed = begun.elapsed();
        self.server.await.unwrap();
        assert!(self.is_shut.load(Ordering::Relaxed), "it ends in order");
        (rest, elapsed)
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// The path, and the body that came with it.
async fn answer(request: Request<Incoming>, late: Arc<Semaphore>) -> Response<Full<Bytes>> {
    if request.extensions().get::<Refused>().is_some() {
        return response(StatusCode::REQUEST_TIMEOUT, String::new());
    }
    let mut text = request.uri().path().to_owned();
    match text.as_str() {
        "/late" => late.acquire().await.unwrap().forget(),
        "/large" => text = "x".repeat(LARGE),
        _ => {}
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    response(StatusCode::OK, text + std::str::from_utf8(&body).unwrap())
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

#[tokio::test(start_paused = true)]
async fn it_sleeps_when_nobody_asks_and_wakes_when_somebody_does() {
    let mut scene = Scene::new();
    for path in ["/a", "/b", "/c"] {
        assert_eq!(scene.get(path).await, (200, path.into()));
        sleep(Duration::from_millis(990)).await;
        assert!(!scene.is_asleep());
        sleep(Duration::from_millis(20)).await;
        assert!(scene.is_asleep());
        sleep(Duration::from_secs(50)).await;
    }
    assert!(scene.is_asleep());
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_and_again_never_meets_a_sleeper() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        assert_eq!(scene.get("/").await.0, 200);
        sleep(Duration::from_millis(900)).await;
        assert!(!scene.is_asleep());
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_first_wakes_it() {
    let mut scene = Scene::asleep().await;
    // Several at once.
    scene.send([get("/1"), get("/2"), get("/3")].concat()).await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(scene.answer().await, (200, path.into()));
    }
    sleep(Duration::from_secs(2)).await;
    assert!(scene.is_asleep());
    // With a body; in pieces, of which the first could be anything.
    for byte in b"\r\nPOST /4 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody" {
        scene.send([*byte]).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scene.answer().await, (200, "/4body".into()));
    sleep(Duration::from_secs(2)).await;
    assert!(scene.is_asleep());
    // More than is read while it sleeps.
    let large = "y".repeat(50_000);
    let post = format!("POST /5 HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", large.len());
    scene.send(post + &large).await;
    assert_eq!(scene.answer().await, (200, format!("/5{large}")));
    // The end of an old client's body is no request, and keeps nobody awake for long.
    scene.send("\r\n").await;
    sleep(Duration::from_secs(2)).await;
    assert!(scene.is_asleep());
    assert_eq!(scene.get("/6").await, (200, "/6".into()));
}

#[tokio::test(start_paused = true)]
async fn while_an_answer_is_made_it_is_awake() {
    let mut scene = Scene::new();
    scene.send(get("/late")).await;
    for _ in 0..200 {
        sleep(Duration::from_secs(1)).await;
        assert!(!scene.is_asleep());
    }
    scene.late.add_permits(1);
    assert_eq!(scene.answer().await, (200, "/late".into()));
}

/// To hyper the answer is over when it has all of it: what has not left would be lost.
#[tokio::test(start_paused = true)]
async fn while_an_answer_has_not_left_it_is_awake() {
    let mut scene = Scene::new();
    scene.send(get("/large")).await;
    sleep(Duration::from_secs(25)).await;
    assert!(!scene.is_asleep());
    assert_eq!(scene.answer().await, (200, "x".repeat(LARGE)));
    assert_eq!(scene.get("/next").await, (200, "/next".into()));
    sleep(Duration::from_secs(2)).await;
    assert!(scene.is_asleep());
}

#[tokio::test(start_paused = true)]
async fn the_idle_limit_counts_from_the_last_bytes() {
    let scene = Scene::asleep().await;
    let slept = Duration::from_secs(2);
    assert_eq!(scene.end().await, (String::new(), IDLE - slept));

    let mut scene = Scene::asleep().await;
    assert_eq!(scene.get("/again").await, (200, "/again".into()));
    assert_eq!(scene.end().await, (String::new(), IDLE));

    // As short as it can be set: there is no time to sleep.
    let short = Duration::from_secs(1);
    let mut scene = Scene::with(short);
    assert_eq!(scene.get("/").await.0, 200);
    assert_eq!(scene.end().await, (String::new(), short));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_after_a_sleep_is_refused() {
    let mut scene = Scene::asleep().await;
    let begun = Instant::now();
    scene.send("GET /slow HTTP/1.1\r\n").await;
    assert_eq!(scene.answer().await.0, 408);
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(scene.end().await.0, "");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_wakes_it_is_judged() {
    let mut scene = Scene::asleep().await;
    scene.send(format!("GET / HTTP/1.1\nHost: h\r\n\r\n{}", get("/after"))).await;
    assert_eq!(scene.answer().await.0, 408, "the handler's word for all that is refused");
    assert_eq!(scene.end().await.0, "");
}

#[tokio::test(start_paused = true)]
async fn at_the_signal_a_sleeper_is_gone_at_once() {
    let scene = Scene::asleep().await;
    scene.stop.pull();
    assert_eq!(scene.end().await, (String::new(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn at_the_signal_what_woke_it_is_answered() {
    let mut scene = Scene::asleep().await;
    scene.send(get("/late")).await;
    sleep(Duration::from_millis(1)).await;
    scene.stop.pull();
    sleep(Duration::from_secs(5)).await;
    scene.late.add_permits(1);
    let (rest, _) = scene.end().await;
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("/late"), "{rest}");
    assert!(rest.contains("connection: close\r\n"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_is_not_slept_for() {
    let Scene { client, server, .. } = Scene::asleep().await;
    let begun = Instant::now();
    drop(client);
    server.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);

    // One that only says so sees the end, too.
    let mut scene = Scene::asleep().await;
    scene.client.shutdown().await.unwrap();
    assert_eq!(scene.end().await, (String::new(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_more_is_not_kept() {
    for last in
        ["GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET /last HTTP/1.0\r\n\r\n"]
    {
        let mut scene = Scene::asleep().await;
        scene.send(last).await;
        assert_eq!(scene.answer().await, (200, "/last".into()));
        assert_eq!(scene.end().await, (String::new(), Duration::ZERO));
    }
    // The old way to want more.
    let mut scene = Scene::asleep().await;
    for _ in 0..2 {
        scene.send("GET /more HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!(scene.answer().await, (200, "/more".into()));
        sleep(Duration::from_secs(2)).await;
        assert!(scene.is_asleep());
    }
}
