//! HTTP/2: the main job over it, what it must not change about an answer, and bodies that break off.
//! Without TLS here, by prior knowledge; with it in `tls.rs`.

mod hostile;

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use crate::harness::embedded;
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file, mint_key, offline_app_file};
use crate::harness::http2_client::{Http2Client, read, reset_reason, tcp};
use crate::harness::photos;
use crate::harness::plain_client::Plain;
use crate::harness::published::Published;
use crate::harness::raw::Raw;
use crate::harness::seaweed::Seaweed;
use crate::harness::slow_cdn::{FIRST_HALF, PATIENT_READ, SlowCdn};
use crate::harness::tools;
use crate::harness::wire_cdn::{Act, CdnObject, End, WireCdn};

/// The line of `[Server]` by which a gateway speaks HTTP/2 without TLS.
const H2C: &str = "H2C = true";

/// A gateway that does, with an app on the embedded store.
async fn gateway() -> TestGateway {
    let storage = embedded::start().await;
    let file = format!(
        "AllowPublicUpload = true\n[Storage]\nKind = \"embedded\"\nBucket = \"{}\"\n",
        embedded::BUCKET
    );
    let setup = Setup::with_app("shop", file).and_embedded(embedded::access(&storage));
    setup.and_server(H2C).start().await
}

/// Asks for an upload over HTTP/2.
async fn granted(client: &Http2Client, file: &str) -> Grant {
    let mut request = client.request(Method::POST, "/darkroom/shop/v1/images/presigned-urls");
    request.headers_mut().insert("x-owner-id", "owner-1".parse().unwrap());
    *request.body_mut() = Full::new(Bytes::from(json!({ "file": file }).to_string()));
    let answer = client.send(request).await;
    answer.assert_success();
    Grant(answer.json()["data"].clone())
}

