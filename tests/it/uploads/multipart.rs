//! Files that come in parts.

mod beginning;
mod completing;
mod faults;
mod resuming;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::status;
use crate::harness::embedded;
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::seaweed::Seaweed;
use safelight::storage::S3Config;

const MIB: usize = 1 << 20;

/// The smallest part that storage takes before the last.
const PART: usize = 5 * MIB;

/// Room for the files of these tests.
const LARGE: &str = "[Upload]\nMaxBytes = \"1GiB\"";

/// An app on a store, for large files.
fn large_shop(storage: &S3Config) -> Setup {
    Setup::with_app("shop", app_file(storage, "", LARGE))
}

async fn start() -> TestGateway {
    large_shop(&Seaweed::shared().await.config()).start().await
}

/// A store that `safelight dev` embeds, and a real one.
async fn stores() -> [S3Config; 2] {
    [embedded::start().await, Seaweed::shared().await.config()]
}

/// A photograph with something behind it, as large as is wanted. No part is like another.
fn photo(size: usize) -> Bytes {
    let mut bytes = JPEG.bytes.to_vec();
    bytes.resize(size, 0);
    for (number, part) in bytes.chunks_mut(PART).enumerate().skip(1) {
        part[0] = u8::try_from(number).unwrap();
    }
    bytes.into()
}

async fn ask_to_begin(gateway: &TestGateway, body: &Value) -> Answer {
    gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(body.to_string())
        .send()
        .await
}

/// Begins an upload in parts of 5 MiB.
async fn begin(gateway: &TestGateway, size: usize) -> Grant {
    let body = json!({"file": "large.jpg", "size": size, "partSize": PART});
    let answer = ask_to_begin(gateway, &body).await;
    answer.assert_success();
    Grant(answer.json()["data"].clone())
}

/// A call on an upload, with its token in the header.
fn call(gateway: &TestGateway, method: Method, grant: &Grant, what: &str) -> Plain {
    let path = format!("/darkroom/shop/v1/uploads/{}{what}", grant.text("uploadID"));
    gateway.request(method, &path).with_header("Upload-Token", Some(grant.text("uploadToken")))
}

async fn ask_for_urls(gateway: &TestGateway, grant: &Grant, body: &Value) -> Answer {
    call(gateway, Method::POST, grant, "/part-urls").with_body(body.to_string()).send().await
}

/// Fresh URLs for parts.
async fn urls(gateway: &TestGateway, grant: &Grant, numbers: &[u16]) -> Vec<Value> {
    let answer = ask_for_urls(gateway, grant, &json!({ "partNumbers": numbers })).await;
    answer.assert_success();
    answer.json()["data"]["partURLs"].as_array().unwrap().clone()
}

/// The PUT of a part that an answer asks for, with exactly the headers that it names.
fn put(part: &Value, bytes: impl Into<Bytes>) -> Plain {
    let mut put = Plain::new(Method::PUT, part["url"].as_str().unwrap()).with_body(bytes);
    for (name, value) in part["headers"].as_object().unwrap() {
        put = put.with_header(name, value.as_str());
    }
    put
}

/// The bytes of a part.
fn part_of(file: &Bytes, part: &Value) -> Bytes {
    let begin = (usize::try_from(part["partNumber"].as_u64().unwrap()).unwrap() - 1) * PART;
    file.slice(begin..file.len().min(begin + PART))
}

/// Sends parts, all at once, and gives the list of them as a client keeps it.
async fn send(file: &Bytes, parts: &[Value]) -> Vec<Value> {
    let sending = parts.iter().map(async |part| {
        let answer = put(part, part_of(file, part)).send().await;
        answer.assert_success();
        json!({"partNumber": part["partNumber"], "etag": answer.header("etag")})
    });
    join_all(sending).await
}

/// Begins an upload of some parts, and sends them all.
async fn sent(gateway: &TestGateway, file: &Bytes) -> (Grant, Vec<Value>) {
    let grant = begin(gateway, file.len()).await;
    let list = send(file, grant.0["partURLs"].as_array().unwrap()).await;
    (grant, list)
}

async fn ask_for_parts(gateway: &TestGateway, grant: &Grant) -> Answer {
    call(gateway, Method::GET, grant, "/parts").send().await
}

/// The parts that need not be sent again.
async fn arrived(gateway: &TestGateway, grant: &Grant) -> Vec<u64> {
    let answer = ask_for_parts(gateway, grant).await;
    answer.assert_success();
    let parts = answer.json()["data"]["parts"].as_array().unwrap().clone();
    parts.iter().map(|part| part["partNumber"].as_u64().unwrap()).collect()
}

/// Completes, with a list or without a body.
async fn complete(gateway: &TestGateway, grant: &Grant, list: Option<&[Value]>) -> Answer {
    let request = call(gateway, Method::POST, grant, "/complete");
    let request = match list {
        None => request,
        Some(list) => request.with_body(json!({ "parts": list }).to_string()),
    };
    request.send().await
}

/// It must be ready, and read as this file.
async fn assert_ready(gateway: &TestGateway, grant: &Grant, file: &Bytes) {
    let record = status(gateway, grant).await;
    assert_eq!((&record["state"], &record["size"]), (&json!("ready"), &json!(file.len())));
    let read = gateway.get(grant.public_url()).await;
    assert!(read.status == 200 && read.body == file, "{}: {} bytes", read.status, read.body.len());
}

/// What the record store knows of an upload, in one column.
fn recorded(gateway: &TestGateway, grant: &Grant, column: &str) -> rusqlite::types::Value {
    let database = rusqlite::Connection::open(gateway.records_file()).unwrap();
    let query = format!("SELECT {column} FROM uploads WHERE key = ?1");
    database.query_row(&query, [grant.key()], |row| row.get(0)).unwrap()
}

/// Lets the session of an upload have ended long ago.
fn end_session(gateway: &TestGateway, grant: &Grant) {
    let database = rusqlite::Connection::open(gateway.records_file()).unwrap();
    let update = "UPDATE uploads SET session_expires_at = created_at - 86400000 WHERE key = ?1";
    assert_eq!(database.execute(update, [grant.key()]).unwrap(), 1);
}
