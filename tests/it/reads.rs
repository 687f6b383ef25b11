//! Reads of public URLs: the same answer whatever source it comes from, nothing of the upstream's
//! or the client's that is not meant to pass, and nothing asked of anybody for a key that is forged.

use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use safelight::storage::S3Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use crate::harness::dead_ends::nobody;
use crate::harness::gateway::{Setup, TestGateway, app_file, mint_key};
use crate::harness::photos;
use crate::harness::plain_client::Answer;
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{CdnObject, WireCdn};

const FOREIGN: &str = "AcceptForeignKeys = true";

/// What upstreams send and nobody else is to see.
const UPSTREAM_ONLY: &[(&str, &str)] = &[
    ("Server", "AmazonS3"),
    ("Set-Cookie", "tracked=1"),
    ("Via", "1.1 abc.cloudfront.net (CloudFront)"),
    ("X-Amz-Cf-Id", "cf-id"),
    ("X-Amz-Request-Id", "request-id"),
    ("X-Amz-Meta-Owner", "somebody"),
    ("X-Goog-Hash", "md5=x"),
    ("X-Cache", "Hit from cloudfront"),
    ("Expires", "Thu, 01 Jan 2037 00:00:00 GMT"),
    ("Cache-Control", "private, max-age=1"),
    ("Access-Control-Allow-Origin", "https://upstream.example"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", "X-Secret"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src *"),
    ("Content-Disposition", "inline; filename=\"x.html\""),
    ("Strict-Transport-Security", "max-age=1"),
    ("Alt-Svc", "h3=\":443\""),
    ("Link", "</x>; rel=preload"),
    ("Refresh", "0; url=https://upstream.example"),
    ("Vary", "Cookie"),
    ("X-Request-Id", "of-the-upstream"),
    ("Cache-Status", "upstream; hit"),
    ("Connection", "X-Hop"),
    ("X-Hop", "by-hop"),
    ("Keep-Alive", "timeout=5"),
    ("Trailer", "X-Trailer"),
    ("Age", "7"),
];

/// All that an answer with an image may have. `x-request-id`, `date` and CORS are the gateway's own.
const SEEN: &[&str] = &[
    "server-timing",
    "timing-allow-origin",
    "accept-ranges",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "age",
    "cache-control",
    "cache-status",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "etag",
    "last-modified",
    "x-content-type-options",
    "x-request-id",
];

/// Two gateways on the same storage, that take each other's keys: one asks a CDN first.
struct Pair {
    storage: S3Config,
    cdn: WireCdn,
    with_cdn: TestGateway,
    plain: TestGateway,
}

impl Pair {
    async fn new(head: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let cdn = WireCdn::start().await;
        let patient = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";
        let with_cdn = format!("{head}\nCloudFrontURL = \"{}\"", cdn.url());
        let with_cdn = Setup::with_app("shop", app_file(&storage, &with_cdn, patient));
        let plain = Setup::with_app("shop", app_file(&storage, head, ""));
        let (with_cdn, plain) = (with_cdn.start().await, plain.start().await);
        Self { storage, cdn, with_cdn, plain }
    }

    /// Lets the CDN have a copy, with headers of its own.
    fn copy_to_cdn(&self, object: &Published) {
        let all = UPSTREAM_ONLY.iter();
        let copy = all.fold(object.copy(), |copy, (name, value)| copy.and(name, value));
        self.cdn.put(&object.cdn_path(), copy);
    }

    async fn photo(&self) -> Published {
        let photo = Published::photo(&self.storage, photos::WEBP).await;
        self.copy_to_cdn(&photo);
        photo
    }

