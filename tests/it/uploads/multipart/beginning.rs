//! What a file in parts is granted, and what its URLs are good for.

use http::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    LARGE, MIB, PART, arrived, ask_for_urls, ask_to_begin, assert_ready, begin, call, complete,
    large_shop, photo, put, recorded, send, start, urls,
};
use crate::harness::fake_gcs::{self, FakeGcs};
use crate::harness::front::Front;
use crate::harness::gateway::{Grant, PUBLIC_BASE, Setup, TestGateway, offline_app_file};
use crate::harness::seaweed::Seaweed;
use crate::uploads::{finalize, records, shop, status};

/// How S3 says no to a request that its signature does not cover.
const NOT_SIGNED: &[u16] = &[400, 403];

async fn refused(gateway: &TestGateway, body: Value, code: &str) -> String {
    let answer = ask_to_begin(gateway, &body).await;
    let status = match code {
        "file_too_large" => 413,
        "public_upload_disabled" => 403,
        "rate_limited" => 429,
        "multipart_unsupported" => 501,
        "storage_failed" => 502,
        _ => 400,
    };
    answer.assert_problem(status, code);
    assert!(!answer.text().contains("X-Amz-"), "a URL left: {}", answer.text());
    answer.text()
}

#[tokio::test]
async fn the_answer_field_by_field() {
    let sections = "[Upload]\nMaxBytes = \"1GiB\"\nURLExpiry = \"10m\"\nSessionExpiry = \"2h\"";
    let gateway = shop(sections).await.start().await;
    let answer =
        ask_to_begin(&gateway, &json!({"file": "My Photo.JPG", "size": 20 * MIB + 1})).await;
    answer.assert_success();
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("ratelimit").starts_with("\"owner\";r="), "{:?}", answer.headers);
    let grant = Grant(answer.json()["data"].clone());
    let mut fields: Vec<_> = grant.0.as_object().unwrap().keys().cloned().collect();
    fields.sort_unstable();
    let expected = [
        "completeURL",
        "expiresAt",
        "finalizeURL",
        "headers",
        "key",
        "method",
        "partCount",
        "partSize",
        "partURLs",
        "publicURL",
        "uploadID",
        "uploadToken",
        "urlsExpireAt",
    ];
    assert_eq!(fields, expected);
    let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
    assert_eq!(&grant.key()[26..], "-my-photo.jpg");
    let upload = format!("{PUBLIC_BASE}/darkroom/shop/v1/uploads/{id}");
    assert_eq!(grant.text("completeURL"), format!("{upload}/complete?token={token}"));
    assert_eq!(grant.text("finalizeURL"), format!("{upload}/finalize?token={token}"));
    assert_eq!((&grant.0["method"], &grant.0["headers"]), (&json!("PUT"), &json!({})));
    assert_eq!((&grant.0["partSize"], &grant.0["partCount"]), (&json!(8 * MIB), &json!(3)));

    let seconds = |field: &str| {
        let time: jiff::Timestamp = grant.text(field).parse().unwrap();
        time.as_second()
    };
    assert!((6590..=6600).contains(&(seconds("expiresAt") - seconds("urlsExpireAt"))));
    assert_eq!(status(&gateway, &grant).await["expiresAt"], grant.0["urlsExpireAt"]);
    for (number, part) in (1..).zip(grant.0["partURLs"].as_array().unwrap()) {
        assert_eq!((&part["partNumber"], &part["headers"]), (&json!(number), &json!({})));
        let url = part["url"].as_str().unwrap();
        assert!(url.contains("SignedHeaders=content-length%3Bhost&"), "{url}");
        assert!(url.contains(&format!("&partNumber={number}&uploadId=")), "{url}");
        assert!(url.contains("X-Amz-Expires=600&"), "{url}");
    }
    assert_eq!(records(&gateway), 1);
}

