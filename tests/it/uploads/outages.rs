//! What uploads do while the record store or storage is gone.

use serde_json::json;

use super::{finalize, records, shop, status};
use crate::harness::gateway::{Setup, offline_app_file};
use crate::harness::photos::JPEG;

/// Somebody holds the database against the gateway's writer for longer than it waits (5 s).
#[tokio::test]
async fn no_url_leaves_while_nothing_can_be_recorded() {
    let gateway = shop("").await.start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let holder = rusqlite::Connection::open(gateway.records_file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();

    let presign = gateway.presign("shop", "owner-1", json!({"file": "a.jpg"}));
    let (presign, finalized) = tokio::join!(presign, finalize(&gateway, &grant));
    for answer in [presign, finalized] {
        answer.assert_problem(503, "records_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.text().contains("X-Amz-"), "a URL left without a record");
    }
    let read = gateway.get(grant.public_url()).await;
    assert!(read.status == 200 && read.body == JPEG.bytes, "reads go on: {}", read.status);

    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(records(&gateway), 1);
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
    finalize(&gateway, &grant).await.assert_success();
    gateway.presign("shop", "owner-1", json!({"file": "a.jpg"})).await.assert_success();
}

#[tokio::test]
async fn a_finalize_without_storage_changes_nothing() {
    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    let grant = gateway.granted("shop", "a.jpg").await;
    let answer = finalize(&gateway, &grant).await;
    answer.assert_problem(502, "storage_failed");
    assert!(!answer.text().contains("127.0.0.1"), "an internal address: {}", answer.text());
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
}