    /// Asks both the same. The first answer is from the CDN, the second from storage.
    async fn ask(&self, method: &Method, path: &str, headers: &[(&str, &str)]) -> [Answer; 2] {
        let ask = async |gateway: &TestGateway| {
            let mut request = gateway.request(method.clone(), path);
            let named = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            request.headers.extend(named);
            request.send().await
        };
        let answers = [ask(&self.with_cdn).await, ask(&self.plain).await];
        assert_eq!(answers[0].header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
        assert_eq!(answers[1].header("cache-status"), "safelight; fwd=uri-miss; detail=storage");
        answers
    }
}

/// What a row of the table expects.
#[derive(Clone, Copy)]
enum Expected {
    Whole,
    Part(usize, usize),
    NotModified,
    Refused(u16, &'static str),
}

fn rows(photo: &Published) -> Vec<(Vec<(&'static str, String)>, Expected)> {
    use Expected::{NotModified, Part, Refused, Whole};
    let size = photo.bytes.len();
    let tag = photo.etag().to_owned();
    let weak = format!("W/{tag}");
    let list = format!("\"x\", {tag}");
    let date = httpdate::fmt_http_date(photo.meta.last_modified.unwrap());
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT".to_owned();
    let unsatisfiable = Refused(416, "range_not_satisfiable");
    let failed = Refused(412, "precondition_failed");
    let row = |headers: &[(&'static str, &str)], expected| {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        (headers.collect::<Vec<_>>(), expected)
    };
    let with = |name, value: &str, expected| row(&[(name, value)], expected);
    let ranged =
        |name, value: &str, expected| row(&[("Range", "bytes=10-19"), (name, value)], expected);
    vec![
        row(&[], Whole),
        with("Range", "bytes=0-0", Part(0, 0)),
        with("Range", "bytes=0-99", Part(0, 99)),
        with("Range", "bytes=100-", Part(100, size - 1)),
        with("Range", "bytes=-100", Part(size - 100, size - 1)),
        with("Range", "bytes=-99999999", Part(0, size - 1)),
        with("Range", "bytes=0-99999999", Part(0, size - 1)),
        with("Range", "BYTES=0-99", Part(0, 99)),
        with("Range", "bytes=99999999-", unsatisfiable),
        with("Range", &format!("bytes={size}-"), unsatisfiable),
        with("Range", "bytes=-0", unsatisfiable),
        with("Range", "bytes=5-4", Whole),
        with("Range", "bytes=0-1,5-6", Whole),
        with("Range", "bytes=0-,0-,0-", Whole),
        with("Range", "bytes=x-y", Whole),
        with("Range", "bytes=", Whole),
        with("Range", "items=0-9", Whole),
        with("Range", "bytes=99999999999999999999-", Whole),
        row(&[("Range", "bytes=0-1"), ("Range", "bytes=5-6")], Whole),
        with("If-None-Match", &tag, NotModified),
        with("If-None-Match", &weak, NotModified),
        with("If-None-Match", &list, NotModified),
        with("If-None-Match", "*", NotModified),
        with("If-None-Match", "\"x\"", Whole),
        with("If-None-Match", "no tag at all", Whole),
        row(&[("If-None-Match", "\"x\""), ("If-None-Match", &tag)], NotModified),
        with("If-Match", &tag, Whole),
        with("If-Match", &list, Whole),
        with("If-Match", "*", Whole),
        with("If-Match", &weak, failed),
        with("If-Match", "\"x\"", failed),
        with("If-Modified-Since", &date, NotModified),
        with("If-Modified-Since", &long_ago, Whole),
        with("If-Modified-Since", "yesterday", Whole),
        with("If-Unmodified-Since", &date, Whole),
        with("If-Unmodified-Since", &long_ago, failed),
        // RFC 9110 §13.2.2: tags overrule dates, and If-Match comes before If-None-Match.
        row(&[("If-None-Match", "\"x\""), ("If-Modified-Since", &date)], Whole),
        row(&[("If-Match", &tag), ("If-Unmodified-Since", &long_ago)], Whole),
        row(&[("If-Match", "\"x\""), ("If-None-Match", &tag)], failed),
        row(&[("If-Match", &tag), ("If-None-Match", &tag)], NotModified),
        // Conditions come before the range.
        ranged("If-None-Match", &tag, NotModified),
        ranged("If-None-Match", "\"x\"", Part(10, 19)),
        ranged("If-Match", "\"x\"", failed),
        ranged("If-Match", &tag, Part(10, 19)),
        row(&[("Range", "bytes=99999999-"), ("If-None-Match", &tag)], NotModified),
        row(&[("Range", "bytes=99999999-"), ("If-Match", "\"x\"")], failed),
        row(&[("Range", "bytes=99999999-"), ("If-Match", &tag)], unsatisfiable),
        row(&[("Range", "bytes=99999999-"), ("If-Range", "\"x\"")], Whole),
        ranged("If-Range", &tag, Part(10, 19)),
        ranged("If-Range", &weak, Whole),
        ranged("If-Range", "\"x\"", Whole),
        ranged("If-Range", &date, Part(10, 19)),
        ranged("If-Range", &long_ago, Whole),
        ranged("If-Range", "nonsense", Whole),
        with("If-Range", "\"x\"", Whole),
    ]
}

#[tokio::test]
async fn conditions_and_ranges_are_the_same_from_every_source() {
    let pair = Pair::new("").await;
    let photo = pair.photo().await;
    for (headers, expected) in rows(&photo) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        for method in [Method::GET, Method::HEAD] {
            let why = format!("{method} {headers:?}");
            let [from_cdn, from_storage] = pair.ask(&method, &photo.path(), &headers).await;
            for answer in [&from_cdn, &from_storage] {
                assert_answer(answer, &photo, expected, &method, &why);
            }
            assert_eq!(from_cdn.lasting(), from_storage.lasting(), "{why}");
        }
    }
    // All these are the client's own conditions, and its own business.
    let metrics = pair.with_cdn.metrics().await;
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
    let ok = metrics.value("safelight_cdn_requests_total{app=\"shop\",outcome=\"ok\"}");
    assert_eq!(ok, metrics.sum("safelight_cdn_requests_total"));
    assert_eq!(metrics.sum("safelight_streams_healed_total"), 0.0);
    assert_eq!(metrics.sum("safelight_streams_aborted_total"), 0.0);
}

#[track_caller]
fn assert_answer(
    answer: &Answer,
    photo: &Published,
    expected: Expected,
    method: &Method,
    why: &str,
) {
    let (size, is_head) = (photo.bytes.len(), *method == Method::HEAD);
    // A range means nothing to a HEAD (RFC 9110 §14.2).
    let expected = match expected {
        Expected::Part(..) | Expected::Refused(416, _) if is_head => Expected::Whole,
        expected => expected,
    };
    let (status, range, body) = match expected {
        Expected::Whole => (200, String::new(), &photo.bytes[..]),
        Expected::Part(start, end) => {
            (206, format!("bytes {start}-{end}/{size}"), &photo.bytes[start..=end])
        }
        Expected::NotModified => (304, String::new(), &[][..]),
        Expected::Refused(status, code) => {
            let range = if status == 416 { format!("bytes */{size}") } else { String::new() };
            assert_eq!(answer.status, status, "{why}: {}", answer.text());
            assert_eq!(answer.header("content-range"), range, "{why}");
            if !is_head {
                answer.assert_problem(status, code);
            }
            return;
        }
    };
    assert_eq!(answer.status, status, "{why}: {}", answer.header("cache-status"));
    assert_eq!(answer.header("content-range"), range, "{why}");
    assert_eq!(answer.header("etag"), photo.etag(), "{why}");
    let date = httpdate::fmt_http_date(photo.meta.last_modified.unwrap());
    assert_eq!(answer.header("last-modified"), date, "{why}");
    if status != 304 {
        assert_eq!(answer.header("content-length"), body.len().to_string(), "{why}");
        assert_eq!(answer.header("content-type"), "image/webp", "{why}");
    }
    let sent = if is_head { &[][..] } else { body };
    assert!(answer.is_whole && answer.body == sent, "{why}: {} bytes came", answer.body.len());
}

#[tokio::test]
async fn a_head_has_no_body_on_the_wire() {
    let pair = Pair::new("").await;
    let photo = pair.photo().await;
    for gateway in [&pair.with_cdn, &pair.plain] {
        let address = gateway.base.strip_prefix("http://").unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let head =
            format!("HEAD {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", photo.path());
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.find("\r\n\r\n"), Some(answer.len() - 4), "{answer}");
        assert!(answer.contains("\r\ncontent-length: 45288\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn only_what_is_listed_is_passed_on() {
    let pair = Pair::new("").await;
    let photo = pair.photo().await;
    for headers in [&[][..], &[("Range", "bytes=0-9")], &[("If-None-Match", photo.etag())]] {
        for answer in pair.ask(&Method::GET, &photo.path(), headers).await {
            for name in answer.headers.keys() {
                assert!(SEEN.contains(&name.as_str()), "{name} is passed on");
                assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}");
            }
            for (name, value) in UPSTREAM_ONLY {
                let own = answer.header(&name.to_ascii_lowercase());
                assert!(own != *value || *name == "Age", "{name}: {value} is the upstream's");
            }
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("access-control-allow-origin", "*"),
                ("cross-origin-resource-policy", "cross-origin"),
                ("accept-ranges", "bytes"),
                ("timing-allow-origin", "*"),
                ("cache-control", "public, max-age=31536000, immutable"),
            ] {
                assert_eq!(answer.header(name), value);
            }
            let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
            for name in ["etag", "content-range", "content-length", "age", "cache-status"] {
                assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}");
            }
        }
    }
    let [from_cdn, from_storage] = pair.ask(&Method::GET, &photo.path(), &[]).await;
    assert_eq!(from_cdn.header("age"), "7", "how old the CDN's copy is");
    assert_eq!(from_storage.header("age"), "");
}

#[tokio::test]
async fn a_young_key_is_cached_for_a_minute() {
    let head = "[Read]\nCacheControl = \"public, max-age=77\"";
    let storage = Seaweed::shared().await.config();
    let gateway = Setup::with_app("shop", app_file(&storage, "", head)).start().await;
    let young = gateway.uploaded("shop", "young.webp", photos::WEBP.bytes).await;
    let answer = gateway.get(young.public_url()).await;
    answer.assert_success();
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    let old = Published::photo(&storage, photos::WEBP).await;
    assert_eq!(gateway.get(&old.path()).await.header("cache-control"), "public, max-age=77");
}

#[tokio::test]
async fn nothing_of_the_clients_goes_upstream() {
    let pair = Pair::new("").await;
    let photo = pair.photo().await;
    let path = format!("{}?signature=client-secret", photo.path());
    let own = [
        ("Cookie", "session=client-secret"),
        ("Authorization", "Bearer client-secret"),
        ("X_Owner_Id", "client-secret"),
        ("X-Owner-Id", "client-secret"),
        ("Referer", "https://client-secret.example/"),
        ("User-Agent", "client-secret"),
        ("Accept-Language", "client-secret"),
        ("Accept-Encoding", "gzip, br"),
        ("X-Forwarded-For", "client-secret"),
        ("X-Forwarded-Host", "client-secret"),
        ("Forwarded", "for=client-secret"),
        ("X-Amz-Date", "client-secret"),
        ("Range", "bytes=0-9"),
        ("If-None-Match", "\"x\""),
        ("If-Match", photo.etag()),
        ("If-Range", photo.etag()),
    ];
    let [answer, _] = pair.ask(&Method::GET, &path, &own).await;
    assert_eq!(answer.status, 206);
    let requests = pair.cdn.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.target, photo.cdn_path(), "the path, and no query");
    let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept-encoding", "cdn-loop", "host", "if-none-match", "range"]);
    assert_eq!(request.header("host"), pair.cdn.url().strip_prefix("http://"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("range"), Some("bytes=0-9"));
    assert!(!format!("{request:?}").contains("client-secret"));
}

#[tokio::test]
async fn a_request_that_comes_around_is_refused() {
    let pair = Pair::new("").await;
    let photo = pair.photo().await;
    pair.ask(&Method::GET, &photo.path(), &[]).await;
    let mark = pair.cdn.requests()[0].header("cdn-loop").unwrap().to_owned();
    for value in [mark.clone(), format!("cloudfront, {mark}"), format!("{mark}; hops=2, other")] {
        let request = pair.with_cdn.request(Method::GET, &photo.path());
        let answer = request.with_header("CDN-Loop", Some(&value)).send().await;
        answer.assert_problem(508, "loop_detected");
    }
    assert_eq!(pair.cdn.requests().len(), 1, "it is refused here");
    let request = pair.with_cdn.request(Method::GET, &photo.path());
    let answer = request.with_header("CDN-Loop", Some("cloudfront, safelight-other")).send().await;
    assert_eq!(answer.status, 200, "another deployment may stand before this one");
}

#[tokio::test]
async fn a_forged_key_is_asked_of_nobody() {
    // Any call upstream would show: at the CDN as a request, at storage as a 502.
    let endpoint = Some(Url::parse(&nobody()).unwrap());
    let storage = S3Config { endpoint, ..Seaweed::shared().await.config() };
    for head in ["", FOREIGN] {
        let cdn = WireCdn::start().await;
        let file = app_file(&storage, &format!("{head}\nCloudFrontURL = \"{}\"", cdn.url()), "");
        let gateway = Setup::with_app("shop", file).start().await;
        let key = mint_key("shop", SystemTime::now(), "a.jpg");
        let get = async |key: &str| gateway.get(&format!("/darkroom/shop/v2/images/{key}")).await;
        for at in 0..key.len() {
            // Another symbol of the same kind, so that the form stays the same.
            let other = if &key[at..=at] == "7" { "8" } else { "7" };
            let is_id = at < 26;
            let forged = format!("{}{other}{}", &key[..at], &key[at + 1..]);
            if is_id || head.is_empty() {
                get(&forged).await.assert_problem(404, "not_found");
            }
        }
        let others = mint_key("another-app", SystemTime::now(), "a.jpg");
        get(&others).await.assert_problem(404, "not_found");
        if head.is_empty() {
            let encoded = format!("%{:02x}{}", key.as_bytes()[0], &key[1..]);
            let dash = key.replace('-', "%2D");
            for form in [
                key.to_uppercase(),
                encoded,
                dash,
                format!("{key}/"),
                format!("a/{key}"),
                format!("{key}.png"),
                key.replace(".jpg", ".jpeg"),
                key.replace(".jpg", ""),
                String::new(),
                "2019/photo.jpg".to_owned(),
            ] {
                let answer = get(&form).await;
                assert!(matches!(answer.status.as_u16(), 400 | 404), "{form}: {}", answer.status);
                assert_ne!(answer.header("cache-control"), "", "{form}");
                if !form.ends_with('/') && !form.is_empty() {
                    answer.assert_problem(404, "not_found");
                }
            }
        }
        assert_eq!(cdn.seen(|seen| seen.connections), 0, "nobody is asked");
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.sum("safelight_cdn_requests_total"), 0.0);
        assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);

