//! Bytes in the kernel on their way to clients: with hyper, over real sockets.

use std::future::ready;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket};

use crate::metrics::Metrics;
use crate::zero_copy::{Chunk, Chunks, InKernel, MemoryFiles, Pipes};

use super::super::connection::serve_http1;
use super::super::protocols::{Protocols, Service, converse};
use super::super::shutdown;
use super::*;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const IDLE: Duration = Duration::from_secs(75);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const LAST_GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// Puts bytes into pipes and files. What is written to such a socket is there at once.
struct Source {
    pipes: Arc<Pipes>,
    files: Arc<MemoryFiles>,
    near: UnixStream,
    far: UnixStream,
}

impl Source {
    fn new() -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        Self { pipes: Pipes::new(), files: MemoryFiles::new(), near, far }
    }

    /// As many chunks as it takes.
    fn pipe(&mut self, bytes: &[u8]) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for bytes in bytes.chunks(PIPE_BYTES) {
            self.near.write_all(bytes).unwrap();
            let mut left = bytes.len();
            while left > 0 {
                let piped = self.pipes.fill(&self.far, left).expect("a pipe").unwrap();
                left -= piped.len();
                chunks.push(Chunk::InKernel(InKernel::Piped(piped)));
            }
        }
        chunks
    }

    /// One chunk, in a file.
    fn file(&self, bytes: &[u8]) -> Chunk {
        Chunk::InKernel(InKernel::Filed(self.files.put(bytes).expect("a file")))
    }

    /// As many chunks as it takes to have these bytes there.
    fn put(&mut self, place: Place, bytes: Vec<u8>) -> Vec<Chunk> {
        match place {
            Place::Memory => vec![Chunk::Here(bytes.into())],
            Place::Pipe => self.pipe(&bytes),
            Place::File => vec![self.file(&bytes)],
        }
    }

    /// An answer with all these bytes in pipes, and their length.
    fn answer(&mut self, bytes: &[u8]) -> Response<Script> {
        Script::new(self.pipe(bytes)).of_length(bytes.len())
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Memory,
    Pipe,
    File,
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Memory), Just(Place::Pipe), Just(Place::File)]
}

/// Bytes of which none are like others nearby.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// A body that gives chunks, and is asked for them in one way only.
struct Script {
    chunks: VecDeque<io::Result<Chunk>>,
    length: Option<u64>,
    into_memory: bool,
}

impl Script {
    fn new(chunks: impl IntoIterator<Item = Chunk>) -> Self {
        let chunks = chunks.into_iter().map(Ok).collect();
        Self { chunks, length: None, into_memory: false }
    }

    fn of_length(mut self, length: usize) -> Response<Self> {
        self.length = Some(length as u64);
        Response::builder().header(CONTENT_LENGTH, length).body(self).unwrap()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        assert!(self.into_memory, "bytes in pipes are taken into memory");
        let next = self.chunks.pop_front();
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk?.into_bytes()?))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Chunks for Script {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Chunk>>> {
        assert!(!self.into_memory, "nobody could send bytes in pipes");
        Poll::Ready(self.chunks.pop_front())
    }
}

/// A client, and the gateway's side of its connection. Between them fits little if `is_narrow`.
async fn connection(is_narrow: bool) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    if is_narrow {
        socket.set_recv_buffer_size(4 * 1024).unwrap();
    }
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(socket.connect(address), listener.accept());
    let (server, _) = accepted.unwrap();
    server.set_nodelay(true).unwrap();
    if is_narrow {
        socket2::SockRef::from(&server).set_send_buffer_size(8 * 1024).unwrap();
    }
    (client.unwrap(), server)
}

/// Gives one answer after the other.
fn in_turn(
    answers: Vec<Response<Script>>,
) -> impl Fn(Request<Incoming>, SocketAddr) -> std::future::Ready<Response<Script>> {
    let answers = Mutex::new(VecDeque::from(answers));
    move |_, _| ready(answers.lock().unwrap().pop_front().expect("no more requests than answers"))
}

/// Serves a connection through an outlet until its end.
async fn serve(stream: TcpStream, answers: Vec<Response<Script>>) {
    serve_through(stream, |outgoing| outgoing, answers).await;
}

