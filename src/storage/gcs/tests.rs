//! The store against a server that answers as recorded.

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::domain::{ContentRange, ETag, RangeRequest, Secret};
use crate::upstream::AddressPolicy;

/// A server that gives its answers in order and remembers the requests.
struct Recorded {
    store: GcsStore,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorded {
    async fn answering(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                seen.lock().unwrap().push(String::from_utf8(request).unwrap());
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { store: open(config(&endpoint)).unwrap(), requests }
    }

    fn request(&self, index: usize) -> String {
        self.requests.lock().unwrap()[index].clone()
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn open(config: GcsConfig) -> Result<GcsStore, String> {
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    GcsStore::new(config, Client::new(policy).unwrap())
}

fn account() -> ServiceAccount {
    let file = include_str!("../../../tests/keys/service-account.json");
    ServiceAccount::parse(Secret::new(file)).unwrap()
}

fn config(endpoint: &str) -> GcsConfig {
    GcsConfig {
        bucket: "media".into(),
        endpoint: Some(Url::parse(endpoint).unwrap()),
        credentials: GcsCredentials::Account(account()),
        timeouts: GcsTimeouts::default(),
    }
}

/// A response that closes its connection.
fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn xml(status: &str, code: &str) -> String {
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>\
         <Message>What happened.</Message></Error>"
    );
    answer(&format!("{status}\r\nContent-Type: application/xml"), &body)
}

fn path() -> StoragePath {
    StoragePath::from_listing("images/a.jpg")
}

async fn error_of_get(answers: Vec<String>, options: GetOptions) -> StorageError {
    let server = Recorded::answering(answers).await;
    server.store.get(&path(), &options).await.err().expect("the answer is a failure")
}

#[tokio::test]
async fn where_a_store_may_be() {
    let endpoint =
        |url: &str| GcsConfig { endpoint: Some(Url::parse(url).unwrap()), ..config(url) };
    let google = GcsConfig { endpoint: None, ..config("https://x.example") };
    for (config, expected) in [
        (google.clone(), "https://storage.googleapis.com/media/images/a.jpg"),
        (
            endpoint("https://private.googleapis.com/"),
            "https://private.googleapis.com/media/images/a.jpg",
        ),
        (endpoint("http://127.0.0.1:4443"), "http://127.0.0.1:4443/media/images/a.jpg"),
        (endpoint("http://[::1]:4443"), "http://[::1]:4443/media/images/a.jpg"),
    ] {
        let address = Address::of(&config).unwrap();
        assert_eq!(format!("{}{}", address.endpoint, address.path_of(&path())), expected);
    }
    for wrong in [
        GcsConfig { credentials: GcsCredentials::Anonymous, ..google.clone() },
        GcsConfig { bucket: "a/b".into(), ..google.clone() },
        GcsConfig { bucket: "..".into(), ..google },
        endpoint("http://gcs.example"),
        endpoint("http://10.0.0.1"),
        endpoint("https://user:pass@gcs.example"),
        endpoint("https://gcs.example/path"),
        endpoint("https://gcs.example/?x=1"),
    ] {
        assert!(open(wrong.clone()).is_err(), "{wrong:?}");
    }
    let anonymous =
        GcsConfig { credentials: GcsCredentials::Anonymous, ..endpoint("http://localhost:4443") };
    assert!(open(anonymous).is_ok());
}

#[tokio::test]
async fn recorded_failures() {
    use StorageErrorKind as Kind;
    let html = |status| answer(&format!("{status}\r\nContent-Type: text/html"), "<html>no<p>");
    for (recorded, expected) in [
        (xml("404 Not Found", "NoSuchKey"), Kind::NotFound),
        (xml("404 Not Found", "NoSuchBucket"), Kind::Unavailable),
        (xml("403 Forbidden", "AccessDenied"), Kind::AccessDenied),
        (xml("403 Forbidden", "InvalidSecurity"), Kind::Credentials),
        (xml("401 Unauthorized", "AuthenticationRequired"), Kind::Credentials),
        (html("401 Unauthorized"), Kind::Credentials),
        (html("403 Forbidden"), Kind::Unavailable),
        (answer("302 Found\r\nLocation: http://169.254.169.254/", ""), Kind::Unavailable),
        (answer("304 Not Modified\r\nETag: \"a\"", ""), Kind::NotModified),
        (xml("412 Precondition Failed", "PreconditionFailed"), Kind::PreconditionFailed),
        (
            xml("416 Range Not Satisfiable\r\nContent-Range: bytes */7", "InvalidRange"),
            Kind::RangeNotSatisfiable { size: Some(7) },
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), Kind::Unavailable),
    ] {
        let error = error_of_get(vec![recorded.clone()], GetOptions::default()).await;
        assert_eq!(error.kind, expected, "{recorded}: {}", error.detail);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let good = || answer("200 OK\r\nETag: \"v\"", "hello");
    for (trouble, then) in [
        (xml("503 Service Unavailable", "ServiceUnavailable"), good()),
        (xml("429 Too Many Requests", "SlowDown"), good()),
        (xml("500 Internal Server Error", "InternalError"), good()),
        // A connection that is closed without an answer.
        (String::new(), good()),
    ] {
        let server = Recorded::answering(vec![trouble.clone(), trouble.clone(), then]).await;
        let read = server.store.get(&path(), &GetOptions::default()).await.unwrap();
        assert_eq!(read.body.collect().await.unwrap().to_bytes(), "hello", "{trouble}");
        assert_eq!(server.count(), 3, "{trouble}");
    }
    let down = || xml("503 Service Unavailable", "ServiceUnavailable");
    let server = Recorded::answering(vec![down(), down(), down(), good()]).await;
    let error = server.store.head(&path()).await.unwrap_err();
    assert_eq!((error.kind, server.count()), (StorageErrorKind::Unavailable, 3));
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!("http://{}", listener.local_addr().unwrap()));
    config.timeouts.call = Duration::from_millis(50);
    let error = open(config).unwrap().head(&path()).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Timeout);
}