        // The proof that a call would have shown.
        get(&key).await.assert_problem(502, "storage_failed");
        assert_eq!(cdn.requests().len(), 1);
    }
}

#[tokio::test]
async fn path_tricks_are_asked_of_nobody() {
    let endpoint = Some(Url::parse(&nobody()).unwrap());
    let storage = S3Config { endpoint, ..Seaweed::shared().await.config() };
    let cdn = WireCdn::start().await;
    let file = app_file(&storage, &format!("{FOREIGN}\nCloudFrontURL = \"{}\"", cdn.url()), "");
    let gateway = Setup::with_app("shop", file).start().await;
    for key in [
        "../secret.jpg",
        "a/../../secret.jpg",
        "%2e%2e/secret.jpg",
        "%252e%252e/secret.jpg",
        "a%2fb.jpg",
        "a%5cb.jpg",
        "a//b.jpg",
        "/a.jpg",
        "a%00.jpg",
        "%c0%af.jpg",
        "a%0d%0ab.jpg",
    ] {
        let address = gateway.base.strip_prefix("http://").unwrap();
        // By hand: a URL parser would tidy the path up.
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /darkroom/shop/v2/images/{key} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{key}: {answer}");
        assert!(answer.contains("\"invalid_key\""), "{key}: {answer}");
    }
    assert_eq!(cdn.seen(|seen| seen.connections), 0);
}