/// The same, with something between hyper and the outlet.
async fn serve_through<T>(
    stream: TcpStream,
    wrap: impl FnOnce(Outgoing) -> T,
    answers: Vec<Response<Script>>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outlet = Arc::<Outlet>::default();
    let stream = wrap(Outgoing::new(stream, Arc::clone(&outlet)));
    let (_trigger, stop) = shutdown();
    serve_http1(stream, Some(outlet), PEER, IDLE, in_turn(answers), stop).await;
}

/// Sends a request, and reads until the end of the connection, so much at a time.
async fn ask(mut client: TcpStream, request: &[u8], piece: usize) -> Vec<u8> {
    client.write_all(request).await.unwrap();
    let (mut all, mut room) = (Vec::new(), vec![0; piece]);
    while let Ok(read @ 1..) = client.read(&mut room).await {
        all.extend_from_slice(&room[..read]);
    }
    all
}

/// What follows the head.
fn body_of(answer: &[u8]) -> &[u8] {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").expect("a head");
    &answer[end + 4..]
}

/// The data of chunks, which end as they must.
fn from_chunks(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let line = memchr::memmem::find(chunks, b"\r\n").expect("a size");
        let size = std::str::from_utf8(&chunks[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).expect("a size");
        let (chunk, rest) = chunks[line + 2..].split_at(size);
        data.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n").expect("the end of a chunk");
        if size == 0 {
            assert!(chunks.is_empty());
            return data;
        }
    }
}

/// One answer with a length: what its body is.
async fn next_answer(client: &mut BufReader<TcpStream>, has_body: bool) -> Vec<u8> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert!(client.read_line(&mut line).await.unwrap() > 0, "the connection ended");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim_end().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; if has_body { length } else { 0 }];
    client.read_exact(&mut body).await.unwrap();
    body
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[derive(Debug, Clone, Copy)]
enum Framed {
    ByLength,
    InChunks,
    ByTheEnd,
}

proptest! {
    #![proptest_config(Config::with_cases(48))]

    /// Bytes arrive as they are and in their order, wherever they were, however they are framed, and
    /// however the client takes them.
    #[test]
    fn whatever_is_where_arrives(
        parts in proptest::collection::vec((places(), 1..200 * 1024_usize), 0..6),
        framed in prop_oneof![Just(Framed::ByLength), Just(Framed::InChunks), Just(Framed::ByTheEnd)],
        is_narrow in any::<bool>(),
        piece in 500..100_000_usize,
    ) {
        let (mut source, mut expected, mut chunks) = (Source::new(), Vec::new(), Vec::new());
        for (seed, (place, length)) in parts.into_iter().enumerate() {
            let bytes = noise(length, seed as u64);
            expected.extend_from_slice(&bytes);
            chunks.extend(source.put(place, bytes));
        }
        let body = Script::new(chunks);
        let (answer, request) = match framed {
            Framed::ByLength => (body.of_length(expected.len()), LAST_GET),
            Framed::InChunks => (Response::new(body), LAST_GET),
            Framed::ByTheEnd => (Response::new(body), &b"GET / HTTP/1.0\r\n\r\n"[..]),
        };
        let all = block_on(async {
            let (client, server) = connection(is_narrow).await;
            tokio::join!(ask(client, request, piece), serve(server, vec![answer])).0
        });
        let received = match framed {
            Framed::InChunks => from_chunks(body_of(&all)),
            Framed::ByLength | Framed::ByTheEnd => body_of(&all).to_vec(),
        };
        prop_assert!(received == expected, "{} of {}", received.len(), expected.len());
    }

    /// Many small pieces are more than hyper takes up at a time.
    #[test]
    fn small_pieces_arrive(
        lengths in proptest::collection::vec((places(), 0..40_usize), 0..200),
        in_chunks in any::<bool>(),
    ) {
        let (mut source, mut expected, mut chunks) = (Source::new(), Vec::new(), Vec::new());
        for (seed, (place, length)) in lengths.into_iter().enumerate() {
            let bytes = noise(length, seed as u64);
            expected.extend_from_slice(&bytes);
            chunks.extend(source.put(place, bytes));
        }
        let body = Script::new(chunks);
        let answer =
            if in_chunks { Response::new(body) } else { body.of_length(expected.len()) };
        let all = block_on(async {
            let (client, server) = connection(false).await;
            tokio::join!(ask(client, LAST_GET, 1000), serve(server, vec![answer])).0
        });
        let body = body_of(&all);
        prop_assert_eq!(if in_chunks { from_chunks(body) } else { body.to_vec() }, expected);
    }
}

