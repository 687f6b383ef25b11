//! Connections over a pipe, in virtual time where time matters.

use std::convert::Infallible;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::super::{ShutdownTrigger, shutdown};
use super::*;

/// Enough that no window of the tests holds it.
const LARGE: usize = 1 << 20;

const IDLE: Duration = Duration::from_secs(60);

/// A server on one end of a pipe, and a client that does nothing on its own on the other.
struct Pair {
    client: SendRequest<Bytes>,
    /// The client's side of the connection, until it ends.
    connection: JoinHandle<Result<(), h2::Error>>,
    server: JoinHandle<Result<Ended, hyper::Error>>,
    stop: ShutdownTrigger,
    /// How many requests of `/never` were dropped.
    dropped: Arc<Semaphore>,
}

impl Pair {
    async fn new() -> Self {
        let (near, far) = duplex(256 << 10);
        let (stop, stopped) = shutdown();
        let dropped = Arc::new(Semaphore::new(0));
        let counted = Arc::clone(&dropped);
        let handler = move |request: Request<Incoming>| answer(request, Arc::clone(&counted));
        let server =
            tokio::spawn(async move { serve(TokioIo::new(far), handler, IDLE, stopped).await });
        let (client, connection) = client::Builder::new()
            .initial_window_size(64 << 10)
            .initial_connection_window_size(1 << 20)
            .handshake(near)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        Self { client, connection, server, stop, dropped }
    }

    /// Asks for a path; gives the answer's body.
    async fn get(&mut self, path: &str) -> RecvStream {
        let (response, _) = self.ask(path).await;
        response.await.unwrap().into_body()
    }

    async fn ask(&mut self, path: &str) -> (client::ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::get(format!("http://h{path}")).body(()).unwrap();
        self.client = self.client.clone().ready().await.unwrap();
        self.client.send_request(request, true).unwrap()
    }
}

struct CountDrop(Arc<Semaphore>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

async fn answer(
    request: Request<Incoming>,
    dropped: Arc<Semaphore>,
) -> Response<BoxBody<Bytes, std::io::Error>> {
    let full =
        |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).map_err(|never: Infallible| match never {});
    Response::new(match request.uri().path() {
        "/large" => full(vec![b'x'; LARGE]).boxed(),
        "/small" => full(vec![b'x'; 10]).boxed(),
        "/broken" => {
            let frames = [
                Ok(Frame::data(Bytes::from_static(b"half"))),
                Err(std::io::Error::other("broken")),
            ];
            StreamBody::new(futures_util::stream::iter(frames)).boxed()
        }
        "/never" => {
            let _dropped = CountDrop(dropped);
            std::future::pending().await
        }
        other => panic!("{other}"),
    })
}