#[tokio::test]
async fn keys_of_other_systems() {
    let pair = Pair::new(FOREIGN).await;
    let bytes = || Bytes::from_static(photos::JPEG.bytes);
    for key in [
        "2019/café photo.jpg",
        "plain.jpg",
        "a+b=c & d,e;f@g.jpg",
        "deep/er/and/deep er/ü.jpg",
        "日本/写真.jpg",
        "UPPER.JPG",
    ] {
        let object = Published::under(&pair.storage, key, "image/jpeg", bytes()).await;
        pair.copy_to_cdn(&object);
        for answer in pair.ask(&Method::GET, &object.path(), &[]).await {
            assert_eq!(answer.status, 200, "{key}");
            assert!(answer.body == photos::JPEG.bytes, "{key}");
            assert_eq!(answer.header("content-type"), "image/jpeg");
            assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        }
        assert_eq!(pair.cdn.requests().last().unwrap().target, object.cdn_path(), "{key}");
    }
    let last = pair.cdn.requests().len();
    let without_encoding = pair.cdn.requests()[0].target.clone();
    assert_eq!(without_encoding, "/images/2019/caf%C3%A9%20photo.jpg");
    // Another spelling of the same URL is the same object.
    let path = "/darkroom/shop/v2/images/%70lain.jpg";
    assert_eq!(pair.ask(&Method::GET, path, &[]).await[0].status, 200);
    assert_eq!(pair.cdn.requests()[last].target, "/images/plain.jpg");
}