#[tokio::test]
async fn answers_follow_each_other() {
    let (client, server) = connection(false).await;
    let mut source = Source::new();
    let bodies: Vec<_> = (0..60).map(|n| noise(1 + n * 2_500, n as u64)).collect();
    let answers = bodies.iter().map(|body| source.answer(body)).collect();
    let asking = async {
        let mut client = BufReader::new(client);
        for (n, body) in bodies.iter().enumerate() {
            // Some are asked for their head alone: bytes that were meant for them go nowhere.
            let has_body = n % 7 != 3;
            let method = if has_body { "GET" } else { "HEAD" };
            let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let received = next_answer(&mut client, has_body).await;
            assert!(received == if has_body { &body[..] } else { &[] }, "{n}");
        }
    };
    tokio::join!(asking, serve(server, answers));
}

#[tokio::test]
async fn answers_to_requests_that_came_together_keep_their_order() {
    let (mut client, server) = connection(true).await;
    let mut source = Source::new();
    let bodies = [noise(150_000, 1), noise(70_000, 2), noise(1, 3), noise(99_999, 4)];
    let answers = bodies.iter().map(|body| source.answer(body)).collect();
    let asking = async {
        client.write_all(&GET.repeat(bodies.len())).await.unwrap();
        let mut client = BufReader::new(client);
        for (n, body) in bodies.iter().enumerate() {
            assert!(next_answer(&mut client, true).await == *body, "{n}");
        }
    };
    tokio::join!(asking, serve(server, answers));
}