/// Reads a body to its end as a client does that takes what comes.
async fn read(mut body: RecvStream) -> Result<usize, h2::Error> {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    Ok(length)
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_a_stream_loses_that_stream() {
    let mut pair = Pair::new().await;
    let begun = Instant::now();
    let mut slow = pair.get("/large").await;
    // The other streams of the connection go on meanwhile.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        let fast = pair.get("/large").await;
        assert_eq!(read(fast).await.unwrap(), LARGE);
    }
    let mut taken = 0;
    let error = loop {
        match slow.data().await.expect("it never ends cleanly") {
            Ok(data) => taken += data.len(),
            Err(error) => break error,
        }
    };
    assert!(taken <= 64 << 10, "{taken} bytes");
    assert!(error.is_remote() && error.reason() == Some(Reason::CANCEL), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(40));
    assert_eq!(read(pair.get("/small").await).await.unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_takes_slowly_is_waited_for() {
    let mut pair = Pair::new().await;
    let mut body = pair.get("/large").await;
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        // 2 KB a second.
        tokio::time::sleep(Duration::from_micros(500) * u32::try_from(data.len()).unwrap()).await;
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(length, LARGE);
}

#[tokio::test]
async fn a_body_that_breaks_off_resets_its_stream() {
    let mut pair = Pair::new().await;
    // It may come before the client has looked at the head.
    let (response, _) = pair.ask("/broken").await;
    let error = match response.await {
        Ok(response) => read(response.into_body()).await.expect_err("it does not end cleanly"),
        Err(error) => error,
    };
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(read(pair.get("/small").await).await.unwrap(), 10, "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_ended_in_order() {
    for (is_used, patience) in [(false, FIRST_REQUEST_TIMEOUT), (true, IDLE)] {
        let mut pair = Pair::new().await;
        if is_used {
            read(pair.get("/small").await).await.unwrap();
        }
        let begun = Instant::now();
        pair.connection.await.unwrap().expect("GOAWAY without an error");
        assert_eq!(begun.elapsed().as_secs(), patience.as_secs(), "used: {is_used}");
        // The client may be gone before all has been said.
        assert!(!matches!(pair.server.await.unwrap(), Ok(Ended::Lingered | Ended::Abusive)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_says_a_word_is_cut() {
    let (client, server) = duplex(1 << 10);
    let (_stop, stopped) = shutdown();
    let handler = |request| answer(request, Arc::new(Semaphore::new(0)));
    let ended = serve(TokioIo::new(server), handler, IDLE, stopped).await.unwrap();
    assert_eq!(ended, Ended::Lingered);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn streams_are_finished_after_the_signal_and_none_is_begun() {
    let mut pair = Pair::new().await;
    let body = pair.get("/large").await;
    pair.stop.pull();
    assert_eq!(read(body).await.unwrap(), LARGE);
    assert_eq!(pair.server.await.unwrap().unwrap(), Ended::Closed);
    pair.connection.await.unwrap().expect("GOAWAY without an error");
}

/// What is left of an answer whose client never takes it ends with the connection.
#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_end_is_cut() {
    let mut pair = Pair::new().await;
    let body = pair.get("/large").await;
    pair.stop.pull();
    let ended = pair.server.await.unwrap();
    // The stream is given up, which lets the connection end; or it has to be cut.
    assert!(matches!(ended, Ok(Ended::Closed | Ended::Lingered)), "{ended:?}");
    drop(body);
}

/// A client that is gone without a word: its request is not answered for ever.
#[tokio::test(start_paused = true)]
async fn who_answers_no_ping_is_gone() {
    let (mut client, server) = duplex(64 << 10);
    let (_stop, stopped) = shutdown();
    let dropped = Arc::new(Semaphore::new(0));
    let counted = Arc::clone(&dropped);
    let handler = move |request| answer(request, Arc::clone(&counted));
    // GET, http, /never and h, in HPACK (RFC 7541, appendix A), which ends headers and stream.
    let head = b"\x82\x86\x04\x06/never\x01\x01h";
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend(head);
    client.write_all(&bytes).await.unwrap();
    let begun = Instant::now();
    let _ = serve(TokioIo::new(server), handler, IDLE, stopped).await;
    assert!(begun.elapsed() <= PING_EVERY + PING_TIMEOUT + Duration::from_secs(1));
    dropped.acquire().await.unwrap().forget();
}

/// One request at a time, each taken back when it is being answered: nothing waits to be accepted, so
/// it is no rapid reset to h2.
#[tokio::test]
async fn who_takes_back_what_it_asks_is_cut() {
    let mut pair = Pair::new().await;
    let mut asked = 0;
    while !pair.server.is_finished() {
        let request = Request::get("http://h/never").body(()).unwrap();
        let Ok(client) = pair.client.clone().ready().await else { break };
        pair.client = client;
        let Ok((response, mut stream)) = pair.client.send_request(request, true) else { break };
        // It is being answered when its place in the line is.
        tokio::task::yield_now().await;
        stream.send_reset(Reason::CANCEL);
        drop(response);
        asked += 1;
        tokio::select! {
            permit = pair.dropped.acquire() => permit.unwrap().forget(),
            _ = &mut pair.server => break,
        }
        assert!(asked < 2000, "it is never cut");
    }
    assert!(asked >= 500, "{asked}: some may be taken back");
}

#[tokio::test(start_paused = true)]
async fn looks_at_a_connection() {
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    let conduct = Arc::new(Conduct::new(begun));
    assert_eq!(next_look(None, &conduct, IDLE, after(9)), Look::Again(after(10)));
    assert_eq!(next_look(None, &conduct, IDLE, after(10)), Look::End, "it was never used");

    let live = conduct::Live::begin(&conduct);
    assert_eq!(next_look(None, &conduct, IDLE, after(100)), Look::Again(after(160)));
    assert_eq!(next_look(Some(begun), &conduct, IDLE, after(100)), Look::Again(after(130)));
    tokio::time::advance(Duration::from_secs(100)).await;
    drop(live);
    assert_eq!(next_look(None, &conduct, IDLE, after(159)), Look::Again(after(160)));
    assert_eq!(next_look(None, &conduct, IDLE, after(160)), Look::End);
    let ending = Some(after(110));
    assert_eq!(next_look(ending, &conduct, IDLE, after(139)), Look::Again(after(140)));
    assert_eq!(next_look(ending, &conduct, IDLE, after(140)), Look::Cut);
    let ending = Some(after(50));
    assert_eq!(next_look(ending, &conduct, IDLE, after(120)), Look::Again(after(130)));
}
