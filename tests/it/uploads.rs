//! Uploads through the gateway, to a real S3 server: what is granted, what is refused, and what the
//! server itself makes of a client that does otherwise.

mod abandoning;
mod finalizing;
mod granting;
mod multipart;
mod outages;
mod refusing;
mod renewing;
mod repeating;

use http::Method;
use serde_json::Value;

use crate::harness::gateway::{Grant, Setup, TestGateway, app_file};
use crate::harness::plain_client::Answer;
use crate::harness::seaweed::{Seaweed, open};
use safelight::domain::StoragePath;
use safelight::storage::{ObjectMeta, ObjectStore as _, S3Store, StorageErrorKind};

/// An app on the test bucket, with these sections in its file.
async fn shop(sections: &str) -> Setup {
    Setup::with_app("shop", app_file(&Seaweed::shared().await.config(), "", sections))
}

/// The bucket itself, past the gateway.
async fn bucket() -> S3Store {
    open(Seaweed::shared().await.config())
}

/// What is in the bucket under a key.
async fn stored(key: &str) -> Result<ObjectMeta, StorageErrorKind> {
    bucket().await.head(&path_of(key)).await.map_err(|error| error.kind)
}

fn path_of(key: &str) -> StoragePath {
    StoragePath::from_listing(&format!("images/{key}"))
}

/// How many uploads are on record.
fn records(gateway: &TestGateway) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(gateway.records_file(), flags).unwrap();
    database.query_row("SELECT count(*) FROM uploads", [], |row| row.get(0)).unwrap()
}

/// `GET /uploads/{id}`, with the token in the query.
async fn status(gateway: &TestGateway, grant: &Grant) -> Value {
    let path = format!(
        "/darkroom/shop/v1/uploads/{}?token={}",
        grant.text("uploadID"),
        grant.text("uploadToken")
    );
    let answer = gateway.get(&path).await;
    answer.assert_success();
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()["data"].clone()
}

/// The finalize that the answer names.
async fn finalize(gateway: &TestGateway, grant: &Grant) -> Answer {
    gateway.request(Method::POST, grant.text("finalizeURL")).send().await
}

/// It must be the refusal of what arrived, for this reason.
#[track_caller]
fn assert_refused_for(answer: &Answer, reason: &str) {
    answer.assert_problem(422, "verification_failed");
    assert_eq!(answer.json()["reason"], reason);
}
