//! What hyper gets to read of what a client sends, and when; in virtual time.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const IDLE: Duration = Duration::from_secs(75);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn intake() -> (DuplexStream, Intake<DuplexStream>, Arc<Conversation>) {
    let (client, server) = duplex(64 * 1024);
    let conversation = Arc::new(Conversation::default());
    (client, Intake::new(server, IDLE, Arc::clone(&conversation)), conversation)
}

/// Everything that is passed on until nothing more comes: at the client's end, or for good. Whenever
/// it falls asleep, it is woken.
async fn passed_on(intake: &mut Intake<DuplexStream>) -> Vec<u8> {
    let mut passed = Vec::new();
    loop {
        let read = tokio::time::timeout(Duration::from_secs(3600), intake.read_buf(&mut passed));
        match read.await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) if intake.is_asleep() && intake.wake().await => {}
            Ok(end) => break assert_eq!(end.unwrap(), 0),
            Err(_) => break,
        }
    }
    passed
}

/// Takes up the next request and answers it at once.
fn answer(conversation: &Arc<Conversation>) -> Option<Problem> {
    conversation.serve().1
}

#[tokio::test(start_paused = true)]
async fn whole_requests_are_passed_on_as_they_came() {
    let requests: [&[u8]; 5] = [
        GET,
        b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n??",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        GET,
    ];
    let all = requests.concat();
    for piece in [all.len(), 1, 2, 3, 7, 50] {
        let (mut client, mut intake, conversation) = intake();
        let reading = async {
            let mut passed = vec![0; all.len()];
            intake.read_exact(&mut passed).await.unwrap();
            passed
        };
        let sending = async {
            for piece in all.chunks(piece) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (passed, ()) = tokio::join!(reading, sending);
        assert!(passed == all, "in pieces of {piece}");
        for _ in requests {
            assert_eq!(answer(&conversation), None);
        }
        assert!(conversation.is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_passed_on_after_a_refusal() {
    let bad: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"GET / HTTP/1.1\n\n",
    ];
    for bad in bad {
        for piece in [1, 5, 1000] {
            let (mut client, mut intake, conversation) = intake();
            let all = [GET, bad, GET].concat();
            let sending = async {
                for piece in all.chunks(piece) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let (passed, ()) = tokio::join!(passed_on(&mut intake), sending);
            assert_eq!(passed, [GET, REFUSED_HEAD].concat(), "in pieces of {piece}");
            assert_eq!(answer(&conversation), None);
            assert!(matches!(answer(&conversation), Some(Problem::BadRequest(_))));
        }
    }
}

/// hyper breaks the body off at the same byte; if it did not, the body would still never end.
#[tokio::test(start_paused = true)]
async fn nothing_is_passed_on_after_a_chunk_that_is_none() {
    let (mut client, mut intake, conversation) = intake();
    let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(&[&head[..], b"1\r\nab", GET].concat()).await.unwrap();
    assert_eq!(passed_on(&mut intake).await, [&head[..], b"1\r\nab"].concat());
    assert_eq!(answer(&conversation), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused() {
    let (mut client, mut intake, conversation) = intake();
    client.write_all(&GET[..5]).await.unwrap();
    let begun = Instant::now();
    let mut passed = vec![0; REFUSED_HEAD.len()];
    let slow = async {
        for byte in &GET[5..12] {
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.write_all(&[*byte]).await.unwrap();
        }
    };
    let (read, ()) = tokio::join!(
        async {
            intake.read_exact(&mut passed).await.unwrap();
            begun.elapsed()
        },
        slow
    );
    assert_eq!((passed.as_slice(), read), (REFUSED_HEAD, HEAD_TIMEOUT));
    assert_eq!(answer(&conversation), Some(Problem::RequestTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_nothing_is_not_waited_for() {
    let (_client, mut intake, conversation) = intake();
    let begun = Instant::now();
    assert_eq!(passed_on(&mut intake).await, b"");
    assert_eq!((begun.elapsed(), conversation.has_begun()), (HEAD_TIMEOUT, false));
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_client_may_be_idle() {
    let (mut client, mut intake, conversation) = intake();
    let mut passed = vec![0; GET.len()];
    for pause in [0, 20, 74] {
        let asking = async {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            client.write_all(GET).await.unwrap();
        };
        let sleeping = async {
            if pause > 0 {
                assert_eq!(intake.read(&mut [0; 1]).await.unwrap(), 0);
                assert!(intake.is_asleep() && intake.wake().await && !intake.is_asleep());
            }
        };
        tokio::join!(asking, sleeping);
        intake.read_exact(&mut passed).await.unwrap();
        assert_eq!(answer(&conversation), None);
    }
    // Line ends are no request: what an old client sends after a body does not begin a slow one.
    client.write_all(b"\r\n").await.unwrap();
    let begun = Instant::now();
    assert_eq!(passed_on(&mut intake).await, b"");
    assert_eq!(begun.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn while_an_answer_is_on_its_way_nobody_is_idle() {
    let (mut client, mut intake, conversation) = intake();
    client.write_all(GET).await.unwrap();
    let mut passed = vec![0; GET.len()];
    intake.read_exact(&mut passed).await.unwrap();
    let (unanswered, _) = conversation.serve();
    let begun = Instant::now();
    let answering = async {
        tokio::time::sleep(10 * IDLE).await;
        drop(unanswered);
    };
    tokio::join!(
        async {
            assert_eq!(intake.read(&mut [0; 1]).await.unwrap(), 0);
            let lull = begun.elapsed();
            assert!(lull > 10 * IDLE && lull <= 10 * IDLE + 2 * LULL, "{lull:?}");
            assert!(intake.is_asleep());
        },
        answering
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_written_leaves_before_it_sleeps() {
    let (mut client, mut intake, conversation) = intake();
    client.write_all(GET).await.unwrap();
    intake.read_exact(&mut vec![0; GET.len()]).await.unwrap();
    assert_eq!(answer(&conversation), None);
    intake.write_all(b"answer").await.unwrap();
    let begun = Instant::now();
    let (read, ()) = tokio::join!(
        async {
            let read = tokio::time::timeout(10 * LULL, intake.read(&mut [0; 1])).await;
            assert!(read.is_err() && !intake.is_asleep(), "it may have more to write");
            intake.flush().await.unwrap();
            intake.read(&mut [0; 1]).await.unwrap()
        },
        async { client.read_exact(&mut [0; 6]).await.map(drop).unwrap() }
    );
    assert_eq!(read, 0);
    assert!(intake.is_asleep() && begun.elapsed() <= 12 * LULL);

    // hyper's end is not the stream's.
    intake.shutdown().await.unwrap();
    intake.write_all(b"more").await.unwrap();
    client.read_exact(&mut [0; 4]).await.unwrap();
    intake.end().await.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_still_sends_is_heard_out() {
    let (mut client, mut intake, _) = intake();
    client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").await.unwrap();
    assert!(intake.read(&mut [0; 100]).await.unwrap() > 0);
    let begun = Instant::now();
    let sending = async {
        // More than fits: somebody must take it.
        client.write_all(&[0; 200 * 1024]).await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "it sees the end meanwhile");
    };
    let (closed, ()) = tokio::join!(intake.shutdown(), sending);
    closed.unwrap();
    assert_eq!(begun.elapsed(), FAREWELL);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_done_is_not_waited_for() {
    let (mut client, mut intake, _) = intake();
    client.write_all(GET).await.unwrap();
    assert!(intake.read(&mut [0; 100]).await.unwrap() > 0);
    let begun = Instant::now();
    intake.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

proptest! {
    /// Whatever comes, in whatever pieces, what is passed on is the same: the beginning of it, and
    /// at most what stands for one refused head.
    #[test]
    fn whatever_comes(
        requests in proptest::collection::vec(prop_oneof![
            3 => Just(GET.to_vec()),
            1 => (0..40_usize).prop_map(|length| {
                let mut post = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").into_bytes();
                post.extend(GET.iter().cycle().take(length));
                post
            }),
            1 => Just(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n".to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 1..20),
            1 => Just(b"GET / HTTP/1.1\r\nA : b\r\n\r\n".to_vec()),
        ], 0..6),
        pieces in proptest::collection::vec(1..60_usize, 1..6),
    ) {
        let all = requests.concat();
        let pass = |pieces: Vec<usize>| {
            let all = all.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async move {
                let (mut client, mut intake, _) = intake();
                let sending = async move {
                    let mut rest = &all[..];
                    for piece in pieces.iter().cycle() {
                        let (now, later) = rest.split_at((*piece).min(rest.len()));
                        client.write_all(now).await.unwrap();
                        tokio::task::yield_now().await;
                        rest = later;
                        if rest.is_empty() { break }
                    }
                };
                tokio::join!(passed_on(&mut intake), sending).0
            })
        };
        let whole = pass(vec![usize::MAX]);
        prop_assert_eq!(&pass(pieces), &whole);
        let clear = whole.strip_suffix(REFUSED_HEAD).unwrap_or(&whole);
        prop_assert!(all.starts_with(clear));
    }
}
