//! What a signature permits, and that it permits nothing else.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Running, Signer, put, request, url, with_body};

const MINUTE: Duration = Duration::from_secs(60);

/// The URL for a PUT of 5 bytes of `image/jpeg` to `a.jpg`, as the gateway signs it.
fn granted(store: &Running, signer: &Signer) -> Request<Bytes> {
    let headers = [("content-type", "image/jpeg"), ("content-length", "5"), ("if-none-match", "*")];
    store.presign(signer, put("a.jpg", "hello", &headers), MINUTE)
}

#[tokio::test]
async fn a_presigned_put_permits_exactly_what_was_signed() {
    let store = Running::start().await;
    type Change = fn(&mut Request<Bytes>);
    let changes: [(&str, Change); 9] = [
        ("another type", |r| {
            r.headers_mut().insert("content-type", "text/html".parse().unwrap());
        }),
        ("no type", |r| {
            r.headers_mut().remove("content-type");
        }),
        ("another length", |r| {
            *r.body_mut() = Bytes::from_static(b"hello!");
            r.headers_mut().insert("content-length", "6".parse().unwrap());
        }),
        ("without the condition", |r| {
            r.headers_mut().remove("if-none-match");
        }),
        ("another method", |r| *r.method_mut() = Method::DELETE),
        ("another key", |r| replace(r, "a.jpg", "b.jpg")),
        ("a longer life", |r| replace(r, "X-Amz-Expires=60", "X-Amz-Expires=600")),
        ("fewer signed headers", |r| {
            replace(r, "content-length%3Bcontent-type%3B", "content-type%3B");
        }),
        ("another signature", |r| {
            let uri = r.uri().to_string();
            let last = if uri.ends_with('0') { "1" } else { "0" };
            *r.uri_mut() = format!("{}{last}", &uri[..uri.len() - 1]).parse().unwrap();
        }),
    ];
    for (what, change) in changes {
        let mut request = granted(&store, &Signer::default());
        let before = format!("{request:?}");
        change(&mut request);
        assert_ne!(before, format!("{request:?}"), "{what} changed nothing");
        let reply = store.send(request).await;
        assert_eq!(reply.verdict(), (403, "SignatureDoesNotMatch"), "{what}");
    }
    assert_eq!(store.blobs(), 0);

    assert_eq!(store.send(granted(&store, &Signer::default())).await.status, 200);
    let again = store.send(granted(&store, &Signer::default())).await;
    assert_eq!(again.verdict(), (412, "PreconditionFailed"));
    let got = store.signed(request("GET", "a.jpg", &[])).await;
    assert_eq!((got.text(), got.header("content-type")), ("hello", Some("image/jpeg")));
}

fn replace(request: &mut Request<Bytes>, from: &str, to: &str) {
    let changed = request.uri().to_string().replacen(from, to, 1);
    *request.uri_mut() = changed.parse::<Uri>().unwrap();
}

#[tokio::test]
async fn a_presigned_url_ends() {
    let store = Running::start().await;
    let ago = |seconds| Signer {
        at: SystemTime::now() - Duration::from_secs(seconds),
        ..Signer::default()
    };
    assert_eq!(store.send(granted(&store, &ago(30))).await.status, 200);
    let late = store.send(granted(&store, &ago(120))).await;
    assert_eq!(late.verdict(), (403, "AccessDenied"));
    assert!(late.text().contains("expired"), "{}", late.text());

    let get = request("GET", "a.jpg", &[]);
    let week = store.presign(&Signer::default(), get.clone(), Duration::from_secs(604_800));
    assert_eq!(store.send(week).await.status, 200);
    let longer = store.presign(&Signer::default(), get, Duration::from_secs(604_801));
    let reply = store.send(longer).await;
    assert_eq!(reply.verdict(), (400, "AuthorizationQueryParametersError"));
}