#[tokio::test]
async fn the_first_hundred_urls_come_at_once_and_the_others_when_asked_for() {
    let gateway = start().await;
    let grant = begin(&gateway, 101 * PART + 7).await;
    assert_eq!(grant.0["partCount"], 102);
    let numbers = |parts: &[Value]| -> Vec<_> {
        parts.iter().map(|part| part["partNumber"].as_u64().unwrap()).collect()
    };
    let first = grant.0["partURLs"].as_array().unwrap();
    assert_eq!(numbers(first), (1..=100).collect::<Vec<_>>());
    let others = urls(&gateway, &grant, &[102, 101, 1]).await;
    assert_eq!(numbers(&others), [102, 101, 1]);
    let last = put(&others[0], "the end").send().await;
    last.assert_success();
    assert_eq!(arrived(&gateway, &grant).await, [102]);
}

#[tokio::test]
async fn a_url_is_good_for_one_part_of_its_length() {
    let gateway = start().await;
    let file = photo(PART + 100);
    let grant = begin(&gateway, file.len()).await;
    let [first, last] = [0, 1].map(|index| grant.0["partURLs"][index].clone());
    let mut as_first = put(&last, file.slice(PART..));
    as_first.url = as_first.url.replace("partNumber=2&", "partNumber=1&");
    let mut object = put(&last, file.slice(PART..));
    object.url.truncate(object.url.find("&partNumber").unwrap());
    for (why, request) in [
        ("a longer last part", put(&last, file.slice(PART - 1..))),
        ("a shorter last part", put(&last, file.slice(PART + 1..))),
        ("a shorter part", put(&first, file.slice(..PART - 1))),
        ("another part", as_first),
        ("the object itself", object),
    ] {
        request.send().await.assert_refused_with(NOT_SIGNED, why);
        assert_eq!(arrived(&gateway, &grant).await, Vec::<u64>::new(), "{why}");
    }
    let read = gateway.get(grant.public_url()).await;
    assert_eq!(read.status, 404);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let gateway = large_shop(&storage).start().await;
    let hex = "0".repeat(64);
    for (body, code, told) in [
        (json!({"file": "a.jpg"}), "size_required", "`size`"),
        (json!({"file": "a.jpg", "size": 0}), "invalid_request", "size is 0"),
        (json!({"file": "a.jpg", "size": -1}), "invalid_json", "-1"),
        (json!({"file": "a.jpg", "size": (1u64 << 30) + 1}), "file_too_large", "1073741824"),
        (json!({"size": 1}), "invalid_json", "file"),
        (json!({"file": "../a.jpg", "size": 1}), "invalid_file_name", ""),
        (json!({"file": "a.exe", "size": 1}), "unsupported_image_type", ""),
        (
            json!({"file": "a.jpg", "size": 1, "contentType": "image/png"}),
            "type_mismatch",
            "image/png",
        ),
        (
            json!({"file": "a.jpg", "size": 1, "partSize": PART - 1}),
            "invalid_request",
            "partSize takes 5242880 to 5368709120 bytes",
        ),
        (
            json!({"file": "a.jpg", "size": 1, "partSize": 5 * (1u64 << 30) + 1}),
            "invalid_request",
            "partSize takes 5242880 to 5368709120 bytes",
        ),
        (json!({"file": "a.jpg", "size": 1, "sha256": hex}), "unsupported_constraint", "checksums"),
        (json!({"file": "a.jpg", "size": 1, "checksums": {"2": hex}}), "invalid_request", "1 to 1"),
        (json!({"file": "a.jpg", "size": 1, "checksums": {"1": "x"}}), "invalid_request", "part 1"),
    ] {
        let text = refused(&gateway, body.clone(), code).await;
        assert!(text.contains(told), "{body}: {text}");
    }
    let unnamed = gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_body(r#"{"file": "a.jpg", "size": 1}"#);
    unnamed.send().await.assert_problem(400, "missing_owner_id");
    assert_eq!((records(&gateway), front.count("POST", "uploads")), (0, 0));

    let metrics = gateway.metrics().await;
    let counted = |outcome: &str| {
        let labels = format!("app=\"shop\",outcome=\"{outcome}\",request=\"begin\"");
        metrics.value(&format!("safelight_multipart_requests_total{{{labels}}}"))
    };
    assert_eq!((counted("invalid_request"), counted("ok")), (5.0, 0.0));
    assert_eq!((counted("size_required"), counted("missing_owner_id")), (1.0, 1.0));
}

/// The largest file of all is cut into as many parts as there may be, and no larger one is.
#[tokio::test]
async fn five_tebibytes() {
    let gateway = shop("[Upload]\nMaxBytes = \"100TiB\"").await.start().await;
    let tib = 1u64 << 40;
    let answer = ask_to_begin(&gateway, &json!({"file": "a.jpg", "size": 5 * tib})).await;
    answer.assert_success();
    let grant = Grant(answer.json()["data"].clone());
    assert_eq!((&grant.0["partSize"], &grant.0["partCount"]), (&json!(525 * MIB), &json!(9987)));
    urls(&gateway, &grant, &[9987]).await;
    let body = json!({"partNumbers": [9988]});
    ask_for_urls(&gateway, &grant, &body).await.assert_problem(400, "invalid_request");
    let text = refused(&gateway, json!({"file": "a.jpg", "size": 5 * tib + 1}), "file_too_large");
    assert!(text.await.contains("5497558138880"));
    let small = json!({"file": "a.jpg", "size": 5 * tib, "partSize": 100 * MIB});
    let text = refused(&gateway, small, "invalid_request").await;
    assert!(text.contains("partSize takes 550502400 to"), "{text}");
}

#[tokio::test]
async fn the_quotas_are_those_of_every_upload() {
    let limits = "[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 2";
    let gateway = shop(limits).await.start().await;
    gateway.granted("shop", "a.jpg").await;
    begin(&gateway, 100).await;
    refused(&gateway, json!({"file": "a.jpg", "size": 1}), "rate_limited").await;
    assert_eq!(records(&gateway), 2);
}

#[tokio::test]
async fn an_app_that_takes_no_uploads_and_a_store_that_takes_no_parts() {
    let body = json!({"file": "a.jpg", "size": 1});
    let file = offline_app_file("", "").replace("AllowPublicUpload = true", "");
    let closed = Setup::with_app("shop", file).start().await;
    refused(&closed, body.clone(), "public_upload_disabled").await;

    let offline = Setup::with_app("shop", offline_app_file("", "")).start().await;
    let text = refused(&offline, body.clone(), "storage_failed").await;
    assert!(!text.contains("127.0.0.1"), "an internal address: {text}");
    assert_eq!(records(&offline), 0);

    let endpoint = FakeGcs::shared().await.config().await.endpoint.unwrap();
    let file = format!("AllowPublicUpload = true\n{}", fake_gcs::storage_section(&endpoint));
    let google =
        Setup::with_app("shop", file).and_secret("shop/key.json", fake_gcs::KEY_FILE).start().await;
    refused(&google, body, "multipart_unsupported").await;
    assert_eq!(records(&google), 0);
}

/// Somebody holds the database against the gateway's writer for longer than it waits (5 s).
#[tokio::test]
async fn a_session_that_cannot_be_recorded_is_given_up() {
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let gateway = large_shop(&storage).start().await;
    begin(&gateway, 100).await;
    assert_eq!((front.count("POST", "?uploads"), front.count("DELETE", "uploadId=")), (1, 0));
    let holder = rusqlite::Connection::open(gateway.records_file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = ask_to_begin(&gateway, &json!({"file": "a.jpg", "size": 100})).await;
    answer.assert_problem(503, "records_unavailable");
    assert!(!answer.text().contains("X-Amz-"), "a URL left without a record");
    assert_eq!((front.count("POST", "?uploads"), front.count("DELETE", "uploadId=")), (2, 1));
}

#[tokio::test]
async fn a_request_that_is_made_again_is_the_same_upload() {
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let gateway = large_shop(&storage).start().await;
    let ask = async |key: &str, body: Value| {
        let path = "/darkroom/shop/v1/images/multipart-uploads";
        let request = gateway.request(Method::POST, path);
        let request = request.with_header("X_Owner_Id", Some("ann"));
        let request = request.with_header("Idempotency-Key", Some(key));
        request.with_body(body.to_string()).send().await
    };
    let file = photo(PART + 100);
    let body = json!({"file": "a.jpg", "size": file.len(), "partSize": PART});
    let first = ask("k1", body.clone()).await;
    first.assert_success();
    let grant = Grant(first.json()["data"].clone());
    let second = ask("k1", body.clone()).await;
    second.assert_success();
    let again = Grant(second.json()["data"].clone());
    for field in ["key", "uploadID", "uploadToken", "expiresAt", "completeURL"] {
        assert_eq!(again.text(field), grant.text(field), "{field}");
    }
    assert_eq!((records(&gateway), front.count("POST", "?uploads")), (1, 1));
    for other in [
        json!({"file": "b.jpg", "size": file.len(), "partSize": PART}),
        json!({"file": "a.jpg", "size": file.len(), "partSize": 2 * PART}),
        json!({"file": "a.jpg", "size": file.len(), "partSize": PART, "checksums": {}}),
    ] {
        ask("k1", other).await.assert_problem(409, "idempotency_conflict");
    }
    let path = "/darkroom/shop/v1/images/presigned-urls";
    let whole = gateway.request(Method::POST, path).with_header("X_Owner_Id", Some("ann"));
    let whole = whole.with_header("Idempotency-Key", Some("k1")).with_body(body.to_string());
    whole.send().await.assert_problem(409, "idempotency_conflict");

    send(&file, again.0["partURLs"].as_array().unwrap()).await;
    complete(&gateway, &grant, None).await.assert_success();
    let third = ask("k1", body).await;
    third.assert_success();
    let third = third.json()["data"].clone();
    assert_eq!((&third["key"], &third["state"]), (&grant.0["key"], &json!("ready")));
    assert!(third.get("partURLs").is_none(), "there is nothing to upload any more");
}

#[tokio::test]
async fn wrong_requests_for_urls_change_nothing() {
    let gateway = start().await;
    let grant = begin(&gateway, 2 * PART).await;
    let before = recorded(&gateway, &grant, "revision");
    let many: Vec<_> = (1..=101).collect();
    for (body, told) in [
        (json!({"partNumbers": []}), "1 to 100 numbers"),
        (json!({ "partNumbers": many }), "1 to 100 numbers"),
        (json!({"partNumbers": [0]}), "no part 0"),
        (json!({"partNumbers": [3]}), "no part 3"),
        (json!({"partNumbers": [10_001]}), "no part 10001"),
        (json!({"partNumbers": [1, 1]}), "named twice"),
        (
            json!({"partNumbers": [1], "checksums": {"1": "0".repeat(64)}}),
            "begun without checksums",
        ),
        (json!({"partNumbers": [1], "checksums": {"one": "0".repeat(64)}}), "part numbers"),
    ] {
        let answer = ask_for_urls(&gateway, &grant, &body).await;
        answer.assert_problem(400, "invalid_request");
        assert!(answer.text().contains(told), "{body}: {}", answer.text());
    }
    for body in [json!({}), json!({"partNumbers": [-1]}), json!({"partNumbers": ["1"]}), json!([])]
    {
        ask_for_urls(&gateway, &grant, &body).await.assert_problem(400, "invalid_json");
    }
    assert_eq!(recorded(&gateway, &grant, "revision"), before);
}

#[tokio::test]
async fn nobody_else_has_a_right_to_it() {
    let gateway = start().await;
    let grant = begin(&gateway, 100).await;
    let other = begin(&gateway, 100).await;
    let whole = gateway.granted("shop", "a.jpg").await;
    for (method, what) in [
        (Method::POST, "/part-urls"),
        (Method::GET, "/parts"),
        (Method::POST, "/complete"),
        (Method::DELETE, ""),
    ] {
        let body = r#"{"partNumbers": [1]}"#;
        let asked = || call(&gateway, method.clone(), &grant, what).with_body(body);
        for token in [Some(other.text("uploadToken")), Some(whole.text("uploadToken")), None] {
            let answer = asked().with_header("Upload-Token", token).send().await;
            answer.assert_problem(404, "upload_not_found");
        }
    }
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
}

/// What comes in one piece has no parts, and what comes in parts has no URL of its own.
#[tokio::test]
async fn one_way_is_not_the_other() {
    let gateway = start().await;
    let whole = gateway.granted("shop", "a.jpg").await;
    for (method, what) in
        [(Method::POST, "/part-urls"), (Method::GET, "/parts"), (Method::POST, "/complete")]
    {
        let answer =
            call(&gateway, method, &whole, what).with_body(r#"{"partNumbers": [1]}"#).send().await;
        answer.assert_problem(400, "invalid_request");
        assert!(answer.text().contains("PUT the file to uploadURL"), "{}", answer.text());
    }
    let parts = begin(&gateway, 100).await;
    let answer = call(&gateway, Method::POST, &parts, "/upload-url").send().await;
    answer.assert_problem(400, "invalid_request");
    assert!(answer.text().contains("part-urls"), "{}", answer.text());
    finalize(&gateway, &parts).await.assert_problem(409, "not_uploaded");
    for grant in [&whole, &parts] {
        assert_eq!(status(&gateway, grant).await["state"], "pending");
    }
}

#[tokio::test]
async fn every_part_is_held_to_its_checksum() {
    let gateway = start().await;
    let file = photo(PART + 100);
    let digests = [&file[..PART], &file[PART..]].map(Sha256::digest);
    let hex: String = digests[0].iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = digests.map(aws_smithy_types::base64::encode);
    let body = json!({
        "file": "a.jpg", "size": file.len(), "partSize": PART, "checksums": {"1": hex},
    });
    let answer = ask_to_begin(&gateway, &body).await;
    answer.assert_success();
    let grant = Grant(answer.json()["data"].clone());
    let parts = grant.0["partURLs"].as_array().unwrap();
    assert_eq!(parts.len(), 1, "of the other part nothing was said yet");
    assert_eq!(parts[0]["headers"], json!({"x-amz-checksum-sha256": base64[0]}));

    let without = ask_for_urls(&gateway, &grant, &json!({"partNumbers": [2]})).await;
    without.assert_problem(400, "invalid_request");
    assert!(without.text().contains("part 2 has none"), "{}", without.text());
    let body = json!({"partNumbers": [2], "checksums": {"2": base64[1]}});
    let answer = ask_for_urls(&gateway, &grant, &body).await;
    answer.assert_success();
    let parts = [parts[0].clone(), answer.json()["data"]["partURLs"][0].clone()];

    let mut other = file[PART..].to_vec();
    other[0] ^= 1;
    put(&parts[1], other).send().await.assert_refused_with(NOT_SIGNED, "other bytes");
    let mut list = send(&file, &parts).await;
    // SeaweedFS does not tell what it was given, and wants to hear it again.
    let answer = complete(&gateway, &grant, Some(&list)).await;
    answer.assert_problem(409, "wrong_parts");
    assert!(answer.text().contains("does not tell the checksum of part 1"), "{}", answer.text());
    for (part, digest) in list.iter_mut().zip(&base64) {
        part["checksum"] = json!(digest);
    }
    complete(&gateway, &grant, Some(&list)).await.assert_success();
    assert_ready(&gateway, &grant, &file).await;
}

/// Every URL of 10,000 parts can be asked for at once, with the checksums of 100 parts at a time.
#[tokio::test]
async fn ten_thousand_parts_are_within_every_limit() {
    let sections = LARGE.replace("1GiB", "1TiB");
    let gateway = shop(&sections).await.start().await;
    let body = json!({
        "file": "a.jpg", "size": 10_000 * PART, "partSize": PART, "checksums": {},
    });
    let answer = ask_to_begin(&gateway, &body).await;
    answer.assert_success();
    let grant = Grant(answer.json()["data"].clone());
    assert_eq!((&grant.0["partCount"], &grant.0["partURLs"]), (&json!(10_000), &json!([])));
    for first in (1..=10_000u16).step_by(100) {
        let numbers: Vec<_> = (first..first + 100).collect();
        let sums: serde_json::Map<_, _> =
            numbers.iter().map(|number| (number.to_string(), json!("0".repeat(64)))).collect();
        let body = json!({"partNumbers": numbers, "checksums": sums});
        let answer = ask_for_urls(&gateway, &grant, &body).await;
        answer.assert_success();
        assert_eq!(answer.json()["data"]["partURLs"].as_array().unwrap().len(), 100);
    }
}