#[tokio::test]
async fn a_head_without_a_code_is_asked_again_as_a_get() {
    use StorageErrorKind as Kind;
    for (head, get, expected) in [
        ("403 Forbidden", xml("403 Forbidden", "AccessDenied"), Kind::AccessDenied),
        ("403 Forbidden", xml("403 Forbidden", "InvalidSecurity"), Kind::Credentials),
        ("404 Not Found", xml("404 Not Found", "NoSuchBucket"), Kind::Unavailable),
        ("404 Not Found", xml("404 Not Found", "NoSuchKey"), Kind::NotFound),
    ] {
        let server = Recorded::answering(vec![answer(head, ""), get]).await;
        let error = server.store.head(&path()).await.unwrap_err();
        assert_eq!(error.kind, expected, "{head}: {}", error.detail);
        assert!(server.request(0).starts_with("HEAD /media/images/a.jpg "));
        assert!(server.request(1).starts_with("GET /media/images/a.jpg "));
        assert!(server.request(1).contains("range: bytes=0-0\r\n"), "{}", server.request(1));
    }
}

#[tokio::test]
async fn a_part_must_be_the_one_that_was_asked_for() {
    let ranged =
        || GetOptions { range: Some(RangeRequest::Between(2, 4)), ..GetOptions::default() };
    let good = answer("206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nETag: \"v\"", "cde");
    let server = Recorded::answering(vec![good]).await;
    let read = server.store.get(&path(), &ranged()).await.unwrap();
    assert_eq!((read.meta.size, read.part), (10, ContentRange::parse("bytes 2-4/10")));
    assert_eq!(read.body.collect().await.unwrap().to_bytes(), "cde");

    for (head, body, options) in [
        ("206 Partial Content", "cde", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 2-4/*", "cde", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 3-5/10", "def", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 2-4/10", "cdefg", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 2-4/10", "cde", GetOptions::default()),
        ("204 No Content", "", GetOptions::default()),
    ] {
        let error = error_of_get(vec![answer(head, body)], options).await;
        assert_eq!(error.kind, StorageErrorKind::Unavailable, "{head} {body}");
    }
}

#[tokio::test]
async fn conditions_are_asked_and_the_answer_is_not_believed() {
    let tag = |text| ETag::parse(text).unwrap();
    let new = || answer("200 OK\r\nETag: \"new\"", "abc");
    let options = GetOptions { if_match: Some(tag("\"old\"")), ..GetOptions::default() };
    let server = Recorded::answering(vec![new()]).await;
    let error = server.store.get(&path(), &options).await.err().unwrap();
    assert_eq!(error.kind, StorageErrorKind::PreconditionFailed);
    assert!(server.request(0).contains("if-match: \"old\"\r\n"));

    let known = vec![tag("\"other\""), tag("\"new\"")];
    let options = GetOptions { if_none_match: known, ..GetOptions::default() };
    let server = Recorded::answering(vec![new()]).await;
    let error = server.store.get(&path(), &options).await.err().unwrap();
    assert_eq!(error.kind, StorageErrorKind::NotModified);
    assert!(server.request(0).contains("if-none-match: \"other\", \"new\"\r\n"));
}

#[tokio::test]
async fn what_is_stored_packed_is_not_taken_for_what_is_sent() {
    let stored = "200 OK\r\nETag: \"v\"\r\nx-goog-stored-content-encoding: gzip\r\n\
                  x-goog-stored-content-length: 3";
    let server = Recorded::answering(vec![answer(stored, "")]).await;
    let meta = server.store.head(&path()).await.unwrap();
    assert_eq!((meta.size, meta.content_encoding.as_deref()), (3, Some("gzip")));
    let error = error_of_get(vec![answer(stored, "unpacked")], GetOptions::default()).await;
    assert_eq!(error.kind, StorageErrorKind::Unavailable, "{}", error.detail);

    let as_it_is = format!("{stored}\r\nContent-Encoding: gzip");
    let server = Recorded::answering(vec![answer(&as_it_is, "gz!")]).await;
    let read = server.store.get(&path(), &GetOptions::default()).await.unwrap();
    assert_eq!((read.meta.size, read.meta.content_encoding.as_deref()), (3, Some("gzip")));
}

#[tokio::test]
async fn deleting_one_version_is_conditional() {
    let meta = |etag: &str, version: Option<&str>| ObjectMeta {
        etag: ETag::parse(etag),
        version: version.map(str::to_owned),
        ..ObjectMeta::default()
    };
    let gone = || answer("204 No Content", "");
    let refused = || xml("412 Precondition Failed", "PreconditionFailed");
    let head = || answer("200 OK\r\nETag: \"v1\"\r\nx-goog-generation: 7", "");

    let server = Recorded::answering(vec![gone()]).await;
    server.store.delete(&path(), Some(&meta("\"v1\"", Some("7")))).await.unwrap();
    assert!(server.request(0).starts_with("DELETE /media/images/a.jpg "));
    assert!(server.request(0).contains("x-goog-if-generation-match: 7\r\n"));

    let server = Recorded::answering(vec![head(), gone()]).await;
    server.store.delete(&path(), Some(&meta("\"v1\"", None))).await.unwrap();
    assert!(server.request(1).contains("x-goog-if-generation-match: 7\r\n"));

    let server = Recorded::answering(vec![head()]).await;
    let error = server.store.delete(&path(), Some(&meta("\"v0\"", None))).await.unwrap_err();
    assert_eq!((error.kind, server.count()), (StorageErrorKind::PreconditionFailed, 1));

    let server = Recorded::answering(vec![refused(), head()]).await;
    let error = server.store.delete(&path(), Some(&meta("", Some("6")))).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::PreconditionFailed);

    // Nothing has no generation either.
    let missing = vec![refused(), answer("404 Not Found", ""), xml("404 Not Found", "NoSuchKey")];
    let server = Recorded::answering(missing).await;
    server.store.delete(&path(), Some(&meta("", Some("6")))).await.unwrap();

    let server = Recorded::answering(vec![]).await;
    let error = server.store.delete(&path(), Some(&meta("", None))).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unsupported);
}

#[tokio::test]
async fn a_page_is_asked_for_with_everything_encoded() {
    let page = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let server = Recorded::answering(vec![answer("200 OK", page)]).await;
    server.store.list("a b+c/&d", Some("x=/+"), 5_000).await.unwrap();
    let expected = "GET /media?list-type=2&encoding-type=url&max-keys=1000&prefix=a%20b%2Bc%2F%26d\
                    &continuation-token=x%3D%2F%2B HTTP/1.1\r\n";
    assert!(server.request(0).starts_with(expected), "{}", server.request(0));
}

#[tokio::test]
async fn requests_carry_a_token_and_nothing_prints_it() {
    let denied = || xml("403 Forbidden", "AccessDenied");
    let server = Recorded::answering(vec![denied(), denied()]).await;
    let error = server.store.get(&path(), &GetOptions::default()).await.err().unwrap();
    let token = |index: usize| {
        let request = server.request(index);
        let (_, rest) = request.split_once("authorization: Bearer ").expect("there is a token");
        rest.split("\r\n").next().unwrap().to_owned()
    };
    assert_eq!(token(0).split('.').count(), 3, "a JSON web token");
    assert!(!error.detail.contains(&token(0)));
    assert!(!format!("{:?}", server.store).contains("PRIVATE"));
    let again = server.store.get(&path(), &GetOptions::default()).await.err().unwrap();
    assert_eq!(token(1), token(0), "it is kept: {}", again.detail);
    assert!(server.request(0).contains("accept-encoding: identity\r\n"));

    let anonymous = Recorded::answering(vec![denied()]).await;
    let endpoint = anonymous.store.address.endpoint.clone();
    let nobody =
        open(GcsConfig { credentials: GcsCredentials::Anonymous, ..config(&endpoint) }).unwrap();
    let _ = nobody.get(&path(), &GetOptions::default()).await;
    assert!(!anonymous.request(0).contains("authorization"));
}

#[tokio::test]
async fn every_promise_is_a_signed_header() {
    let store = open(config("http://127.0.0.1:4443")).unwrap();
    let path = StoragePath::from_listing("images/a b.jpg");
    let now = SystemTime::now();
    let plain = PutGrant {
        path: &path,
        media_type: MediaType::Jpeg,
        size: None,
        sha256: None,
        prevent_overwrite: false,
        expires_in: Duration::from_secs(900),
    };
    let strict = PutGrant { size: Some(5), prevent_overwrite: true, ..plain.clone() };
    let signed_headers = |url: &str| {
        let url = Url::parse(url).unwrap();
        let found = url.query_pairs().find(|(name, _)| name == "X-Goog-SignedHeaders");
        found.unwrap().1.into_owned()
    };
    let jpeg = ("Content-Type", "image/jpeg".to_owned());

    let signed = store.sign_put(&plain, now).await.unwrap();
    assert_eq!(signed_headers(&signed.url), "content-type;host");
    assert_eq!(signed.headers, std::slice::from_ref(&jpeg));
    assert!(signed.expires_at <= now + Duration::from_secs(900));
    assert!(signed.url.starts_with("http://127.0.0.1:4443/media/images/a%20b.jpg?"));

    let signed = store.sign_put(&strict, now).await.unwrap();
    assert_eq!(
        signed_headers(&signed.url),
        "content-type;host;x-goog-content-length-range;x-goog-if-generation-match"
    );
    let size = ("x-goog-content-length-range", "5,5".to_owned());
    assert_eq!(signed.headers, [jpeg, size, ("x-goog-if-generation-match", "0".to_owned())]);
}
