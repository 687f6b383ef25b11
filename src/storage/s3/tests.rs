//! The store against a server that answers as recorded.

mod recorded;

use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::domain::{ContentRange, ETag, RangeRequest, Secret};
use crate::storage::StorageErrorKind;
use crate::upstream::{AddressPolicy, BodyError};

/// A server that gives its answers in order and remembers the requests.
struct Recorded {
    store: S3Store,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorded {
    async fn answering(answers: Vec<String>) -> Self {
        Self::of(Provider::Other, answers).await
    }

    async fn of(provider: Provider, answers: Vec<String>) -> Self {
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
        let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
        let config = S3Config { provider, ..config(&endpoint) };
        let store = S3Store::new(config, Client::new(policy).unwrap()).unwrap();
        Self { store, requests }
    }

    fn request(&self, index: usize) -> String {
        self.requests.lock().unwrap()[index].clone()
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn config(endpoint: &str) -> S3Config {
    S3Config {
        bucket: "media".into(),
        provider: Provider::Other,
        region: "us-east-1".into(),
        endpoint: Some(url::Url::parse(endpoint).unwrap()),
        path_style: true,
        credentials: S3Credentials::Key(AccessKey {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: Secret::new("the secret of the key"),
            session_token: Some(Secret::new("the session token")),
        }),
        source: Source::S3,
        timeouts: S3Timeouts::default(),
    }
}

/// A response that closes its connection.
fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn xml(status: &str, code: &str) -> String {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>What happened.</Message><Key>a.jpg</Key><RequestId>R1</RequestId></Error>"
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
async fn recorded_failures() {
    use StorageErrorKind as Kind;
    let html = |status| answer(&format!("{status}\r\nContent-Type: text/html"), "<html>no<p>");
    let too_far = "<Error><Code>InvalidRange</Code><Message>x</Message>\
                   <RangeRequested>bytes=9-</RangeRequested>\
                   <ActualObjectSize>5</ActualObjectSize></Error>";
    let cases = [
        (xml("404 Not Found", "NoSuchKey"), Kind::NotFound),
        (xml("404 Not Found", "NoSuchBucket"), Kind::Unavailable),
        (xml("403 Forbidden", "AccessDenied"), Kind::AccessDenied),
        (xml("403 Forbidden", "InvalidAccessKeyId"), Kind::Credentials),
        (xml("403 Forbidden", "SignatureDoesNotMatch"), Kind::Credentials),
        (xml("400 Bad Request", "ExpiredToken"), Kind::Credentials),
        (xml("400 Bad Request", "InvalidToken"), Kind::Credentials),
        (xml("403 Forbidden", "RequestTimeTooSkewed"), Kind::Credentials),
        (xml("403 Forbidden", "InvalidObjectState"), Kind::Unavailable),
        (xml("412 Precondition Failed", "PreconditionFailed"), Kind::PreconditionFailed),
        (xml("501 Not Implemented", "NotImplemented"), Kind::Unsupported),
        (xml("301 Moved Permanently", "PermanentRedirect"), Kind::Unavailable),
        (answer("304 Not Modified\r\nETag: \"a\"", ""), Kind::NotModified),
        (answer("416 Range Not Satisfiable", too_far), Kind::RangeNotSatisfiable { size: Some(5) }),
        (
            answer("416 Range Not Satisfiable\r\nContent-Range: bytes */7", ""),
            Kind::RangeNotSatisfiable { size: Some(7) },
        ),
        // Not S3 at all: a firewall, a load balancer.
        (html("403 Forbidden"), Kind::Unavailable),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), Kind::Unavailable),
    ];
    for (recorded, expected) in cases {
        let error = error_of_get(vec![recorded.clone()], GetOptions::default()).await;
        assert_eq!(error.kind, expected, "{recorded}: {}", error.detail);
    }
}

#[tokio::test]
async fn what_providers_answer_means_the_same() {
    let r2 = recorded::R2.iter().map(|answer| (Provider::R2, answer));
    let b2 = recorded::B2.iter().map(|answer| (Provider::B2, answer));
    for (provider, recorded) in r2.chain(b2) {
        // What is tried again is answered in the same way.
        let server = Recorded::of(provider, vec![recorded.on_the_wire(); 3]).await;
        let error = server.store.get(&path(), &GetOptions::default()).await.err().unwrap();
        assert_eq!(error.kind, recorded.meaning, "{}: {}", recorded.what, error.detail);

        // Their HEADs have no body either.
        let head = answer(recorded.head, "");
        if error.kind != StorageErrorKind::Unavailable {
            let mut answers = vec![head];
            answers.extend(vec![recorded.on_the_wire(); 3]);
            let server = Recorded::of(provider, answers).await;
            let of_head = server.store.head(&path()).await.unwrap_err().kind;
            let ranged = matches!(recorded.meaning, StorageErrorKind::RangeNotSatisfiable { .. });
            assert!(of_head == recorded.meaning || ranged, "{}: {of_head:?}", recorded.what);
        }
    }
}

#[tokio::test]
async fn a_throttle_is_tried_three_times_and_no_more() {
    let slow_down = || xml("503 Slow Down", "SlowDown");
    let server =
        Recorded::answering(vec![slow_down(), slow_down(), slow_down(), slow_down()]).await;
    let error = server.store.head(&path()).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unavailable, "{}", error.detail);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&format!("http://{}", listener.local_addr().unwrap()));
    config.timeouts.call = Duration::from_millis(50);
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let store = S3Store::new(config, Client::new(policy).unwrap()).unwrap();
    let error = store.head(&path()).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Timeout);
}

