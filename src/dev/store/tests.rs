//! The store, as a client of S3 sees it.

mod client;
mod multipart;
mod signatures;

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::SignableBody;
use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::DevStore;
use client::{BUCKET, Running, Signer, options, put, request, url, with_body};

/// The MD5 of `hello`, which is its entity tag.
const HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let store = Running::start().await;
    let headers = [
        ("content-type", "image/jpeg"),
        ("cache-control", "max-age=60"),
        ("content-encoding", "gzip, aws-chunked"),
        ("x-amz-meta-camera", "pinhole"),
    ];
    let reply = store.signed(put("images/a.jpg", "hello", &headers)).await;
    assert_eq!(reply.verdict(), (200, ""));
    assert_eq!(reply.header("etag"), Some(HELLO));

    for method in ["GET", "HEAD"] {
        let reply = store.signed(request(method, "images/a.jpg", &[])).await;
        assert_eq!(reply.status, 200, "{method}");
        assert_eq!(reply.text(), if method == "GET" { "hello" } else { "" });
        for (name, value) in [
            ("content-type", "image/jpeg"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("cache-control", "max-age=60"),
            ("x-amz-meta-camera", "pinhole"),
            ("etag", HELLO),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{method} {name}");
        }
        let modified = httpdate::parse_http_date(reply.header("last-modified").unwrap()).unwrap();
        let age = SystemTime::now().duration_since(modified).unwrap();
        assert!(age < Duration::from_secs(60), "{age:?}");
    }

    assert_eq!(store.signed(request("DELETE", "images/a.jpg", &[])).await.status, 204);
    assert_eq!(store.blobs(), 0);
    assert_eq!(store.signed(request("DELETE", "images/a.jpg", &[])).await.status, 204);
    let gone = store.signed(request("GET", "images/a.jpg", &[])).await;
    assert_eq!(gone.verdict(), (404, "NoSuchKey"));
    assert_eq!(store.signed(request("HEAD", "images/a.jpg", &[])).await.status, 404);
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let store = Running::start().await;
    let unsaid = store.signed(put("empty", "", &[])).await;
    assert_eq!(unsaid.verdict(), (411, "MissingContentLength"));
    assert_eq!(store.signed(put("empty", "", &[("content-length", "0")])).await.status, 200);
    let reply = store.signed(request("GET", "empty", &[])).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-length")), (200, Some("0")));
    assert_eq!(reply.header("content-type"), Some("binary/octet-stream"));
}

