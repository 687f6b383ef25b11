//! Heads, one by one; and that it does not matter how they come.

use proptest::prelude::*;

use super::*;

fn judged(head: &str) -> Result<Extent, Problem> {
    judge(head.as_bytes())
}

fn get(more: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{more}\r\n")
}

#[test]
fn what_follows_a_head() {
    for (more, expected) in [
        ("", Extent::Counted(0)),
        ("Content-Length: 0\r\n", Extent::Counted(0)),
        ("content-length:12\r\n", Extent::Counted(12)),
        ("Content-Length: 007 \r\n", Extent::Counted(7)),
        ("Content-Length: 18446744073709551613\r\n", Extent::Counted(u64::MAX - 2)),
        ("Transfer-Encoding: chunked\r\n", Extent::Chunked),
        ("TRANSFER-ENCODING: \t Chunked \r\n", Extent::Chunked),
        ("Content-Lengths: 3\r\nX-Transfer-Encoding: gzip\r\n", Extent::Counted(0)),
    ] {
        assert_eq!(judged(&get(more)), Ok(expected), "{more:?}");
    }
    assert_eq!(judged("\r\n\r\nGET / HTTP/1.0\r\n\r\n"), Ok(Extent::Counted(0)));
}

#[test]
fn lengths_that_could_be_read_in_two_ways() {
    for more in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "transfer-encoding: chunked\r\ncontent-length: x\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 4\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551614\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked;x=y\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        let judged = judged(&get(more));
        assert!(matches!(judged, Err(Problem::BadRequest(_))), "{more:?}: {judged:?}");
    }
    let old = judged("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(matches!(old, Err(Problem::BadRequest(_))), "{old:?}");
}

#[test]
fn heads_that_are_none() {
    for head in [
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET \u{1}/ HTTP/1.1\r\n\r\n",
        "GET http:/// HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX-A : b\r\n\r\n",
        "GET / HTTP/1.1\r\n X-A: b\r\n\r\n",
        "GET / HTTP/1.1\r\nX-A: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nX-A: b\0\r\n\r\n",
        "GET / HTTP/1.1\r\nX-A: b\rX-B: c\r\n\r\n",
        "GET / HTTP/1.1\r\nX A: b\r\n\r\n",
        "GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nnothing\r\n\r\n",
    ] {
        let judged = judged(head);
        assert!(matches!(judged, Err(Problem::BadRequest(_))), "{head:?}: {judged:?}");
    }
}

#[test]
fn targets() {
    for target in ["/", "/a?b=%20", "/{}", "/\u{e9}", "*", "http://h/x", "h:443"] {
        let head = format!("OPTIONS {target} HTTP/1.1\r\n\r\n");
        assert_eq!(judged(&head), Ok(Extent::Counted(0)), "{target}");
    }
    let of_length = |length| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(length - 1));
    assert_eq!(judged(&of_length(MAX_TARGET_BYTES)), Ok(Extent::Counted(0)));
    assert_eq!(judged(&of_length(MAX_TARGET_BYTES + 1)), Err(Problem::UriTooLong));
}

#[test]
fn sizes() {
    let header = |length: usize| get(&format!("X: {}\r\n", "x".repeat(length)));
    // `Host: h` and `X: ` take 9 + 5 of the bytes that are counted.
    assert_eq!(judged(&header(MAX_HEAD_BYTES - 14)), Ok(Extent::Counted(0)));
    assert_eq!(judged(&header(MAX_HEAD_BYTES - 13)), Err(Problem::HeadersTooLarge));
    assert_eq!(judged(&get(&"X: y\r\n".repeat(99))), Ok(Extent::Counted(0)));
    assert_eq!(judged(&get(&"X: y\r\n".repeat(100))), Err(Problem::HeadersTooLarge));
}

fn end(bytes: &[u8]) -> Result<Option<usize>, Problem> {
    Scan::default().find_end(bytes)
}

#[test]
fn the_end_of_a_head() {
    let head = get("");
    for (before, after) in
        [("", ""), ("\r\n", ""), ("\r\n\r\n", ""), ("", "GET / HTTP/1.1\r\n\r\n")]
    {
        let bytes = format!("{before}{head}{after}");
        let length = before.len() + head.len();
        assert_eq!(end(bytes.as_bytes()), Ok(Some(length)), "{bytes:?}");
        for cut in 0..length {
            assert_eq!(end(&bytes.as_bytes()[..cut]), Ok(None), "{cut} of {bytes:?}");
        }
    }
    for malformed in [
        "\n",
        "\r\r",
        "\r\n\r\n\r\n",
        " GET",
        "\0",
        "\x16\x03\x01",
        "{",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nHost: h\n",
        "GET / HTTP/1.1\r\n\n",
    ] {
        let found = end(malformed.as_bytes());
        assert!(matches!(found, Err(Problem::BadRequest(_))), "{malformed:?}: {found:?}");
    }
}

#[test]
fn a_head_without_an_end_is_not_kept_for_long() {
    let line = format!("GET /{}", "x".repeat(MAX_TARGET_BYTES + LINE_MARGIN));
    assert_eq!(end(line.as_bytes()), Err(Problem::UriTooLong));
    let headers = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
    assert_eq!(end(headers.as_bytes()), Err(Problem::HeadersTooLarge));
    let lines = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(MAX_HEAD_BYTES / 6 + 1));
    assert_eq!(end(lines.as_bytes()), Err(Problem::HeadersTooLarge));
}

proptest! {
    /// However a head comes, its end is found at the same byte, or it is refused for the same thing.
    #[test]
    fn pieces_come_to_the_same(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            "(\r\n){0,3}G(ET / HTTP/1.1|)(\r?\n(A: [ab]{0,3})?){0,5}".prop_map(String::into_bytes),
        ],
    ) {
        let mut scan = Scan::default();
        let pieces = (0..=bytes.len())
            .map(|length| scan.find_end(&bytes[..length]))
            .find(|found| *found != Ok(None))
            .unwrap_or(Ok(None));
        prop_assert_eq!(pieces, end(&bytes));
    }

    /// What is let through is what hyper's parser makes of it as well: one head of this length.
    #[test]
    fn what_is_let_through_is_one_head(
        bytes in "(\r\n){0,2}(GET|P.ST) [/a*\r\n ]{1,4} HTTP/1.[01](\r\n[A: ]{0,4}:[ab \r\n]{0,4}){0,4}\r\n\r\n",
    ) {
        let bytes = bytes.as_bytes();
        if let Ok(Some(length)) = end(bytes) && judge(&bytes[..length]).is_ok() {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let parsed = Request::new(&mut headers).parse(bytes);
            prop_assert_eq!(parsed, Ok(Status::Complete(length)));
        }
    }
}
