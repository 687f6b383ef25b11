//! Heads, beside what hyper makes of them.

use http::HeaderMap;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What a reader made of an answer: its status, its headers as they came, its body, and whether it
/// came to its end.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_whole: bool,
}

fn lines(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    lines.sort();
    lines
}

/// What our own client makes of these bytes, after which the connection ends.
async fn ours(sent: &[u8], cut: usize) -> Option<Answer> {
    use super::super::{AddressPolicy, Client, Origin, Timeouts};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pieces: Vec<Vec<u8>> = sent.chunks(cut).map(<[u8]>::to_vec).collect();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 256];
        let _ = stream.read(&mut request).await;
        for piece in pieces {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let client = Client::new(AddressPolicy { allow_loopback: true, ..AddressPolicy::default() });
    let origin = Origin::from_url(&url.parse().unwrap()).unwrap();
    let limit = std::time::Duration::from_secs(10);
    let timeouts = Timeouts { connect: limit, first_byte: limit };
    let request = http::Request::get("/").body(Bytes::new()).unwrap();
    let answer = client.unwrap().send(&origin, request, &timeouts).await;
    let answer = match answer {
        Ok(answer) => {
            let (parts, mut rest) = answer.into_parts();
            let (mut body, mut is_whole) = (Vec::new(), true);
            while let Some(frame) = rest.frame().await {
                match frame {
                    Ok(frame) => body.extend(frame.into_data().unwrap()),
                    Err(_) => is_whole = false,
                }
            }
            let headers = lines(&parts.headers);
            Some(Answer { status: parts.status.as_u16(), headers, body, is_whole })
        }
        Err(_) => None,
    };
    serving.abort();
    answer
}

/// What hyper's client makes of them.
async fn hypers(sent: &[u8]) -> Option<Answer> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let sent = sent.to_vec();
    tokio::spawn(async move {
        let mut request = [0; 256];
        let _ = far.read(&mut request).await;
        let _ = far.write_all(&sent).await;
    });
    let (mut requests, connection) = handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let (parts, mut rest) = requests.send_request(request).await.ok()?.into_parts();
    let (mut body, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = rest.frame().await {
        match frame {
            Ok(frame) => body.extend(frame.into_data().unwrap_or_default()),
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    let headers = lines(&parts.headers);
    Some(Answer { status: parts.status.as_u16(), headers, body, is_whole })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// An answer as servers may write it, more or less.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("HTTP/1.1 200 OK\r\n"),
        Just("HTTP/1.1 206 Partial Content\r\n"),
        Just("HTTP/1.1 204 No Content\r\n"),
        Just("HTTP/1.1 304 Not Modified\r\n"),
        Just("HTTP/1.0 200 OK\r\n"),
        Just("HTTP/1.1 404\r\n"),
        Just("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
        Just("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"),
        Just("HTTP/1.1 099 No\r\n"),
        Just("HTTP/2 200\r\n"),
    ];
    let header = prop_oneof![
        4 => Just("Content-Length: 5\r\n"),
        1 => Just("Content-Length: 6\r\n"),
        1 => Just("content-length:  12 \r\n"),
        1 => Just("Content-Length: +5\r\n"),
        1 => Just("Content-Length: 5, 5\r\n"),
        1 => Just("Content-Length: 99999999999999999999\r\n"),
        2 => Just("Transfer-Encoding: chunked\r\n"),
        1 => Just("Transfer-Encoding: gzip, chunked\r\n"),
        1 => Just("Connection: close\r\n"),
        1 => Just("Connection: keep-alive\r\n"),
        2 => Just("X-A: b\r\n"),
        1 => Just("X-A:\t\u{e9} c\r\n"),
        1 => Just("X-A : b\r\n"),
        1 => Just(" folded\r\n"),
        1 => Just("ETag: \"x\"\n"),
    ];
    let body = prop_oneof![
        Just("hello"),
        Just("hello, world"),
        Just(""),
        Just("he"),
        Just("5\r\nhello\r\n0\r\n\r\n"),
        Just("3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n"),
        Just("5\r\nhel"),
        Just("5\r\nhelloX\r\n"),
    ];
    (line, proptest::collection::vec(header, 0..4), body).prop_map(|(line, headers, body)| {
        [line, &headers.concat(), "\r\n", body].concat().into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// However an answer comes, it is read as hyper reads it, or refused; and what hyper refuses, or
    /// finds cut short, is never taken for whole.
    #[test]
    fn answers_are_read_as_hyper_reads_them(sent in answer(), cut in 1_usize..64) {
        let (ours, hypers) = block_on(async { (ours(&sent, cut).await, hypers(&sent).await) });
        match (ours, hypers) {
            (None, _) => {}
            (Some(ours), Some(hypers)) => prop_assert_eq!(ours, hypers),
            (Some(ours), None) => prop_assert!(false, "hyper refuses {ours:?}"),
        }
    }
}

/// What is refused of what hyper takes is what can be read in two ways.
#[test]
fn refused() {
    for (head, refused) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: x\r\n\r\n", true),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", true),
        ("HTTP/1.1 000 Nothing\r\n\r\n", true),
    ] {
        let parsed = parse(&Bytes::from_static(head.as_bytes()), false);
        assert_eq!(parsed.is_err(), refused, "{head:?}: {parsed:?}");
    }
}

#[test]
fn how_far_a_body_goes() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\n";
    for (head, is_head, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, (Extent::Counted(5), false)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, (Extent::Counted(0), false)),
        ("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", false, (Extent::Counted(0), false)),
        ("HTTP/1.1 204 No\r\n\r\n", false, (Extent::Counted(0), false)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, (Extent::Chunked, false)),
        ("HTTP/1.1 200 OK\r\n\r\n", false, (Extent::UntilClose, true)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, (Extent::Counted(5), true)),
        (closing, false, (Extent::Counted(5), true)),
    ] {
        let parsed = parse(&Bytes::from_static(head.as_bytes()), is_head).unwrap().unwrap();
        assert_eq!((parsed.extent, parsed.is_last), expected, "{head:?}");
    }
}

/// The end of a head is found wherever the pieces end, and not before it.
#[test]
fn ends() {
    for (bytes, end) in [
        ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest", 25),
        ("HTTP/1.1 200 OK\r\n\r\n", 19),
        ("HTTP/1.1 200 OK\nA: b\n\nrest", 22),
    ] {
        let mut scan = Scan::default();
        for length in 0..end {
            assert_eq!(scan.find_end(&bytes.as_bytes()[..length]).unwrap(), None, "{bytes:?}");
        }
        assert_eq!(scan.find_end(bytes.as_bytes()).unwrap(), Some(end), "{bytes:?}");
        assert_eq!(Scan::default().find_end(bytes.as_bytes()).unwrap(), Some(end), "{bytes:?}");
    }
    for never in ["SSH-2.0", "\r\nHTTP/1.1 200", "HTTP/2 ", "HTTP/1.1 OK\r\n", "h"] {
        assert!(Scan::default().find_end(never.as_bytes()).is_err(), "{never:?}");
    }
    for ever in ["", "H", "HTTP/1.1 2", "HTTP/1.1 200"] {
        assert_eq!(Scan::default().find_end(ever.as_bytes()).unwrap(), None, "{ever:?}");
    }
    let endless = ["HTTP/1.1 200 OK\r\nA: ", &"b".repeat(MAX_HEAD_BYTES)].concat();
    assert!(Scan::default().find_end(endless.as_bytes()).is_err());
}