#[tokio::test]
async fn ranges() {
    let store = Running::start().await;
    store.signed(put("digits", "0123456789", &[])).await;
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", Some("bytes 0-0/10")),
        ("bytes=2-5", 206, "2345", Some("bytes 2-5/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=7-99", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=-0", 416, "", Some("bytes */10")),
    ] {
        let got = store.signed(request("GET", "digits", &[("range", range)])).await;
        assert_eq!((got.status.as_u16(), got.header("content-range")), (status, content_range));
        if status == 416 {
            assert_eq!(got.verdict().1, "InvalidRange", "{range}");
        } else {
            assert_eq!(got.text(), body, "{range}");
        }
        let head = store.signed(request("HEAD", "digits", &[("range", range)])).await;
        assert_eq!((head.status.as_u16(), head.header("content-range")), (status, content_range));
    }
}

#[tokio::test]
async fn conditions_of_a_read() {
    let store = Running::start().await;
    store.signed(put("a", "hello", &[])).await;
    let (past, future) = ("Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let other = "\"0000\"";
    for (headers, status) in [
        (vec![("if-match", HELLO)], 200),
        (vec![("if-match", "*")], 200),
        (vec![("if-match", other)], 412),
        (vec![("if-none-match", HELLO)], 304),
        (vec![("if-none-match", "\"0000\", \"5d41402abc4b2a76b9719d911017c592\"")], 304),
        (vec![("if-none-match", other)], 200),
        (vec![("if-modified-since", past)], 200),
        (vec![("if-modified-since", future)], 304),
        (vec![("if-unmodified-since", past)], 412),
        (vec![("if-unmodified-since", future)], 200),
        (vec![("if-match", HELLO), ("if-unmodified-since", past)], 200),
        (vec![("if-none-match", other), ("if-modified-since", future)], 200),
        (vec![("range", "bytes=0-1"), ("if-match", HELLO)], 206),
        (vec![("range", "bytes=0-1"), ("if-match", other)], 412),
        (vec![("range", "bytes=0-1"), ("if-range", other)], 200),
    ] {
        let got = store.signed(request("GET", "a", &headers)).await;
        assert_eq!(got.status, status, "{headers:?}");
        if status == 304 {
            assert_eq!((got.header("etag"), got.text()), (Some(HELLO), ""));
            assert!(got.header("last-modified").is_some());
        }
        assert_eq!(store.signed(request("HEAD", "a", &headers)).await.status, status);
    }
}

#[tokio::test]
async fn of_many_creators_one_wins() {
    let store = Running::start().await;
    let puts = (0..16)
        .map(|n| store.signed(put("once", format!("writer {n}"), &[("if-none-match", "*")])));
    let replies = futures_util::future::join_all(puts).await;
    let winners: Vec<_> = (0..16).filter(|n| replies[*n].status == 200).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(reply.verdict(), (412, "PreconditionFailed"));
    }
    let got = store.signed(request("GET", "once", &[])).await;
    assert_eq!(got.text(), format!("writer {}", winners[0]));
    assert_eq!(store.blobs(), 1, "the others left nothing behind");
}

#[tokio::test]
async fn conditions_of_a_write() {
    let store = Running::start().await;
    let absent = store.signed(put("a", "x", &[("if-match", HELLO)])).await;
    assert_eq!(absent.verdict(), (404, "NoSuchKey"));
    store.signed(put("a", "hello", &[])).await;
    let wrong = store.signed(put("a", "x", &[("if-match", "\"0000\"")])).await;
    assert_eq!(wrong.verdict(), (412, "PreconditionFailed"));
    let odd = store.signed(put("a", "x", &[("if-none-match", "\"0000\"")])).await;
    assert_eq!(odd.verdict(), (501, "NotImplemented"));
    let kept = store.signed(request("DELETE", "a", &[("if-match", "\"0000\"")])).await;
    assert_eq!(kept.verdict(), (412, "PreconditionFailed"));
    assert_eq!(store.signed(put("a", "world", &[("if-match", HELLO)])).await.status, 200);
    let gone = store.signed(request("DELETE", "a", &[("if-match", HELLO)])).await;
    assert_eq!(gone.verdict(), (412, "PreconditionFailed"), "it is another version by now");
    let etag = "\"7d793037a0760186574b0282f2f435e7\"";
    assert_eq!(store.signed(request("DELETE", "a", &[("if-match", etag)])).await.status, 204);
}

#[tokio::test]
async fn declared_checksums_are_verified() {
    let store = Running::start().await;
    let sha256 = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    for (name, value, verdict) in [
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==", (200, "")),
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", (400, "BadDigest")),
        ("content-md5", "nonsense", (400, "InvalidDigest")),
        ("x-amz-checksum-sha256", sha256, (200, "")),
        ("x-amz-checksum-sha256", "LPJN", (400, "BadDigest")),
        ("x-amz-checksum-crc32", "NhCmhg==", (200, "")),
        ("x-amz-checksum-crc32", "AAAAAA==", (400, "BadDigest")),
        ("x-amz-checksum-sha1", "AAAAAA==", (400, "BadDigest")),
    ] {
        let key = if verdict.0 == 200 { "good" } else { "bad" };
        let reply = store.signed(put(key, "hello", &[(name, value)])).await;
        assert_eq!(reply.verdict(), verdict, "{name}: {value}");
    }
    assert_eq!(store.signed(request("HEAD", "bad", &[])).await.status, 404);
    assert_eq!(store.blobs(), 1);

    store.signed(put("good", "hello", &[("x-amz-checksum-sha256", sha256)])).await;
    let shown = store.signed(request("HEAD", "good", &[("x-amz-checksum-mode", "ENABLED")])).await;
    assert_eq!(shown.header("x-amz-checksum-sha256"), Some(sha256));
}

/// How the SDKs send a body by default.
#[tokio::test]
async fn a_checksum_in_the_trailer_is_verified() {
    let store = Running::start().await;
    for (crc32, verdict) in [("NhCmhg==", (200, "")), ("AAAAAA==", (400, "BadDigest"))] {
        let body = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{crc32}\r\n\r\n");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        let signable = Some(SignableBody::StreamingUnsignedPayloadTrailer);
        let reply = store.signed_by(&Signer::default(), put("a", body, &headers), signable).await;
        assert_eq!(reply.verdict(), verdict);
    }
    let got = store.signed(request("GET", "a", &[])).await;
    assert_eq!((got.text(), got.header("content-encoding")), ("hello", None));
}

#[tokio::test]
async fn what_would_be_missing_is_refused() {
    let store = Running::start().await;
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
    ] {
        let reply = store.signed(put("a", "hello", &[(name, value)])).await;
        assert_eq!(reply.verdict(), (501, "NotImplemented"), "{name}");
    }
    let nowhere = store.signed(with_body("PUT", "/nowhere/a", &[], "hello")).await;
    assert_eq!(nowhere.verdict(), (404, "NoSuchBucket"));
    let version = store.signed(with_body("GET", &url("a", "?versionId=1"), &[], "")).await;
    assert_eq!(version.verdict(), (404, "NoSuchVersion"));
    assert_eq!(store.blobs(), 0);
}