#[tokio::test]
async fn what_a_client_did_not_take_goes_to_nobody_else() {
    let (mut client, server) = connection(true).await;
    let mut source = Source::new();
    let answer = source.answer(&noise(400_000, 1));
    let hanging_up = async {
        client.write_all(GET).await.unwrap();
        client.read_exact(&mut [0; 1000]).await.unwrap();
        drop(client);
    };
    tokio::join!(hanging_up, serve(server, vec![answer]));
    let others = noise(PIPE_BYTES * 20, 2);
    let again = source.pipe(&others).into_iter().flat_map(|chunk| chunk.into_bytes().unwrap());
    assert!(again.eq(others));
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_the_connection_short() {
    for in_chunks in [false, true] {
        let (client, server) = connection(false).await;
        let whole = noise(300_000, 1);
        let mut body = Script::new(Source::new().pipe(&whole[..200_000]));
        body.chunks.push_back(Err(io::ErrorKind::ConnectionReset.into()));
        let answer = if in_chunks { Response::new(body) } else { body.of_length(whole.len()) };
        let (received, ()) = tokio::join!(ask(client, GET, 5000), serve(server, vec![answer]));
        let body = body_of(&received);
        assert!(body.len() > 100_000, "what was sent before has arrived");
        if in_chunks {
            assert!(!body.ends_with(b"0\r\n\r\n"));
        } else {
            assert!(body.len() <= 200_000 && whole.starts_with(body));
        }
    }
}

/// The hyper that writes after a sleep is another one; the way out is the same.
#[tokio::test]
async fn a_sleep_between_two_answers_changes_nothing() {
    let (client, server) = connection(false).await;
    let mut source = Source::new();
    let all = [noise(300_000, 1), noise(10, 2), noise(70_000, 3)];
    let answers = all.iter().map(|bytes| source.answer(bytes)).collect();
    let serving = tokio::spawn(serve(server, answers));
    let mut client = BufReader::new(client);
    for bytes in &all {
        client.write_all(GET).await.unwrap();
        assert!(&next_answer(&mut client, true).await == bytes);
        // Nothing is on its way: time can pass.
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::time::resume();
    }
    drop(client);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_too_long_is_cut_and_is_the_last() {
    let (client, server) = connection(false).await;
    let mut source = Source::new();
    let bytes = noise(1_000, 1);
    let answers = vec![Script::new(source.pipe(&bytes)).of_length(10), source.answer(&bytes)];
    let requests = GET.repeat(2);
    let (all, ()) = tokio::join!(ask(client, &requests, 5000), serve(server, answers));
    assert_eq!(body_of(&all), &bytes[..10], "and nothing of the rest, nor of another answer");
}

#[tokio::test]
async fn whoever_has_no_outlet_is_given_bytes() {
    let (client, server) = connection(false).await;
    let bytes = noise(100_000, 1);
    let mut answer = Source::new().answer(&bytes);
    answer.body_mut().into_memory = true;
    let (_trigger, stop) = shutdown();
    let serving = serve_http1(server, None, PEER, IDLE, in_turn(vec![answer]), stop);
    let (all, ()) = tokio::join!(ask(client, LAST_GET, 5000), serving);
    assert!(body_of(&all) == bytes);
}

#[tokio::test]
async fn connections_in_the_clear_have_an_outlet() {
    for (protocols, http2) in [
        (Protocols::Http1, false),
        (Protocols::Http1AndH2c, false),
        // Frames have heads of their own, and are for hyper to make.
        (Protocols::Http1AndH2c, true),
    ] {
        let (client, server) = connection(false).await;
        let bytes = noise(100_000, 1);
        let mut answer = Source::new().answer(&bytes);
        answer.body_mut().into_memory = http2;
        let (trigger, stop) = shutdown();
        let service = Service { peer: PEER, idle: IDLE, handler: in_turn(vec![answer]), stop };
        let asking = async {
            if !http2 {
                return body_of(&ask(client, LAST_GET, 5000).await).to_vec();
            }
            let io = TokioIo::new(client);
            let (mut client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("http://h/").body(Empty::<Bytes>::new()).unwrap();
            let answer = client.send_request(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes().to_vec();
            trigger.pull();
            body
        };
        let metrics = Metrics::new();
        let (received, ()) =
            tokio::join!(asking, converse(server, protocols.clone(), &metrics, service));
        assert!(received == bytes, "http2: {http2}");
    }
}

/// What may go wrong between hyper and the outlet: slices are not passed on as they are.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// One at a time is taken, for which hyper copies them together.
    OneAtATime,
    /// All are copied together.
    Together,
    /// Placeholders are left out, and said to be written.
    LeftOut,
}

struct Between(Outgoing, Wrong);

impl AsyncRead for Between {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Between {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self(outgoing, wrong) = &mut *self;
        let outgoing = Pin::new(outgoing);
        match wrong {
            Wrong::OneAtATime => unreachable!("hyper was told"),
            Wrong::Together => {
                let all = slices.iter().flat_map(|slice| slice.iter().copied());
                outgoing.poll_write(cx, &all.collect::<Vec<_>>())
            }
            Wrong::LeftOut => {
                let (placeholders, others): (Vec<_>, Vec<_>) =
                    slices.iter().partition(|slice| is_placeholder(slice));
                let others: Vec<_> = others.into_iter().copied().collect();
                let left_out: usize = placeholders.iter().map(|slice| slice.len()).sum();
                outgoing.poll_write_vectored(cx, &others).map_ok(|written| written + left_out)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        !matches!(self.1, Wrong::OneAtATime)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_placeholder_that_is_not_passed_on_as_it_is_is_never_sent() {
    for wrong in [Wrong::OneAtATime, Wrong::Together, Wrong::LeftOut] {
        for in_chunks in [false, true] {
            let (client, server) = connection(false).await;
            let bytes = noise(1_000, 1);
            let body = Script::new(Source::new().pipe(&bytes));
            let answer = if in_chunks { Response::new(body) } else { body.of_length(bytes.len()) };
            let serving = serve_through(server, |stream| Between(stream, wrong), vec![answer]);
            let (all, ()) = tokio::join!(ask(client, LAST_GET, 5000), serving);
            assert_eq!(all, b"", "{wrong:?}: not even a head");
        }
    }
}

fn hold(outgoing: &Outgoing, source: &mut Source, bytes: &[u8]) -> Parcel {
    match source.pipe(bytes).remove(0) {
        Chunk::InKernel(held) => outgoing.outlet.hold(held),
        Chunk::Here(_) => unreachable!(),
    }
}

type Mistreat = fn(&mut Outgoing, &mut Source) -> Option<Parcel>;

const MISTREATED: [(&str, Mistreat); 8] = [
    ("copied", |outgoing, source| {
        let mut parcel = hold(outgoing, source, b"abc");
        assert_eq!(parcel.copy_to_bytes(3), "???");
        Some(parcel)
    }),
    ("advanced over", |outgoing, source| {
        let mut parcel = hold(outgoing, source, b"abc");
        parcel.advance(1);
        Some(parcel)
    }),
    ("forgotten", |outgoing, source| {
        drop(hold(outgoing, source, b"abc"));
        None
    }),
    ("cut short", |outgoing, source| {
        let parcel = hold(outgoing, source, b"abc");
        assert_eq!(outgoing.outlet.send(&outgoing.stream, 2).unwrap(), 2);
        let mut cut = parcel.take(2);
        cut.advance(2);
        None
    }),
    ("sent, and not advanced over", |outgoing, source| {
        let parcel = hold(outgoing, source, b"abc");
        assert_eq!(outgoing.outlet.send(&outgoing.stream, 3).unwrap(), 3);
        Some(parcel)
    }),
    ("written as something else", |outgoing, source| {
        let parcel = hold(outgoing, source, b"abc");
        outgoing.outlet.next(&[IoSlice::new(b"a copy")]).unwrap_err();
        Some(parcel)
    }),
    ("written in place of nothing", |outgoing, _| {
        outgoing.outlet.next(&[IoSlice::new(&PLACEHOLDER[5..6])]).unwrap_err();
        None
    }),
    ("written in place of less", |outgoing, source| {
        let parcel = hold(outgoing, source, b"abc");
        outgoing.outlet.next(&[IoSlice::new(&PLACEHOLDER[..4])]).unwrap_err();
        Some(parcel)
    }),
];

/// Neither bytes in memory, nor those of another placeholder with which all is in order.
#[tokio::test]
async fn nothing_follows_a_placeholder_that_was_mistreated() {
    let slices: [&[&[u8]]; 4] = [
        &[b"plain"],
        &[b"head", &PLACEHOLDER[..1]],
        &[&PLACEHOLDER[..1]],
        &[&PLACEHOLDER[..3], b"-"],
    ];
    for (what, mistreat) in MISTREATED {
        for slices in slices {
            let (mut client, server) = connection(false).await;
            let mut source = Source::new();
            let mut outgoing = Outgoing::new(server, Arc::default());
            outgoing.write_all(b"before ").await.unwrap();
            let mistreated = mistreat(&mut outgoing, &mut source);
            let next = slices.iter().any(|slice| is_placeholder(slice));
            let next = next.then(|| hold(&outgoing, &mut source, b"xyz"));
            let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            outgoing.write_vectored(&slices).await.expect_err(what);
            outgoing.write(&slices[0]).await.expect_err(what);
            drop((outgoing, mistreated, next));
            let mut all = String::new();
            client.read_to_string(&mut all).await.unwrap();
            assert!(matches!(&all[..], "before " | "before ab" | "before abc"), "{what}: {all}");
        }
    }
}

#[tokio::test]
async fn each_slice_in_its_turn() {
    let (mut client, server) = connection(false).await;
    let mut source = Source::new();
    let mut outgoing = Outgoing::new(server, Arc::default());
    let outlet = Arc::clone(&outgoing.outlet);
    let mut parcel = hold(&outgoing, &mut source, b"piped");
    let next = |slices: &[&[u8]]| {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        outlet.next(&slices).unwrap()
    };
    let both = next(&[b"head", b"size", parcel.chunk(), b"tail"]);
    assert_eq!(both, Next::InKernel { before: 2, most: 5 });
    assert_eq!(next(&[b"", parcel.chunk(), b"tail"]), Next::InKernel { before: 1, most: 5 });
    let cut = next(&[&parcel.chunk()[1..3]]);
    assert_eq!(cut, Next::InKernel { before: 0, most: 2 }, "wherever it was cut");
    let twice = next(&[&parcel.chunk()[..2], &parcel.chunk()[..2], &parcel.chunk()[..2]]);
    assert_eq!(twice, Next::InKernel { before: 0, most: 5 }, "no more than there are");

    let slices = [IoSlice::new(b"head "), IoSlice::new(parcel.chunk()), IoSlice::new(b" tail")];
    assert_eq!(outgoing.write_vectored(&slices).await.unwrap(), 10, "both at once");
    parcel.advance(5);
    assert!(!parcel.has_remaining());
    assert_eq!(outgoing.write_vectored(&[IoSlice::new(b" tail")]).await.unwrap(), 5);
    drop(outgoing);
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "head piped tail");
}
