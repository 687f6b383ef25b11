//! Completing: which lists are right, that nothing is assembled of a wrong one, and that everybody
//! gets the same verdict.

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use safelight::domain::{ETag, MultipartId};
use safelight::storage::{ObjectStore as _, StorageErrorKind, UploadedPart};
use serde_json::{Value, json};

use super::{
    PART, arrived, ask_for_parts, ask_for_urls, assert_ready, begin, call, complete, end_session,
    large_shop, photo, recorded, send, sent, start, stores,
};
use crate::harness::front::Front;
use crate::harness::gateway::{Grant, TestGateway};
use crate::harness::seaweed::Seaweed;
use crate::uploads::{assert_refused_for, bucket, finalize, path_of, status, stored};

fn bare(list: &[Value]) -> Vec<Value> {
    let bare = |part: &Value| {
        let etag = part["etag"].as_str().unwrap().trim_matches('"');
        json!({"partNumber": part["partNumber"], "etag": etag})
    };
    list.iter().map(bare).collect()
}

#[tokio::test]
async fn a_list_may_be_quoted_bare_shuffled_or_absent() {
    for storage in stores().await {
        let gateway = large_shop(&storage).start().await;
        let file = photo(PART + 100);
        for shape in ["quoted", "bare", "shuffled", "absent", "an empty object"] {
            let (grant, mut list) = sent(&gateway, &file).await;
            let answer = match shape {
                "bare" => complete(&gateway, &grant, Some(&bare(&list))).await,
                "absent" => complete(&gateway, &grant, None).await,
                "an empty object" => {
                    call(&gateway, Method::POST, &grant, "/complete").with_body("{}").send().await
                }
                _ => {
                    if shape == "shuffled" {
                        list.reverse();
                    }
                    complete(&gateway, &grant, Some(&list)).await
                }
            };
            assert_eq!(answer.status, 200, "{shape}: {}", answer.text());
            let data = &answer.json()["data"];
            assert_eq!((&data["state"], &data["size"]), (&json!("ready"), &json!(file.len())));
            assert_eq!(data["contentType"], "image/jpeg");
            assert_eq!(*data, status(&gateway, &grant).await);
            assert_ready(&gateway, &grant, &file).await;
        }
    }
}

/// A wrong list, and what it is told.
fn wrong_lists(list: &[Value]) -> Vec<(Vec<Value>, &'static str)> {
    let swapped = vec![
        json!({"partNumber": 1, "etag": list[1]["etag"]}),
        json!({"partNumber": 2, "etag": list[0]["etag"]}),
    ];
    let and = |more: Value| [list, &[more]].concat();
    let many: Vec<_> =
        (1..=10_001).map(|number| json!({"partNumber": number, "etag": "x"})).collect();
    vec![
        (vec![], "part 1 is missing from parts"),
        (list[..1].to_vec(), "part 2 is missing from parts"),
        (list[1..].to_vec(), "part 1 is missing from parts"),
        (and(json!({"partNumber": 3, "etag": "x"})), "there is no part 3"),
        (and(json!({"partNumber": 0, "etag": "x"})), "there is no part 0"),
        (and(json!({"partNumber": 65_537, "etag": "x"})), "there is no part 65537"),
        (and(list[1].clone()), "part 2 is named twice"),
        (swapped, "part 1 has another ETag in storage"),
        (many, "there is no part 3"),
    ]
}

#[tokio::test]
async fn a_wrong_list_is_told_which_part_and_changes_nothing() {
    for storage in stores().await {
        let (front, storage) = Front::before(&storage).await;
        let gateway = large_shop(&storage).start().await;
        let file = photo(PART + 100);
        let (grant, list) = sent(&gateway, &file).await;
        let before = recorded(&gateway, &grant, "revision");
        for (wrong, told) in wrong_lists(&list) {
            let answer = complete(&gateway, &grant, Some(&wrong)).await;
            answer.assert_problem(409, "wrong_parts");
            assert!(answer.text().contains(told), "{}", answer.text());
        }
        for (body, status, code) in [
            ("[]".to_owned(), 400, "invalid_json"),
            (r#"{"parts": [{"partNumber": 1}]}"#.into(), 400, "invalid_json"),
            (r#"{"parts": [{"partNumber": -1, "etag": "x"}]}"#.into(), 400, "invalid_json"),
            (" ".repeat(1024 * 1024 + 1), 413, "body_too_large"),
        ] {
            let answer =
                call(&gateway, Method::POST, &grant, "/complete").with_body(body).send().await;
            answer.assert_problem(status, code);
        }
        assert_eq!(front.count("POST", "uploadId="), 0, "storage was asked to assemble something");
        assert_eq!(recorded(&gateway, &grant, "revision"), before);
        assert_eq!(arrived(&gateway, &grant).await, [1, 2]);
        complete(&gateway, &grant, Some(&list)).await.assert_success();
    }
}

/// A part that was sent past the gateway's URLs, with the app's own credentials.
#[tokio::test]
async fn a_part_of_another_size_is_refused() {
    let gateway = start().await;
    let file = photo(PART + 100);
    let (grant, _) = sent(&gateway, &file).await;
    let rusqlite::types::Value::Text(id) = recorded(&gateway, &grant, "multipart_id") else {
        panic!("an upload in parts has a session")
    };
    let (path, upload) = (path_of(grant.key()), MultipartId(id));
    let part = safelight::storage::PartGrant {
        path: &path,
        upload: &upload,
        number: 2,
        size: 3,
        sha256: None,
        expires_in: std::time::Duration::from_secs(60),
    };
    let signed = bucket().await.sign_part(&part, std::time::SystemTime::now()).await.unwrap();
    crate::harness::plain_client::Plain::put(&signed, "abc").send().await.assert_success();
    let answer = complete(&gateway, &grant, None).await;
    answer.assert_problem(409, "wrong_parts");
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound));
    assert_eq!(arrived(&gateway, &grant).await, [1], "it is to be sent again");
}

