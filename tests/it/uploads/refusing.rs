//! Every refusal of the contract, with its status and code; and that it leaves no trace.

use http::Method;
use serde_json::{Value, json};

use super::{finalize, records, shop, status, stored};
use crate::harness::gateway::{Setup, TestGateway, app_file, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::Plain;
use crate::harness::seaweed::Seaweed;

const PRESIGN: &str = "/darkroom/shop/v1/images/presigned-urls";

fn presign(gateway: &TestGateway, body: impl Into<bytes::Bytes>) -> Plain {
    gateway
        .request(Method::POST, PRESIGN)
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_header("Content-Type", Some("application/json"))
        .with_body(body)
}

/// Nothing may be left of what was refused.
async fn assert_no_trace(gateway: &TestGateway) {
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.value(r#"safelight_presigns_total{app="shop",outcome="ok"}"#), 0.0);
    assert_eq!(metrics.sum("safelight_uploads_total"), 0.0);
    assert_eq!(records(gateway), 0);
}

#[tokio::test]
async fn bodies() {
    let gateway =
        shop("[Upload]\nMaxBytes = \"1MiB\"\nAllowedTypes = [\"image/jpeg\"]").await.start().await;
    let long_name = "x".repeat(252) + ".jpg";
    let rows: Vec<(Value, u16, &str)> = vec![
        (json!([]), 400, "invalid_json"),
        (json!({}), 400, "invalid_json"),
        (json!({"file": 1}), 400, "invalid_json"),
        (json!({"file": "a.jpg", "size": -1}), 400, "invalid_json"),
        (json!({"file": "a.jpg", "size": 1.5}), 400, "invalid_json"),
        (json!({"file": "a.jpg", "size": "1"}), 400, "invalid_json"),
        (json!({"file": "a.jpg", "contentType": 7}), 400, "invalid_json"),
        (json!({"file": ""}), 400, "invalid_file_name"),
        (json!({"file": "a/b.jpg"}), 400, "invalid_file_name"),
        (json!({"file": long_name}), 400, "invalid_file_name"),
        (json!({"file": "photo"}), 400, "unsupported_image_type"),
        (json!({"file": "a.exe"}), 400, "unsupported_image_type"),
        (json!({"file": "a.png"}), 400, "unsupported_image_type"),
        (json!({"file": "a.svg"}), 400, "unsupported_image_type"),
        (json!({"file": "a.jpg", "contentType": "image/png"}), 400, "type_mismatch"),
        (json!({"file": "a.jpg", "contentType": "text/html"}), 400, "type_mismatch"),
        (json!({"file": "a.jpg", "size": 0}), 400, "invalid_request"),
        (json!({"file": "a.jpg", "size": (1 << 20) + 1}), 413, "file_too_large"),
        (json!({"file": "a.jpg", "size": u64::MAX}), 413, "file_too_large"),
        (json!({"file": "a.jpg", "sha256": "00"}), 400, "invalid_request"),
        (json!({"file": "a.jpg", "sha256": "g".repeat(64)}), 400, "invalid_request"),
    ];
    for (body, http_status, code) in rows {
        let answer = gateway.presign("shop", "owner-1", body.clone()).await;
        assert_eq!(answer.status, http_status, "{body}: {}", answer.text());
        answer.assert_problem(http_status, code);
    }
    let deep = format!("{{\"file\": {}1{}}}", "[".repeat(3000), "]".repeat(3000));
    for body in ["", "{", "null", "{\"file\":\"a.jpg\"} x", "\u{1}", &deep] {
        presign(&gateway, body.to_owned()).send().await.assert_problem(400, "invalid_json");
    }
    presign(&gateway, &b"{\"file\":\"\xff.jpg\"}"[..])
        .send()
        .await
        .assert_problem(400, "invalid_json");
    assert_no_trace(&gateway).await;

    // The limits themselves are within.
    let largest = json!({"file": "a.jpg", "size": 1 << 20, "contentType": "IMAGE/JPEG"});
    gateway.presign("shop", "owner-1", largest).await.assert_success();
}

#[tokio::test]
async fn a_body_of_more_than_8_kib() {
    let gateway = shop("").await.start().await;
    let padded = |length: usize| {
        let bare = r#"{"file":"a.jpg","padding":""}"#;
        bare.replace("\"\"}", &format!("\"{}\"}}", "x".repeat(length - bare.len())))
    };
    let answer = presign(&gateway, padded(8 * 1024 + 1)).send().await;
    answer.assert_problem(413, "body_too_large");
    assert_no_trace(&gateway).await;
    presign(&gateway, padded(8 * 1024)).send().await.assert_success();
}

#[tokio::test]
async fn owners() {
    let gateway = shop("").await.start().await;
    let longest = "x".repeat(128);
    let too_long = "x".repeat(129);
    let rows: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (vec![], "missing_owner_id"),
        (vec![("X_Owner_Id", "")], "invalid_owner_id"),
        (vec![("X_Owner_Id", "a b")], "invalid_owner_id"),
        (vec![("X-Owner-Id", "j\u{f6}rg")], "invalid_owner_id"),
        (vec![("X_Owner_Id", &too_long)], "invalid_owner_id"),
        (vec![("X_Owner_Id", "a"), ("X-Owner-Id", "b")], "ambiguous_owner_id"),
        (vec![("X_Owner_Id", "a"), ("X_Owner_Id", "a")], "ambiguous_owner_id"),
        (vec![("X-Owner-Id", "a"), ("x-owner-id", "b")], "ambiguous_owner_id"),
        (vec![("X_Owner_Id", "a"), ("Connection", "X_Owner_Id")], "ambiguous_owner_id"),
        (vec![("X_Owner_Id", "a"), ("Connection", "close, x-owner-id")], "ambiguous_owner_id"),
    ];
    for (headers, code) in rows {
        let mut request = gateway.request(Method::POST, PRESIGN).with_body(r#"{"file":"a.jpg"}"#);
        let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        request.headers.extend(owned);
        let answer = request.send().await;
        assert_eq!(answer.json()["code"], code, "{headers:?}");
        answer.assert_problem(400, code);
    }
    assert_no_trace(&gateway).await;
    gateway.presign("shop", &longest, json!({"file": "a.jpg"})).await.assert_success();
}

#[tokio::test]
async fn an_app_that_requires_the_size() {
    let gateway = shop("[Upload]\nRequireSize = true").await.start().await;
    let answer = gateway.presign("shop", "owner-1", json!({"file": "a.jpg"})).await;
    answer.assert_problem(400, "size_required");
    assert_no_trace(&gateway).await;
    let sized = json!({"file": "a.jpg", "size": 10});
    gateway.presign("shop", "owner-1", sized).await.assert_success();
}

#[tokio::test]
async fn svg_only_where_it_is_allowed() {
    let gateway = shop("").await.start().await;
    let svg = || json!({"file": "a.svg"});
    let refused = gateway.presign("shop", "owner-1", svg()).await;
    refused.assert_problem(400, "unsupported_image_type");
    assert_no_trace(&gateway).await;

    let gateway = shop("[Upload]\nAllowedTypes = [\"image/svg+xml\"]").await.start().await;
    let answer = gateway.presign("shop", "owner-1", svg()).await;
    answer.assert_success();
    assert_eq!(answer.json()["data"]["headers"]["Content-Type"], "image/svg+xml");
}

#[tokio::test]
async fn an_app_that_takes_no_uploads() {
    let storage = Seaweed::shared().await.config();
    let file = app_file(&storage, "", "").replace("AllowPublicUpload = true", "");
    let gateway = Setup::with_app("shop", file).start().await;
    let answer = gateway.presign("shop", "owner-1", json!({"file": "a.jpg"})).await;
    answer.assert_problem(403, "public_upload_disabled");
    assert_no_trace(&gateway).await;
}

#[tokio::test]
async fn apps_routes_and_methods() {
    let gateway = shop("").await.start().await;
    for app in ["nobody", "SHOP", "a_b", "-shop", &"x".repeat(64)] {
        let answer = gateway.presign(app, "owner-1", json!({"file": "a.jpg"})).await;
        answer.assert_problem(404, "unknown_app");
        let read = gateway.get(&format!("/darkroom/{app}/v2/images/x.jpg")).await;
        read.assert_problem(404, "unknown_app");
    }
    for path in [
        "/",
        "/darkroom",
        "/darkroom/shop",
        "/darkroom/shop/v1/images",
        "/darkroom/shop/v1/images/presigned-urls/",
        "/darkroom/shop/v3/images/x.jpg",
        "/darkroom/shop/v2/files/x.jpg",
    ] {
        gateway.get(path).await.assert_problem(404, "unknown_route");
    }
    let id = "0".repeat(26);
    for (path, allow) in [
        (PRESIGN.to_owned(), "POST, OPTIONS"),
        ("/darkroom/shop/v1/images/multipart-uploads".into(), "POST, OPTIONS"),
        (format!("/darkroom/shop/v1/uploads/{id}"), "GET, DELETE, OPTIONS"),
        (format!("/darkroom/shop/v1/uploads/{id}/finalize"), "POST, OPTIONS"),
        (format!("/darkroom/shop/v1/uploads/{id}/upload-url"), "POST, OPTIONS"),
        (format!("/darkroom/shop/v1/uploads/{id}/part-urls"), "POST, OPTIONS"),
        (format!("/darkroom/shop/v1/uploads/{id}/parts"), "GET, OPTIONS"),
        (format!("/darkroom/shop/v1/uploads/{id}/complete"), "POST, OPTIONS"),
        (format!("/darkroom/shop/v2/images/{id}-x.jpg"), "GET, HEAD, OPTIONS"),
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if allow.split(", ").any(|allowed| allowed == method.as_str()) {
                continue;
            }
            let answer = gateway.request(method.clone(), &path).send().await;
            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
        }
    }
    assert_no_trace(&gateway).await;
    let metrics = gateway.metrics().await;
    let unknown = r#"safelight_presigns_total{app="_unknown",outcome="unknown_app"}"#;
    assert_eq!(metrics.value(unknown), 5.0);
    for made_up in ["nobody", "SHOP"] {
        assert!(!metrics.0.contains(made_up), "a label that a request made up");
    }
}

#[tokio::test]
async fn an_upload_is_nobodys_without_its_token() {
    let versioned = app_file(&Seaweed::shared().await.versioned_config(), "", "");
    let gateway = shop("").await.and_app("other", versioned).start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    let another = gateway.granted("shop", JPEG.file).await;
    let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
    let in_upper_case = id.to_uppercase();
    let flipped = format!("{}{}", if token.starts_with('a') { 'b' } else { 'a' }, &token[1..]);
    let long = "x".repeat(300);
    let unknown_id = another.text("uploadID").replace(|c: char| c.is_ascii_alphabetic(), "0");
    for (why, app, id, token) in [
        ("no token", "shop", id, ""),
        ("a made-up token", "shop", id, "made-up"),
        ("a changed token", "shop", id, flipped.as_str()),
        ("a cut token", "shop", id, &token[..token.len() - 1]),
        ("an endless token", "shop", id, long.as_str()),
        ("another upload's token", "shop", id, another.text("uploadToken")),
        ("another app", "other", id, token),
        ("an unknown upload", "shop", unknown_id.as_str(), token),
        ("no id at all", "shop", "x", token),
        ("an id in upper case", "shop", in_upper_case.as_str(), token),
    ] {
        let path = format!("/darkroom/{app}/v1/uploads/{id}");
        for (method, path) in [
            (Method::GET, path.clone()),
            (Method::POST, format!("{path}/finalize")),
            (Method::POST, format!("{path}/upload-url")),
        ] {
            let query = gateway.request(method.clone(), &format!("{path}?token={token}"));
            let header = gateway.request(method, &path).with_header("Upload-Token", Some(token));
            for request in [query, header] {
                let answer = request.send().await;
                assert_eq!(answer.status, 404, "{why}: {}", answer.text());
                answer.assert_problem(404, "upload_not_found");
            }
        }
    }
    assert_eq!(status(&gateway, &grant).await["state"], "pending");
    assert!(stored(grant.key()).await.is_ok());

    let by_header = gateway
        .request(Method::GET, &format!("/darkroom/shop/v1/uploads/{id}"))
        .with_header("Upload-Token", Some(token))
        .send()
        .await;
    by_header.assert_success();
    assert_eq!(by_header.json()["data"]["uploadID"], id);
    finalize(&gateway, &grant).await.assert_success();
}

/// What the provider would ignore is not signed, and so promised to nobody.
#[tokio::test]
async fn what_the_storage_cannot_enforce() {
    let refused = "Provider = \"garage\"";
    let file = offline_app_file("", "").replace("[Storage]", &format!("[Storage]\n{refused}"));
    let gateway = Setup::with_app("shop", file).start().await;
    let body = json!({"file": "a.jpg", "sha256": "0".repeat(64)});
    let answer = gateway.presign("shop", "owner-1", body.clone()).await;
    answer.assert_problem(400, "unsupported_constraint");
    assert!(answer.text().contains("leave sha256 out"), "{}", answer.text());
    assert_no_trace(&gateway).await;

    let gateway = Setup::with_app("shop", offline_app_file("", "")).start().await;
    gateway.presign("shop", "owner-1", body).await.assert_success();
}