#[tokio::test]
async fn a_head_without_a_code_is_asked_again_as_a_get() {
    use StorageErrorKind as Kind;
    for (head, get, expected) in [
        ("403 Forbidden", xml("403 Forbidden", "AccessDenied"), Kind::AccessDenied),
        ("403 Forbidden", xml("403 Forbidden", "SignatureDoesNotMatch"), Kind::Credentials),
        ("400 Bad Request", xml("400 Bad Request", "ExpiredToken"), Kind::Credentials),
        ("404 Not Found", xml("404 Not Found", "NoSuchBucket"), Kind::Unavailable),
        ("404 Not Found", xml("404 Not Found", "NoSuchKey"), Kind::NotFound),
    ] {
        let server = Recorded::answering(vec![answer(head, ""), get]).await;
        let error = server.store.head(&path()).await.unwrap_err();
        assert_eq!(error.kind, expected, "{head}: {}", error.detail);
        assert!(server.request(0).starts_with("HEAD /media/images/a.jpg "));
        assert!(server.request(1).starts_with("GET /media/images/a.jpg"));
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
    assert_eq!(read.meta.size, 10);
    assert_eq!(read.part, ContentRange::parse("bytes 2-4/10"));
    assert_eq!(read.body.collect().await.unwrap().to_bytes(), "cde");

    for (head, body, options) in [
        ("206 Partial Content", "cde", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 2-4/*", "cde", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 3-5/10", "def", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 2-4/10", "cdefg", ranged()),
        ("206 Partial Content\r\nContent-Range: bytes 2-4/10", "cde", GetOptions::default()),
    ] {
        let error = error_of_get(vec![answer(head, body)], options).await;
        assert_eq!(error.kind, StorageErrorKind::Unavailable, "{head} {body}");
    }
}

#[tokio::test]
async fn a_content_range_without_a_206_means_nothing() {
    let odd = answer("200 OK\r\nContent-Range: bytes 2-4/10", "abc");
    let server = Recorded::answering(vec![odd]).await;
    let read = server.store.get(&path(), &GetOptions::default()).await.unwrap();
    assert_eq!((read.meta.size, read.part), (3, None));
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_not_believed() {
    let old = ETag::parse("\"old\"").unwrap();
    let new = || answer("200 OK\r\nETag: \"new\"", "abc");
    let options = GetOptions { if_match: Some(old), ..GetOptions::default() };
    let error = error_of_get(vec![new()], options).await;
    assert_eq!(error.kind, StorageErrorKind::PreconditionFailed);

    let known = ["\"other\"", "\"new\""].map(|tag| ETag::parse(tag).unwrap()).to_vec();
    let options = GetOptions { if_none_match: known, ..GetOptions::default() };
    let server = Recorded::answering(vec![new()]).await;
    let error = server.store.get(&path(), &options).await.err().unwrap();
    assert_eq!(error.kind, StorageErrorKind::NotModified);
    assert!(server.request(0).contains("if-none-match: \"other\", \"new\"\r\n"));
}

#[tokio::test]
async fn a_header_that_is_not_utf_8_does_not_hide_the_object() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await.unwrap();
        let latin_1 = b"HTTP/1.1 200 OK\r\nx-amz-meta-name: caf\xe9\r\nETag: \"v\"\r\nContent-Length: 2\r\n\r\nhi";
        socket.write_all(latin_1).await.unwrap();
    });
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let store = S3Store::new(config(&endpoint), Client::new(policy).unwrap()).unwrap();
    let read = store.get(&path(), &GetOptions::default()).await.unwrap();
    assert_eq!(read.meta.etag, ETag::parse("\"v\""));
    assert_eq!(read.body.collect().await.unwrap().to_bytes(), "hi");
}

#[tokio::test]
async fn a_body_that_breaks_off_says_why() {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc".to_owned();
    let server = Recorded::answering(vec![short]).await;
    let read = server.store.get(&path(), &GetOptions::default()).await.unwrap();
    let error = read.body.collect().await.unwrap_err();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    let found = std::iter::from_fn(|| {
        let this = cause?;
        cause = this.source();
        Some(this)
    })
    .find_map(|error| error.downcast_ref::<BodyError>());
    assert_eq!(found, Some(&BodyError::Short));
}

#[tokio::test]
async fn deleting_one_version_looks_first_and_asks_conditionally() {
    let meta = |etag: &str, version: Option<&str>| ObjectMeta {
        etag: ETag::parse(etag),
        version: version.map(str::to_owned),
        ..ObjectMeta::default()
    };
    let head =
        || answer("200 OK\r\nETag: \"v1\"", "").replace("Content-Length: 0", "Content-Length: 3");
    let gone = || answer("204 No Content", "");

    let server = Recorded::answering(vec![head(), gone()]).await;
    server.store.delete(&path(), Some(&meta("\"v1\"", None))).await.unwrap();
    assert!(server.request(1).starts_with("DELETE /media/images/a.jpg"));
    assert!(server.request(1).contains("if-match: \"v1\"\r\n"));

    let server = Recorded::answering(vec![head()]).await;
    let error = server.store.delete(&path(), Some(&meta("\"v0\"", None))).await.unwrap_err();
    assert_eq!((error.kind, server.count()), (StorageErrorKind::PreconditionFailed, 1));

    let server = Recorded::answering(vec![gone()]).await;
    server.store.delete(&path(), Some(&meta("\"v1\"", Some("3L4k")))).await.unwrap();
    assert!(server.request(0).contains("versionId=3L4k"));

    let server = Recorded::answering(vec![]).await;
    let error = server.store.delete(&path(), Some(&meta("", None))).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unsupported);
}

#[tokio::test]
async fn deleting_one_version_by_what_the_provider_obeys() {
    use Provider as P;
    let only = |version: Option<&str>| ObjectMeta {
        etag: ETag::parse("\"v1\""),
        version: version.map(str::to_owned),
        ..ObjectMeta::default()
    };
    let head = |version: &str| {
        answer(&format!("200 OK{version}\r\nETag: \"v1\""), "")
            .replace("Content-Length: 0", "Content-Length: 3")
    };
    let plain = || head("");
    let versioned = || head("\r\nx-amz-version-id: 4_z27c");
    let gone = || answer("204 No Content", "");
    for (provider, known, answers, by_id, by_tag) in [
        (P::Aws, None, vec![plain(), gone()], false, true),
        // The id that comes with the tag is exact, and Amazon's servers refuse both at once.
        (P::Aws, None, vec![versioned(), gone()], true, false),
        (P::B2, None, vec![versioned(), gone()], true, false),
        (P::B2, Some("4_z27c"), vec![gone()], true, false),
        (P::MinIo, None, vec![plain(), gone()], false, false),
        (P::Ceph, None, vec![versioned(), gone()], true, false),
        // Garage gives ids and ignores them: it would delete whatever is there.
        (P::Garage, Some("4_z27c"), vec![versioned(), gone()], false, false),
        (P::R2, Some("4_z27c"), vec![versioned(), gone()], false, false),
    ] {
        let calls = answers.len();
        let server = Recorded::of(provider, answers).await;
        server.store.delete(&path(), Some(&only(known))).await.unwrap();
        assert_eq!(server.count(), calls, "{provider:?}");
        let deletion = server.request(calls - 1);
        assert!(deletion.starts_with("DELETE /media/images/a.jpg"), "{deletion}");
        assert_eq!(deletion.contains("versionId=4_z27c"), by_id, "{provider:?}: {deletion}");
        assert_eq!(deletion.contains("if-match: "), by_tag, "{provider:?}: {deletion}");
    }
    // A newer object is seen, and kept, by all of them.
    for provider in P::ALL {
        let newer = head("").replace("v1", "v2");
        let server = Recorded::of(provider, vec![newer]).await;
        let error = server.store.delete(&path(), Some(&only(None))).await.unwrap_err();
        let expected = (StorageErrorKind::PreconditionFailed, 1);
        assert_eq!((error.kind, server.count()), expected, "{provider:?}");
    }
}

#[tokio::test]
async fn a_completion_that_fails_after_its_200_fails() {
    let late =
        "<?xml version=\"1.0\"?>\n  <Error><Code>InvalidPart</Code><Message>x</Message></Error>";
    let server = Recorded::answering(vec![answer("200 OK", late)]).await;
    let etag = ETag::parse("\"p\"").unwrap();
    let part = UploadedPart { number: 1, size: 0, etag, sha256: None };
    let upload = MultipartId("u".into());
    let error = server.store.complete_multipart(&path(), &upload, &[part]).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::WrongParts, "{}", error.detail);
}

#[tokio::test]
async fn a_list_of_parts_that_never_ends_is_refused() {
    let page = "<ListPartsResult><IsTruncated>true</IsTruncated>\
                <NextPartNumberMarker>1</NextPartNumberMarker><Part><PartNumber>1</PartNumber>\
                <Size>5</Size><ETag>&quot;p&quot;</ETag></Part></ListPartsResult>";
    let server = Recorded::answering(vec![answer("200 OK", page), answer("200 OK", page)]).await;
    let error = server.store.list_parts(&path(), &MultipartId("u".into())).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unavailable, "{}", error.detail);
}

#[tokio::test]
async fn requests_and_errors_hold_no_secret_in_clear() {
    let server = Recorded::answering(vec![xml("403 Forbidden", "SignatureDoesNotMatch")]).await;
    let error = server.store.get(&path(), &GetOptions::default()).await.err().unwrap();
    let texts = [error.detail, format!("{:?}", server.store), server.request(0)];
    for text in texts {
        assert!(!text.contains("the secret of the key"), "{text}");
    }
    assert!(!format!("{:?}", server.store).contains("the session token"));
    assert!(server.request(0).contains("accept-encoding: identity\r\n"));
}

mod grants {
    use super::*;

    fn store(config: S3Config) -> S3Store {
        S3Store::new(config, Client::new(AddressPolicy::default()).unwrap()).unwrap()
    }

    fn signed_headers(url: &str) -> String {
        let url = url::Url::parse(url).unwrap();
        let (_, value) = url.query_pairs().find(|(name, _)| name == "X-Amz-SignedHeaders").unwrap();
        value.into_owned()
    }

    #[tokio::test]
    async fn every_promise_is_a_signed_header() {
        let path = path();
        let plain = PutGrant {
            path: &path,
            media_type: MediaType::Jpeg,
            size: None,
            sha256: None,
            prevent_overwrite: false,
            expires_in: Duration::from_secs(900),
        };
        let strict = PutGrant {
            size: Some(5),
            sha256: Some([0; 32]),
            prevent_overwrite: true,
            ..plain.clone()
        };
        let jpeg = ("Content-Type", "image/jpeg".to_owned());
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
        let store = store(config("https://s3.example.com"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);

        let signed = store.sign_put(&plain, now).await.unwrap();
        assert_eq!(signed_headers(&signed.url), "content-type;host");
        assert_eq!(signed.headers, std::slice::from_ref(&jpeg));
        assert_eq!(signed.expires_at, now + Duration::from_secs(900));
        assert!(signed.url.starts_with("https://s3.example.com/media/images/a.jpg?"));
        assert!(signed.url.contains("X-Amz-Security-Token=the%20session%20token"));

        let signed = store.sign_put(&strict, now).await.unwrap();
        assert_eq!(
            signed_headers(&signed.url),
            "content-length;content-type;host;if-none-match;x-amz-checksum-sha256"
        );
        let expected = [jpeg, ("If-None-Match", "*".to_owned()), ("x-amz-checksum-sha256", zeros)];
        assert_eq!(signed.headers, expected);
    }

    #[tokio::test]
    async fn what_a_provider_would_ignore_is_not_signed() {
        let path = path();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let plain = PutGrant {
            path: &path,
            media_type: MediaType::Jpeg,
            size: Some(5),
            sha256: None,
            prevent_overwrite: false,
            expires_in: Duration::from_secs(900),
        };
        let with_sum = PutGrant { sha256: Some([0; 32]), ..plain.clone() };
        let once = PutGrant { prevent_overwrite: true, ..plain.clone() };
        for provider in Provider::ALL {
            let store = store(S3Config { provider, ..config("https://s3.example.com") });
            let plain = store.sign_put(&plain, now).await.unwrap();
            assert_eq!(signed_headers(&plain.url), "content-length;content-type;host");
            for (grant, does) in
                [(&with_sum, provider.checks_sha256()), (&once, provider.keeps_what_exists())]
            {
                let refusal = store.sign_put(grant, now).await.err().map(|error| error.kind);
                let expected = (!does).then_some(StorageErrorKind::Unsupported);
                assert_eq!(refusal, expected, "{provider:?} {grant:?}");
            }
        }
    }

    #[tokio::test]
    async fn parts_are_numbered_and_named_in_the_query() {
        let store = store(config("https://s3.example.com"));
        let upload = MultipartId("a+/=b".into());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let path = path();
        let plain = PartGrant {
            path: &path,
            upload: &upload,
            number: 7,
            size: 5,
            sha256: None,
            expires_in: Duration::from_secs(60),
        };
        let signed = store.sign_part(&plain, now).await.unwrap();
        assert!(signed.url.contains("&partNumber=7&uploadId=a%2B%2F%3Db&"), "{}", signed.url);
        assert_eq!(signed_headers(&signed.url), "content-length;host");
        assert!(signed.headers.is_empty(), "clients set the length themselves");

        let checked = PartGrant { sha256: Some([0; 32]), ..plain };
        let signed = store.sign_part(&checked, now).await.unwrap();
        assert_eq!(signed_headers(&signed.url), "content-length;host;x-amz-checksum-sha256");
        let zeros = format!("{}=", "A".repeat(43));
        assert_eq!(signed.headers, [("x-amz-checksum-sha256", zeros)]);
        for number in [0, 10_001] {
            assert!(store.sign_part(&PartGrant { number, ..plain }, now).await.is_err());
        }
    }
}