#[tokio::test]
async fn what_could_run_as_a_document_is_a_download() {
    let pair = Pair::new(FOREIGN).await;
    for (key, content_type, is_image) in [
        ("types/a.svg", "image/svg+xml", false),
        ("types/b.svg", "IMAGE/SVG+XML; charset=utf-8", false),
        ("types/c.html", "text/html", false),
        ("types/d.xml", "application/xml", false),
        ("types/e.xhtml", "application/xhtml+xml", false),
        ("types/f.jpg", "text/html; charset=utf-8", false),
        ("types/g.bin", "application/octet-stream", false),
        ("types/h.js", "text/javascript", false),
        ("types/i.jpg", "image/x-unknown", false),
        ("types/j.pdf", "application/pdf", false),
        ("types/k.png", "image/png", true),
        ("types/l.gif", "image/gif", true),
        ("types/m.avif", "image/avif", true),
    ] {
        let bytes = Bytes::from_static(b"<script>alert(1)</script>");
        let object = Published::under(&pair.storage, key, content_type, bytes).await;
        pair.copy_to_cdn(&object);
        for headers in [&[][..], &[("Range", "bytes=0-4")]] {
            for answer in pair.ask(&Method::GET, &object.path(), headers).await {
                assert!(answer.status.is_success(), "{key}");
                assert_eq!(answer.header("x-content-type-options"), "nosniff");
                assert_eq!(answer.header("content-type"), content_type, "{key}");
                let expected = match is_image {
                    true => ("", ""),
                    false => ("attachment", "default-src 'none'; sandbox"),
                };
                let disposition = answer.header("content-disposition");
                let policy = answer.header("content-security-policy");
                assert_eq!((disposition, policy), expected, "{key}");
            }
        }
    }
    // What has no type at all.
    let typeless = CdnObject { bytes: Bytes::from_static(b"<script>"), headers: Vec::new() };
    pair.cdn.put("/images/types/typeless", typeless);
    let answer = pair.with_cdn.get("/darkroom/shop/v2/images/types/typeless").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("content-disposition"), "attachment");
}

