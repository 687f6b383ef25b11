//! Clients that are old or unusual, and honest.

use super::*;

/// The first answer to these bytes, and whether the connection is open after it.
async fn answer_to(gateway: &TestGateway, bytes: &str) -> (RawAnswer, bool) {
    let (answer, is_closed) = exchange(gateway, bytes.as_bytes()).await;
    (answer.unwrap_or_else(|| panic!("no answer to {bytes:?}")), !is_closed)
}

#[tokio::test]
async fn http_1_0() {
    let gateway = gateway().await;
    for (head, stays_open) in [
        ("GET /x HTTP/1.0\r\n\r\n", false),
        ("GET /x HTTP/1.0\r\nHost: h\r\n\r\n", false),
        ("GET /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false),
    ] {
        let (answer, is_open) = answer_to(&gateway, head).await;
        let got = (answer.status, answer.code(), is_open);
        assert_eq!(got, (404, "unknown_route".to_owned(), stays_open), "{head:?}");
    }
    // Its body is as long as it says, and nothing has a chunk.
    let length = GOOD_BODY.len();
    let head = presign_head(&format!("Content-Length: {length}\r\n"));
    let (answer, is_open) =
        answer_to(&gateway, &(head.replace("HTTP/1.1", "HTTP/1.0") + GOOD_BODY)).await;
    assert_eq!((answer.status, is_open), (200, false));
    assert_eq!(answer.header("transfer-encoding"), "");
}

#[tokio::test]
async fn forms_of_targets() {
    let gateway = gateway().await;
    let image = format!("/darkroom/shop/v2/images/{}-a.jpg", "0".repeat(26));
    for (line, status, code) in [
        // Whoever asks a proxy writes it so; the path counts, and the host never does.
        (format!("GET http://elsewhere.example{image}"), 404, "not_found"),
        (format!("GET https://h{image}"), 404, "not_found"),
        ("GET http://h/darkroom/shop/v2/images/../x.jpg".to_owned(), 400, "invalid_key"),
        ("GET http://h".to_owned(), 404, "unknown_route"),
        ("GET *".to_owned(), 404, "unknown_route"),
        ("GET h:80".to_owned(), 404, "unknown_route"),
        ("OPTIONS *".to_owned(), 204, ""),
        (format!("OPTIONS {image}"), 204, ""),
        (format!("OPTIONS {PRESIGN}"), 204, ""),
    ] {
        let (answer, is_open) =
            answer_to(&gateway, &format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(
            (answer.status, answer.code().as_str(), is_open),
            (status, code, true),
            "{line}"
        );
        assert_eq!(answer.header("allow").is_empty(), status != 204, "{line}: {answer:?}");
    }
    assert_healthy(&gateway).await;
}

/// What old clients send after a body is no request, and harms none.
#[tokio::test]
async fn line_ends_between_requests() {
    let gateway = gateway().await;
    let mut raw = Raw::connect(&gateway.base).await;
    let length = GOOD_BODY.len();
    let post = presign_head(&format!("Content-Length: {length}\r\n")) + GOOD_BODY;
    for between in ["", "\r\n", "\r\n\r\n"] {
        raw.send(format!("{between}{post}")).await;
        assert_eq!(raw.answer().await.expect("an answer").status, 200, "{between:?}");
    }
}

/// In pieces of one byte, and with a body in many chunks: as good as any other.
#[tokio::test]
async fn a_request_in_pieces() {
    let gateway = gateway().await;
    let mut raw = Raw::connect(&gateway.base).await;
    let chunks: String = GOOD_BODY.chars().map(|c| format!("1;x=y\r\n{c}\r\n")).collect();
    let post = presign_head("Transfer-Encoding: chunked\r\n") + &chunks + "0\r\nX-T: t\r\n\r\n";
    for _ in 0..2 {
        for byte in post.as_bytes() {
            raw.send([*byte]).await;
        }
        assert_eq!(raw.answer().await.expect("an answer").status, 200);
    }
}