#[tokio::test]
async fn a_photo_goes_up_and_comes_back_on_one_connection() {
    let gateway = gateway().await;
    let client = Http2Client::connect(&gateway).await;
    for photo in photos::ALL {
        let grant = granted(&client, photo.file).await;
        grant.put(photo.bytes).send().await.assert_success();
        let answer = client.get(grant.public_url()).await;
        assert_eq!((answer.status, answer.is_whole), (StatusCode::OK, true), "{}", answer.text());
        assert!(answer.body == photo.bytes, "{} came back changed", photo.file);
    }
    assert_eq!(gateway.metrics().await.value(r#"safelight_connections{listener="public"}"#), 1.0);
}

/// Whatever a request asks for: the answer is the one that HTTP/1.1 gets.
#[tokio::test]
async fn the_version_changes_nothing_about_an_answer() {
    let gateway = gateway().await;
    let client = Http2Client::connect(&gateway).await;
    let photo = photos::JPEG;
    let grant = gateway.uploaded("shop", photo.file, photo.bytes).await;
    let url = grant.public_url();
    let etag = gateway.get(url).await.header("etag").to_owned();
    let last_modified = gateway.get(url).await.header("last-modified").to_owned();
    let rows: &[(Method, &[(&str, &str)])] = &[
        (Method::GET, &[]),
        (Method::HEAD, &[]),
        (Method::GET, &[("range", "bytes=100-199")]),
        (Method::GET, &[("range", "bytes=-1")]),
        (Method::GET, &[("range", "bytes=99999999-")]),
        (Method::GET, &[("range", "bytes=0-9"), ("if-range", &etag)]),
        (Method::GET, &[("range", "bytes=0-9"), ("if-range", "\"other\"")]),
        (Method::GET, &[("if-none-match", &etag)]),
        (Method::HEAD, &[("if-none-match", &etag)]),
        (Method::GET, &[("if-modified-since", &last_modified)]),
        (Method::GET, &[("if-match", "\"other\"")]),
        (Method::DELETE, &[]),
        (Method::OPTIONS, &[]),
    ];
    let mut statuses = Vec::new();
    for (method, headers) in rows {
        let mut plain = gateway.request(method.clone(), url);
        let mut request = client.request(method.clone(), url);
        for (name, value) in *headers {
            plain = plain.with_header(name, Some(value));
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (old, new) = (plain.send().await, client.send(request).await);
        assert_eq!(new.status, old.status, "{method} {headers:?}");
        assert_eq!(new.lasting(), old.lasting(), "{method} {headers:?}");
        assert!(new.is_whole, "{method} {headers:?}");
        if old.status.is_success() {
            assert!(new.body == old.body, "{method} {headers:?}");
        }
        statuses.push(new.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 206, 206, 416, 206, 200, 304, 304, 304, 412, 405, 204]);
    client.get("/nowhere").await.assert_problem(404, "unknown_route");
    client.get("/darkroom/shop/v2/images/../x").await.assert_problem(400, "invalid_key");
}

/// A gateway that speaks both, whose app has this CDN.
async fn behind(cdn: &str, file: impl FnOnce(&str, &str) -> String) -> TestGateway {
    let head = format!("CloudFrontURL = \"{cdn}\"");
    Setup::with_app("shop", file(&head, PATIENT_READ)).and_server(H2C).start().await
}

/// What breaks off at the CDN is continued from storage, and the client sees one whole body.
#[tokio::test]
async fn a_body_is_healed() {
    let storage = Seaweed::shared().await.config();
    let key = mint_key("shop", SystemTime::now(), "large.jpg");
    let bytes: Bytes = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let object = Published::under(&storage, &key, "image/jpeg", bytes).await;
    for end in [End::Close, End::Reset] {
        let cdn = WireCdn::start().await;
        cdn.put(&object.cdn_path(), object.copy());
        let gateway = behind(&cdn.url(), |head, read| app_file(&storage, head, read)).await;
        let client = Http2Client::connect(&gateway).await;
        cdn.next(Act::broken(5_000_000, end));
        let answer = client.get(&object.path()).await;
        assert!(answer.is_whole && answer.body == object.bytes, "{end:?}: {}", answer.body.len());
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.sum("safelight_streams_healed_total"), 1.0, "{end:?}");
    }
}

/// What cannot be continued is reset: never is there an END_STREAM behind a part.
#[tokio::test]
async fn a_body_that_cannot_be_healed_is_reset() {
    let cdn = WireCdn::start().await;
    let gateway = behind(&cdn.url(), offline_app_file).await;
    let client = Http2Client::connect(&gateway).await;
    let grant = granted(&client, "a.jpg").await;
    let bytes = Bytes::from(vec![b'x'; 3_000_000]);
    let object = CdnObject { bytes: bytes.clone(), headers: Vec::new() };
    let object = object.and("ETag", "\"v1\"").and("Content-Type", "image/jpeg");
    cdn.put(&format!("/images/{}", grant.key()), object.clone());
    cdn.put(&format!("/{}", grant.key()), object);
    for end in [End::Close, End::Reset] {
        cdn.next(Act::broken(1_000_000, end));
        let request = client.request(Method::GET, grant.public_url());
        // The reset may come before the client has looked at the head.
        let error = match client.begin(request).await {
            Err(error) => error,
            Ok(response) => {
                assert_eq!(response.status(), StatusCode::OK);
                let (came, error) = read(response.into_body()).await;
                assert!(came.len() < bytes.len() && bytes.starts_with(&came));
                error.expect("it does not end as if it were whole")
            }
        };
        assert_eq!(reset_reason(&error), Some(h2::Reason::INTERNAL_ERROR), "{end:?}: {error:?}");
    }
    // The stream is broken, and not the connection.
    client.get("/nowhere").await.assert_problem(404, "unknown_route");
}

/// Half of a slow image, and the rest of its body.
async fn begin_reading(
    client: &Http2Client,
    url: &str,
) -> (Bytes, http::Response<hyper::body::Incoming>) {
    let mut response = client.begin(client.request(Method::GET, url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut half = Vec::new();
    while half.len() < FIRST_HALF {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        half.extend_from_slice(frame.data_ref().unwrap());
    }
    (half.into(), response)
}

#[tokio::test]
async fn streams_count_as_requests() {
    let cdn = SlowCdn::start().await;
    let head = format!("CloudFrontURL = \"{}\"", cdn.url);
    let setup = Setup::with_app("shop", offline_app_file(&head, PATIENT_READ));
    let setup = setup.and_server(H2C).and_settings("[Limits]\nMaxConcurrentRequests = 1");
    let gateway = setup.start().await;
    let client = Http2Client::connect(&gateway).await;
    let grant = granted(&client, "a.jpg").await;
    gateway.until_in_flight(0.0).await;
    let (half, response) = begin_reading(&client, grant.public_url()).await;

    client.get("/nowhere").await.assert_problem(503, "overloaded");
    cdn.release();
    let (rest, error) = read(response.into_body()).await;
    assert!(error.is_none() && [half, rest].concat() == photos::JPEG.bytes);
    gateway.until_in_flight(0.0).await;
    client.get("/nowhere").await.assert_problem(404, "unknown_route");
}

#[tokio::test]
async fn a_stream_that_its_client_resets_gives_its_place_back() {
    let cdn = SlowCdn::start().await;
    let gateway = behind(&cdn.url, offline_app_file).await;
    let client = Http2Client::connect(&gateway).await;
    let grant = granted(&client, "a.jpg").await;
    for _ in 0..3 {
        let (_, response) = begin_reading(&client, grant.public_url()).await;
        drop(response);
        gateway.until_in_flight(0.0).await;
    }
}

#[tokio::test]
async fn a_drain_finishes_the_streams_and_ends_the_connection() {
    let cdn = SlowCdn::start().await;
    let gateway = behind(&cdn.url, offline_app_file).await;
    let busy = Http2Client::connect(&gateway).await;
    let idle = Http2Client::connect(&gateway).await;
    let grant = granted(&busy, "a.jpg").await;
    idle.get("/nowhere").await.assert_problem(404, "unknown_route");
    let (half, response) = begin_reading(&busy, grant.public_url()).await;

    let stopping = tokio::spawn(gateway.stop());
    idle.ended.await.unwrap().expect("an idle connection ends in order");
    cdn.release();
    let (rest, error) = read(response.into_body()).await;
    assert!(error.is_none() && [half, rest].concat() == photos::JPEG.bytes);
    busy.ended.await.unwrap().expect("a busy connection ends in order");
    stopping.await.unwrap();
}

/// Without the setting, the beginning of HTTP/2 is a request that is none.
#[tokio::test]
async fn it_is_not_spoken_in_the_clear_by_default() {
    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    let mut raw = Raw::connect(&gateway.base).await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let answer = raw.answer().await;
    assert!(answer.is_none_or(|answer| (400..=505).contains(&answer.status)));
    assert!(raw.is_closed().await);
    gateway.granted("shop", "a.jpg").await;
}

/// Who speaks HTTP/1.1 is served as before, whatever the method begins with.
#[tokio::test]
async fn both_are_spoken_on_one_listener() {
    let gateway = gateway().await;
    for (method, status) in [("GET", 404), ("POST", 404), ("PRINT", 405), ("P", 405)] {
        let mut raw = Raw::connect(&gateway.base).await;
        for byte in format!("{method} /nowhere HTTP/1.1\r\nHost: h\r\n\r\n").bytes() {
            raw.send([byte]).await;
        }
        assert_eq!(raw.answer().await.expect("an answer").status, status, "{method}");
    }
    let client = Http2Client::connect(&gateway).await;
    client.get("/nowhere").await.assert_problem(404, "unknown_route");
    // One that shows nothing is not waited for at the end.
    let _silent = tcp(&gateway).await;
    gateway.stop().await;
}

/// What others wrote finds HTTP/2 in it: curl, and a load of nghttp2's.
#[tokio::test]
async fn clients_of_others() {
    let gateway = gateway().await;
    let photo = photos::JPEG;
    let grant = gateway.uploaded("shop", photo.file, photo.bytes).await;
    let url = gateway.local(grant.public_url());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    let said = tools::run(
        "curl",
        &[
            "-sS",
            "--http2-prior-knowledge",
            "-o",
            file.to_str().unwrap(),
            "-w",
            "%{http_version} %{http_code}",
            &url,
        ],
    )
    .await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "2 200"), "{said:?}");
    assert!(std::fs::read(file).unwrap() == photo.bytes);

    let load = ["-n", "600", "-c", "3", "-m", "50", "-p", "h2c", &url];
    let said = tools::run("h2load", &load).await;
    assert!(said.stdout.contains("600 succeeded, 0 failed, 0 errored"), "{said:?}");
    let reads = r#"safelight_reads_total{app="shop",code="200",source="embedded"}"#;
    assert_eq!(gateway.metrics().await.value(reads), 601.0);
    Plain::new(Method::GET, url).send().await.assert_success();
}