#[tokio::test]
async fn a_key_is_only_a_name() {
    let store = Running::start().await;
    let keys = [
        "../x",
        "../../store.db",
        "a",
        "a/b",
        "a/",
        "./a",
        "a//b",
        "sommer ferien/grüße + 1&2=3?#%41.jpg",
        "日本語/🎞️.webp",
        ".",
    ];
    for key in keys {
        assert_eq!(store.signed(put(key, key, &[])).await.verdict(), (200, ""), "{key}");
    }
    for key in keys {
        assert_eq!(store.signed(request("GET", key, &[])).await.text(), key);
    }
    let listed = store.signed(with_body("GET", &format!("/{BUCKET}?list-type=2"), &[], "")).await;
    let mut ordered: Vec<_> = keys.iter().map(|key| key.replace('&', "&amp;")).collect();
    ordered.sort();
    assert_eq!(listed.all("Key"), ordered);
    let mut around: Vec<_> = std::fs::read_dir(store.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    around.sort();
    assert_eq!(around, ["blobs", "store.db", "store.db-shm", "store.db-wal", "store.lock"]);

    assert_eq!(store.signed(put(&"k".repeat(1024), "x", &[])).await.status, 200);
    let long = store.signed(put(&"k".repeat(1025), "x", &[])).await;
    assert_eq!(long.verdict(), (400, "KeyTooLongError"));
}

#[tokio::test]
async fn listings_are_ordered_and_paged() {
    let store = Running::start().await;
    for key in ["b/2", "a", "b/1", "c", "b/3/x", "b!", "é"] {
        store.signed(put(key, key, &[])).await;
    }
    let list = |query: &str| {
        store.signed(with_body("GET", &format!("/{BUCKET}?list-type=2{query}"), &[], ""))
    };
    let all = ["a", "b!", "b/1", "b/2", "b/3/x", "c", "é"];
    let mut seen = Vec::new();
    let mut query = "&max-keys=3".to_owned();
    loop {
        let page = list(&query).await;
        assert_eq!(page.status, 200);
        seen.extend(page.all("Key").into_iter().map(str::to_owned));
        let Some(token) = page.all("NextContinuationToken").first().copied() else {
            assert_eq!(page.all("IsTruncated"), ["false"]);
            break;
        };
        assert_eq!(page.all("IsTruncated"), ["true"]);
        let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        query = format!("&max-keys=3&continuation-token={token}");
    }
    assert_eq!(seen, all);
    assert_eq!(list("&prefix=b/").await.all("Key"), ["b/1", "b/2", "b/3/x"]);
    assert_eq!(list("&start-after=b/2").await.all("Key"), ["b/3/x", "c", "é"]);
    assert_eq!(list("&encoding-type=url&prefix=%C3%A9").await.all("Key"), ["%C3%A9"]);
    assert_eq!(list("&max-keys=0").await.all("Key"), Vec::<&str>::new());
    assert_eq!(list("&continuation-token=%00").await.verdict(), (400, "InvalidArgument"));

    let folded = list("&delimiter=/").await;
    assert_eq!(folded.all("Key"), ["a", "b!", "c", "é"]);
    let prefixes = folded.all("CommonPrefixes");
    assert_eq!(prefixes, ["<Prefix>b/</Prefix>"]);
    let inside = list("&delimiter=/&prefix=b/").await;
    assert_eq!(inside.all("Key"), ["b/1", "b/2"]);
    assert_eq!(inside.all("CommonPrefixes"), ["<Prefix>b/3/</Prefix>"]);
}

#[tokio::test]
async fn buckets() {
    let store = Running::start().await;
    let bucket = |method: &str, name: &str| store.signed(with_body(method, name, &[], ""));
    assert_eq!(bucket("HEAD", "/other").await.status, 404);
    assert_eq!(bucket("PUT", "/other").await.status, 200);
    assert_eq!(bucket("PUT", "/other").await.verdict(), (409, "BucketAlreadyOwnedByYou"));
    assert_eq!(bucket("HEAD", "/other").await.status, 200);
    assert_eq!(bucket("GET", "/").await.all("Name"), [BUCKET, "other"]);
}

#[tokio::test]
async fn a_restart_keeps_what_was_answered_and_nothing_else() {
    let store = Running::start().await;
    store.signed(put("a", "old", &[])).await;
    store.signed(put("a", "hello", &[("content-type", "image/png")])).await;
    assert_eq!(store.blobs(), 1, "the bytes that were overwritten are gone");
    // What a crash leaves between the bytes and the row.
    std::fs::write(store.dir.path().join("blobs/abandoned"), "half").unwrap();

    let store = store.restart().await;
    assert_eq!(store.blobs(), 1);
    let got = store.signed(request("GET", "a", &[])).await;
    assert_eq!((got.text(), got.header("content-type")), ("hello", Some("image/png")));
}

#[tokio::test]
async fn one_process_at_a_time() {
    let store = Running::start().await;
    let error = DevStore::open(store.dir.path(), options()).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    let dir = store.stop().await;
    assert!(DevStore::open(dir.path(), options()).is_ok());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: fn(&mut super::DevStoreOptions)| {
        let mut options = options();
        change(&mut options);
        DevStore::open(dir.path(), options).unwrap_err().to_string()
    };
    assert!(refused(|o| o.buckets.push("No_Bucket".to_owned())).contains("No_Bucket"));
    assert!(refused(|o| o.access_key = "a/b".to_owned()).contains("access key"));
    assert!(refused(|o| o.secret_key = crate::domain::Secret::new("")).contains("secret key"));
    assert!(refused(|o| o.cors_origins.push("app.example/".to_owned())).contains("app.example/"));
}

#[tokio::test]
async fn a_read_keeps_the_version_it_began_with() {
    let store = Running::start().await;
    // More than the sockets' buffers hold.
    let old = Bytes::from(vec![b'o'; 16 << 20]);
    store.signed(put("a", old.clone(), &[])).await;
    let get = store.sign(&Signer::default(), request("GET", "a", &[]), None);
    let reading = store.open(get).await;
    store.signed(put("a", "new", &[])).await;
    assert_eq!(store.signed(request("GET", "a", &[])).await.text(), "new");
    let got = reading.into_body().collect().await.unwrap().to_bytes();
    assert!(got == old, "{} bytes", got.len());
}

#[tokio::test]
async fn cors() {
    let store = Running::start().await;
    let ask = |origin: &str, method: &str| {
        store.send(with_body(
            "OPTIONS",
            &url("a", ""),
            &[
                ("origin", origin),
                ("access-control-request-method", method),
                ("access-control-request-headers", "content-type,x-amz-checksum-sha256"),
            ],
            "",
        ))
    };
    for origin in
        ["https://app.example", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"]
    {
        let reply = ask(origin, "PUT").await;
        assert_eq!(reply.status, 200, "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD, PUT"));
        assert_eq!(
            reply.header("access-control-allow-headers"),
            Some("content-type,x-amz-checksum-sha256")
        );
    }
    for (origin, method) in [
        ("https://evil.example", "PUT"),
        ("http://localhost.evil.example", "PUT"),
        ("null", "PUT"),
        ("https://app.example", "DELETE"),
    ] {
        let reply = ask(origin, method).await;
        assert_eq!(reply.verdict(), (403, "AccessDenied"), "{origin} {method}");
    }

    let reply = store.signed(put("a", "hello", &[("origin", "https://app.example")])).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(reply.header("access-control-expose-headers").unwrap().contains("ETag"));
    // A page must be able to read why it was refused.
    let refused = store.send(request("GET", "a", &[("origin", "http://localhost:3000")])).await;
    assert_eq!(refused.verdict(), (403, "AccessDenied"));
    assert_eq!(refused.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let stranger = store.signed(request("GET", "a", &[("origin", "https://evil.example")])).await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
}
