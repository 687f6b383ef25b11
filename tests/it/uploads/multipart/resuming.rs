//! A client is killed in the middle, and another one sends what is missing.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{
    PART, arrived, ask_for_parts, assert_ready, begin, complete, end_session, large_shop, photo,
    put, send, stores, urls,
};
use crate::harness::front::Front;
use crate::harness::gateway::Grant;

/// A process that sends parts, in this order.
fn client(file: &Path, parts: &[&Value]) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".peers/venv/bin/python");
    let mut child = Command::new(&python)
        .arg(root.join("tests/it/uploads/part_client.py"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("this test needs {} ({error}): run tests/peers", python.display())
        });
    let told = json!({"file": file, "partSize": PART, "partURLs": parts});
    let mut input = child.stdin.take().expect("it was asked for");
    input.write_all(told.to_string().as_bytes()).expect("the client reads");
    child
}

fn part_urls(grant: &Grant) -> Vec<Value> {
    grant.0["partURLs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_killed_upload_goes_on_with_the_parts_that_are_missing() {
    for storage in stores().await {
        let (front, storage) = Front::before(&storage).await;
        let gateway = large_shop(&storage).start().await;
        let file = photo(4 * PART + 100);
        let on_disk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&on_disk, &file).unwrap();

        let grant = begin(&gateway, file.len()).await;
        let first = part_urls(&grant);
        assert_eq!(arrived(&gateway, &grant).await, Vec::<u64>::new());
        front.hold(Some(3));
        // Parts 5 and 2 arrive, and then the process dies in the middle of part 3.
        let mut killed = client(on_disk.path(), &[&first[4], &first[1], &first[2], &first[0]]);
        front.sees_part(3).await;
        killed.kill().unwrap();
        assert!(!killed.wait().unwrap().success());
        assert_eq!(front.parts(), [5, 2, 3]);
        front.hold(None);

        // Also the gateway is another one by now: all that it needs is on record.
        let gateway = gateway.restart(large_shop(&storage)).await;
        assert_eq!(arrived(&gateway, &grant).await, [2, 5]);
        let early = complete(&gateway, &grant, None).await;
        early.assert_problem(409, "wrong_parts");
        assert!(early.text().contains("part 1 is not in storage"), "{}", early.text());

        front.forget();
        send(&file, &urls(&gateway, &grant, &[1, 3, 4]).await).await;
        let mut sent_again = front.parts();
        sent_again.sort_unstable();
        assert_eq!(sent_again, [1, 3, 4], "nothing that had come was sent again");
        assert_eq!(arrived(&gateway, &grant).await, [1, 2, 3, 4, 5]);
        complete(&gateway, &grant, None).await.assert_success();
        assert_ready(&gateway, &grant, &file).await;
    }
}

#[tokio::test]
async fn a_part_that_is_sent_again_replaces_the_first() {
    for storage in stores().await {
        let gateway = large_shop(&storage).start().await;
        let file = photo(PART + 100);
        let grant = begin(&gateway, file.len()).await;
        let parts = part_urls(&grant);
        // The same bytes, as after an answer that was lost.
        send(&file, &parts).await;
        send(&file, &parts[..1]).await;
        assert_eq!(arrived(&gateway, &grant).await, [1, 2]);
        complete(&gateway, &grant, None).await.assert_success();
        assert_ready(&gateway, &grant, &file).await;
    }
}

#[tokio::test]
async fn the_list_says_number_size_and_tag() {
    for storage in stores().await {
        let gateway = large_shop(&storage).start().await;
        let file = photo(PART + 100);
        let grant = begin(&gateway, file.len()).await;
        let first = put(&part_urls(&grant)[1], file.slice(PART..)).send().await;
        let answer = ask_for_parts(&gateway, &grant).await;
        answer.assert_success();
        assert_eq!(answer.header("cache-control"), "no-store");
        let expected = json!([{"partNumber": 2, "size": 100, "etag": first.header("etag")}]);
        assert_eq!(answer.json()["data"], json!({ "parts": expected }));
    }
}

#[tokio::test]
async fn nothing_is_resumed_after_the_session() {
    let gateway = super::start().await;
    let file = photo(100_000);
    let grant = begin(&gateway, file.len()).await;
    send(&file, &part_urls(&grant)).await;
    end_session(&gateway, &grant);
    ask_for_parts(&gateway, &grant).await.assert_problem(410, "upload_expired");
    let body = json!({"partNumbers": [1]});
    super::ask_for_urls(&gateway, &grant, &body).await.assert_problem(410, "upload_expired");
    complete(&gateway, &grant, None).await.assert_problem(410, "upload_expired");
    assert_eq!(super::status(&gateway, &grant).await["state"], "pending");
}