#[tokio::test]
async fn other_keys_and_no_keys_are_refused() {
    let store = Running::start().await;
    store.signed(put("a", "hello", &[])).await;

    let anonymous = store.send(request("GET", "a", &[])).await;
    assert_eq!(anonymous.verdict(), (403, "AccessDenied"));
    let anonymous = store.send(put("b", "hello", &[])).await;
    assert_eq!(anonymous.verdict(), (403, "AccessDenied"));

    let stranger = Signer { access_key: "STRANGER", ..Signer::default() };
    let reply = store.signed_by(&stranger, request("GET", "a", &[]), None).await;
    assert_eq!(reply.verdict(), (403, "InvalidAccessKeyId"));
    let reply = store.send(granted(&store, &stranger)).await;
    assert_eq!(reply.verdict(), (403, "InvalidAccessKeyId"));

    let forger = Signer { secret_key: "guess", ..Signer::default() };
    let reply = store.signed_by(&forger, request("GET", "a", &[]), None).await;
    assert_eq!(reply.verdict(), (403, "SignatureDoesNotMatch"));

    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let stale = Signer { at: yesterday, ..Signer::default() };
    let reply = store.signed_by(&stale, request("GET", "a", &[]), None).await;
    assert_eq!(reply.verdict(), (403, "RequestTimeTooSkewed"));
}

#[tokio::test]
async fn a_field_of_amazons_must_be_signed() {
    let store = Running::start().await;
    let mut smuggling = granted(&store, &Signer::default());
    smuggling.headers_mut().insert("x-amz-meta-note", "unsigned".parse().unwrap());
    let reply = store.send(smuggling).await;
    assert_eq!(reply.verdict(), (403, "AccessDenied"));
    assert!(reply.text().contains("x-amz-meta-note"));
}

#[tokio::test]
async fn a_body_must_be_the_one_that_was_signed() {
    let store = Running::start().await;
    let mut swapped = store.sign(&Signer::default(), put("a", "hello", &[]), None);
    *swapped.body_mut() = Bytes::from_static(b"world");
    let reply = store.send(swapped).await;
    assert_eq!(reply.verdict(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(store.blobs(), 0);
}

/// Version 2, right by its own rules: the HMAC-SHA1 of `GET\n\n\n4102444800\n/media/a`.
#[tokio::test]
async fn the_retired_signature_is_refused() {
    use s3s::crypto::{Checksum as _, Sha1};

    let store = Running::start().await;
    store.signed(put("a", "hello", &[])).await;
    // HMAC by its definition: there is no SHA-1 among the crates of this one.
    let sha1 = |parts: &[&[u8]]| {
        let mut hash = Sha1::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize()
    };
    let mut pad = [0_u8; 64];
    pad[..super::client::SECRET_KEY.len()].copy_from_slice(super::client::SECRET_KEY.as_bytes());
    let message = b"GET\n\n\n4102444800\n/media/a";
    let inner = sha1(&[&pad.map(|b| b ^ 0x36), message]);
    let mac = sha1(&[&pad.map(|b| b ^ 0x5c), &inner]);
    let signature = aws_smithy_types::base64::encode(mac);
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("AWSAccessKeyId", super::client::ACCESS_KEY)
        .append_pair("Expires", "4102444800")
        .append_pair("Signature", &signature)
        .finish();
    let reply = store.send(with_body("GET", &url("a", &format!("?{query}")), &[], "")).await;
    assert_eq!(reply.verdict(), (400, "InvalidRequest"), "{}", reply.text());
    assert!(reply.text().contains("AWS4-HMAC-SHA256"), "{}", reply.text());
}

/// A client that writes all of its body before it reads, as many do, and more of it than sockets
/// hold.
#[tokio::test]
async fn a_refused_upload_of_many_bytes_gets_its_answer() {
    let store = Running::start().await;
    let mut stream = TcpStream::connect(store.address).await.unwrap();
    let body = vec![0; 16 << 20];
    let head = format!(
        "PUT /media/a HTTP/1.1\r\nHost: s3\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 403 "), "{reply}");
    assert!(reply.contains("<Code>AccessDenied</Code>"), "{reply}");
}