#[tokio::test]
async fn twice_and_at_once_is_one_verdict() {
    for storage in stores().await {
        let gateway = large_shop(&storage).start().await;
        let file = photo(PART + 100);
        let (grant, list) = sent(&gateway, &file).await;
        let first = complete(&gateway, &grant, Some(&list)).await;
        first.assert_success();
        for list in [None, Some(&list[..]), Some(&[][..])] {
            let again = complete(&gateway, &grant, list).await;
            assert_eq!((again.status.as_u16(), again.json()), (200, first.json()));
        }
        assert_eq!(finalize(&gateway, &grant).await.json(), first.json());
        ask_for_parts(&gateway, &grant).await.assert_problem(409, "conflict");
        let body = json!({"partNumbers": [1]});
        ask_for_urls(&gateway, &grant, &body).await.assert_problem(409, "conflict");

        let (grant, list) = sent(&gateway, &file).await;
        let answers = join_all((0..4).map(|_| complete(&gateway, &grant, Some(&list)))).await;
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), answer.json()), (200, answers[0].json()));
        }
        assert_ready(&gateway, &grant, &file).await;
        let ready =
            gateway.metrics().await.value(r#"safelight_uploads_total{app="shop",state="ready"}"#);
        assert_eq!(ready, 2.0);
    }
}

/// Storage assembled the object, and nobody lived to write that down.
async fn assembled_unseen(gateway: &TestGateway, file: &Bytes) -> Grant {
    let (grant, list) = sent(gateway, file).await;
    let rusqlite::types::Value::Text(id) = recorded(gateway, &grant, "multipart_id") else {
        panic!("an upload in parts has a session")
    };
    let parts: Vec<_> = list
        .iter()
        .map(|part| UploadedPart {
            number: u16::try_from(part["partNumber"].as_u64().unwrap()).unwrap(),
            size: 0,
            etag: ETag::parse(part["etag"].as_str().unwrap()).unwrap(),
            sha256: None,
        })
        .collect();
    let (store, path) = (bucket().await, path_of(grant.key()));
    store.complete_multipart(&path, &MultipartId(id), &parts).await.unwrap();
    assert_eq!(status(gateway, &grant).await["state"], "pending");
    grant
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_asked_for_again() {
    let gateway = start().await;
    let file = photo(PART + 100);
    let grant = assembled_unseen(&gateway, &file).await;
    ask_for_parts(&gateway, &grant).await.assert_problem(409, "conflict");
    complete(&gateway, &grant, None).await.assert_success();
    assert_ready(&gateway, &grant, &file).await;

    // Also when the session is over by then, and also by the other way to a verdict.
    let grant = assembled_unseen(&gateway, &file).await;
    end_session(&gateway, &grant);
    complete(&gateway, &grant, None).await.assert_success();
    let grant = assembled_unseen(&gateway, &file).await;
    finalize(&gateway, &grant).await.assert_success();
    assert_ready(&gateway, &grant, &file).await;
}

#[tokio::test]
async fn a_session_that_storage_has_given_up_is_over() {
    let gateway = start().await;
    let grant = begin(&gateway, 100).await;
    let rusqlite::types::Value::Text(id) = recorded(&gateway, &grant, "multipart_id") else {
        panic!("an upload in parts has a session")
    };
    bucket().await.abort_multipart(&path_of(grant.key()), &MultipartId(id)).await.unwrap();
    ask_for_parts(&gateway, &grant).await.assert_problem(410, "upload_expired");
    complete(&gateway, &grant, None).await.assert_problem(410, "upload_expired");
}

#[tokio::test]
async fn what_is_no_photo_is_refused_and_goes() {
    let gateway = start().await;
    let file = Bytes::from(vec![b'x'; PART + 100]);
    let grant = begin(&gateway, file.len()).await;
    send(&file, grant.0["partURLs"].as_array().unwrap()).await;
    for _ in 0..2 {
        assert_refused_for(&complete(&gateway, &grant, None).await, "content");
    }
    assert_eq!(stored(grant.key()).await, Err(StorageErrorKind::NotFound));
    assert_eq!(status(&gateway, &grant).await["state"], "failed");
    ask_for_parts(&gateway, &grant).await.assert_problem(410, "upload_expired");
}

#[tokio::test]
async fn a_completion_without_storage_changes_nothing() {
    let (_front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let gateway = large_shop(&storage).start().await;
    let file = photo(100_000);
    let (grant, list) = sent(&gateway, &file).await;
    // The same records, and a store that is not there any more.
    let gone = safelight::storage::S3Config {
        endpoint: Some("http://127.0.0.1:1".parse().unwrap()),
        ..storage.clone()
    };
    let gateway = gateway.restart(large_shop(&gone)).await;
    let answer = complete(&gateway, &grant, Some(&list)).await;
    answer.assert_problem(502, "storage_failed");
    assert!(!answer.text().contains("127.0.0.1"), "an internal address: {}", answer.text());
    let gateway = gateway.restart(large_shop(&storage)).await;
    complete(&gateway, &grant, Some(&list)).await.assert_success();
}
