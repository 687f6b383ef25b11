//! Multipart uploads.

use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::client::{Reply, Running, request, url, with_body};
use crate::domain::hex;

const MIB: usize = 1 << 20;

async fn begin(store: &Running, key: &str) -> String {
    let headers = [("content-type", "image/png")];
    let reply = store.signed(with_body("POST", &url(key, "?uploads="), &headers, "")).await;
    assert_eq!(reply.verdict(), (200, ""));
    reply.all("UploadId")[0].to_owned()
}

async fn upload(store: &Running, id: &str, number: u32, body: impl Into<Bytes>) -> Reply {
    let query = format!("?partNumber={number}&uploadId={id}");
    store.signed(with_body("PUT", &url("big", &query), &[], body)).await
}

async fn complete(store: &Running, id: &str, parts: &[(u32, &str)]) -> Reply {
    let parts: String = parts
        .iter()
        .map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let xml = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    store.signed(with_body("POST", &url("big", &format!("?uploadId={id}")), &[], xml)).await
}

async fn list(store: &Running, id: &str, query: &str) -> Reply {
    store.signed(with_body("GET", &url("big", &format!("?uploadId={id}{query}")), &[], "")).await
}

fn part(byte: u8, size: usize) -> Bytes {
    Bytes::from(vec![byte; size])
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

#[tokio::test]
async fn parts_in_any_order_become_one_object() {
    let store = Running::start().await;
    let id = begin(&store, "big").await;
    let (first, second) = (part(b'1', 5 * MIB), part(b'2', 3));
    // Out of order, across a restart, and one of them twice.
    assert_eq!(upload(&store, &id, 7, second.clone()).await.status, 200);
    assert_eq!(upload(&store, &id, 2, "not this").await.status, 200);
    let store = store.restart().await;
    let reply = upload(&store, &id, 2, first.clone()).await;
    assert_eq!(reply.header("etag").unwrap(), format!("\"{}\"", hex(&md5(&first))));
    assert_eq!(store.blobs(), 2);

    let listed = list(&store, &id, "").await;
    assert_eq!(listed.all("PartNumber"), ["2", "7"]);
    assert_eq!(listed.all("Size"), ["5242880", "3"]);
    let (tag2, tag7) = (hex(&md5(&first)), hex(&md5(&second)));
    let page = list(&store, &id, "&max-parts=1").await;
    assert_eq!((page.all("PartNumber"), page.all("IsTruncated")), (vec!["2"], vec!["true"]));
    assert_eq!(page.all("NextPartNumberMarker"), ["2"]);
    let page = list(&store, &id, "&max-parts=1&part-number-marker=2").await;
    assert_eq!((page.all("PartNumber"), page.all("IsTruncated")), (vec!["7"], vec!["false"]));

    assert_eq!(store.signed(request("HEAD", "big", &[])).await.status, 404, "not yet");
    // Quoted or bare.
    let reply = complete(&store, &id, &[(2, &format!("\"{tag2}\"")), (7, &tag7)]).await;
    assert_eq!(reply.verdict(), (200, ""));
    let tags = [md5(&first), md5(&second)].concat();
    let etag = format!("\"{}-2\"", hex(&md5(&tags)));
    assert_eq!(reply.all("ETag"), [&*etag]);

    let got = store.signed(request("GET", "big", &[])).await;
    assert_eq!(got.header("etag"), Some(&*etag));
    assert_eq!(got.header("content-type"), Some("image/png"));
    assert!(got.body == [first, second].concat());
    let across = [("range", "bytes=5242878-5242881")];
    assert_eq!(store.signed(request("GET", "big", &across)).await.text(), "1122");
    assert_eq!(store.blobs(), 1, "the parts are gone");
    assert_eq!(list(&store, &id, "").await.verdict(), (404, "NoSuchUpload"));
    assert_eq!(complete(&store, &id, &[(2, &tag2)]).await.verdict(), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn a_wrong_list_of_parts_is_refused() {
    let store = Running::start().await;
    let id = begin(&store, "big").await;
    let (small, large) = (part(b's', 10), part(b'l', 5 * MIB));
    upload(&store, &id, 1, small.clone()).await;
    upload(&store, &id, 2, large.clone()).await;
    upload(&store, &id, 3, small.clone()).await;
    let (small, large) = (hex(&md5(&small)), hex(&md5(&large)));
    let (small, large) = (small.as_str(), large.as_str());
    for (parts, code) in [
        (vec![(2, large), (4, small)], "InvalidPart"),
        (vec![(2, small)], "InvalidPart"),
        (vec![(3, small), (2, large)], "InvalidPartOrder"),
        (vec![(2, large), (2, large)], "InvalidPartOrder"),
        (vec![(1, small), (2, large)], "EntityTooSmall"),
        (vec![], "MalformedXML"),
    ] {
        assert_eq!(complete(&store, &id, &parts).await.verdict(), (400, code), "{parts:?}");
    }
    assert_eq!(store.signed(request("HEAD", "big", &[])).await.status, 404);
    // It can still be put right; a part that is not named is left out.
    let right = complete(&store, &id, &[(2, large), (3, small)]).await;
    assert_eq!(right.verdict(), (200, ""));
    let got = store.signed(request("HEAD", "big", &[])).await;
    assert_eq!(got.header("content-length"), Some("5242890"));
    assert_eq!(store.blobs(), 1);
}

#[tokio::test]
async fn an_upload_belongs_to_its_key() {
    let store = Running::start().await;
    let id = begin(&store, "other").await;
    assert_eq!(upload(&store, &id, 1, "x").await.verdict(), (404, "NoSuchUpload"));
    assert_eq!(list(&store, &id, "").await.verdict(), (404, "NoSuchUpload"));
    assert_eq!(complete(&store, &id, &[(1, "00")]).await.verdict(), (404, "NoSuchUpload"));
    let id = begin(&store, "big").await;
    for number in [0, 10_001] {
        assert_eq!(upload(&store, &id, number, "x").await.verdict(), (400, "InvalidArgument"));
    }
    assert_eq!(upload(&store, &id, 10_000, "x").await.status, 200);
}

#[tokio::test]
async fn abort_frees_the_parts() {
    let store = Running::start().await;
    let id = begin(&store, "big").await;
    upload(&store, &id, 1, "x").await;
    upload(&store, &id, 2, "y").await;
    assert_eq!(store.blobs(), 2);
    let abort = || with_body("DELETE", &url("big", &format!("?uploadId={id}")), &[], "");
    assert_eq!(store.signed(abort()).await.status, 204);
    assert_eq!(store.blobs(), 0);
    assert_eq!(store.signed(abort()).await.verdict(), (404, "NoSuchUpload"));
    assert_eq!(upload(&store, &id, 3, "z").await.verdict(), (404, "NoSuchUpload"));
    assert_eq!(store.blobs(), 0);
}