#[tokio::test]
async fn the_smallest_objects() {
    let pair = Pair::new("").await;
    for body in [&b""[..], b"x"] {
        let key = mint_key("shop", SystemTime::now(), "small.png");
        let bytes = Bytes::from_static(body);
        let object = Published::under(&pair.storage, &key, "image/png", bytes).await;
        pair.copy_to_cdn(&object);
        for answer in pair.ask(&Method::GET, &object.path(), &[]).await {
            assert_eq!(answer.status, 200);
            assert!(answer.is_whole && answer.body == body);
            assert_eq!(answer.header("content-length"), body.len().to_string());
        }
        for answer in pair.ask(&Method::HEAD, &object.path(), &[]).await {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-length"), body.len().to_string());
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            for answer in pair.ask(&Method::GET, &object.path(), &[("Range", range)]).await {
                match body.len() {
                    0 => {
                        answer.assert_problem(416, "range_not_satisfiable");
                        assert_eq!(answer.header("content-range"), "bytes */0");
                    }
                    _ => {
                        assert!(answer.status == 206 && answer.body == body, "{range}");
                        assert_eq!(answer.header("content-range"), "bytes 0-0/1", "{range}");
                    }
                }
            }
        }
    }
    let metrics = pair.with_cdn.metrics().await;
    assert_eq!(metrics.sum("safelight_cdn_fallbacks_total"), 0.0);
}
