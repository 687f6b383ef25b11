//! What gives no right, and tells nothing.

use std::time::{Duration, SystemTime};

use http::Method;
use serde_json::json;

use super::{SIGNING_SECRET, Scene, in_an_hour, sign};
use crate::harness::callers::{ANN, BACKEND, BOB, NOBODY, VIEWER};
use crate::harness::gateway::{Setup, app_file, mint_key};
use crate::harness::photos::{JPEG, WEBP};
use crate::harness::plain_client::Answer;
use crate::harness::seaweed::Seaweed;

/// Who has no right gets one answer for every key, whether there is an image or not.
#[tokio::test]
async fn without_a_right_every_key_is_the_same() {
    let scene = Scene::new().await;
    let (ready, arrived) = (scene.ready().await, scene.arrived(JPEG).await);
    let deleted = scene.ready().await;
    scene.delete(&deleted).await;
    let path = |key: &str| format!("/darkroom/shop/v2/images/{key}");
    let never = mint_key("shop", SystemTime::now(), "a.jpg");
    let keys = [ready.key(), arrived.key(), deleted.key(), &never, "forged.jpg", "a%2Fb.jpg"];
    for (query, status, code) in [
        ("", 401, "unauthenticated"),
        ("?token=x&Signature=y", 401, "unauthenticated"),
        ("?expires=9999999999&signature=00", 403, "forbidden"),
        ("?expires=9999999999", 403, "forbidden"),
        ("?expires=1&signature=", 403, "forbidden"),
    ] {
        let mut answers: Vec<Answer> = Vec::new();
        for key in keys {
            let answer = scene.read(&format!("{}{query}", path(key))).send().await;
            answer.assert_problem(status, code);
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
            assert_eq!(answer.header("cache-status"), "", "somebody was asked");
            answers.push(answer);
        }
        for answer in &answers[1..] {
            assert_eq!(answer.lasting(), answers[0].lasting());
            assert_eq!(answer.json()["detail"], answers[0].json()["detail"]);
        }
    }
    assert_eq!(scene.cdn.requests().len(), 0);
}

#[tokio::test]
async fn a_signature_is_for_one_image_of_one_app_until_its_end() {
    let scene = Scene::new().await;
    let (grant, other) = (scene.ready().await, scene.ready().await);
    let right = sign(SIGNING_SECRET, "shop", &grant, grant.key(), in_an_hour());
    assert_eq!(scene.read(&right).send().await.status, 200, "it is made as the gateway makes it");
    let (base, query) = right.split_once('?').unwrap();
    let (expires, signature) = query.split_once("&signature=").unwrap();
    let past = SystemTime::now() - Duration::from_secs(1);
    let another = |url: &str, at: usize| {
        let byte = if url.as_bytes()[at] == b'0' { "1" } else { "0" };
        let mut url = url.to_owned();
        url.replace_range(at..=at, byte);
        url
    };
    let mut wrong = vec![
        sign(SIGNING_SECRET, "shop", &grant, grant.key(), past),
        sign(SIGNING_SECRET, "shop", &grant, other.key(), in_an_hour()),
        sign(SIGNING_SECRET, "blog", &grant, grant.key(), in_an_hour()),
        sign(
            "another-secret-of-the-tests-0123456789abcdef",
            "shop",
            &grant,
            grant.key(),
            in_an_hour(),
        ),
        format!("{base}?{expires}"),
        format!("{base}?signature={signature}"),
        format!("{base}?{expires}&{expires}&signature={signature}"),
        format!("{base}?{query}&signature={signature}"),
        format!("{base}?{expires}&signature={}", signature.to_uppercase()),
        format!("{base}?{expires}&signature={signature}0"),
        format!("{base}?{expires}&signature={}", &signature[1..]),
        format!("{base}?{}&signature={signature}", expires.replace('=', "=0")),
        format!("{}?{query}", other.public_url()),
        format!("{base}?{expires}&signature={}", grant.text("uploadToken")),
    ];
    let first = right.len() - signature.len();
    wrong.extend((first..right.len()).map(|at| another(&right, at)));
    for url in wrong {
        // Upper case of a signature without letters is the signature itself.
        if url != right {
            scene.read(&url).send().await.assert_problem(403, "forbidden");
            // A right that is wrong is not helped by another one.
            ANN.sends(scene.read(&url)).send().await.assert_problem(403, "forbidden");
        }
    }
    let asked = scene.cdn.requests().len();
    assert_eq!(asked, 1, "of the one right read");
}

/// Only what was found good is shown, whoever asks.
#[tokio::test]
async fn what_is_not_ready_is_shown_to_nobody() {
    let scene = Scene::new().await;
    let arrived = scene.arrived(WEBP).await;
    let url = sign(SIGNING_SECRET, "shop", &arrived, arrived.key(), in_an_hour());
    for caller in [ANN, BACKEND] {
        caller
            .sends(scene.read(arrived.public_url()))
            .send()
            .await
            .assert_problem(404, "not_found");
        let sign = scene.ask_to_sign(caller, arrived.key(), json!({})).await;
        sign.assert_problem(404, "not_found");
    }
    scene.read(&url).send().await.assert_problem(404, "not_found");
    assert_eq!(scene.cdn.requests().len(), 0, "the CDN learned of it");
    scene.gateway.request(Method::POST, arrived.text("finalizeURL")).send().await.assert_success();
    assert_eq!(scene.read(&url).send().await.status, 200);
}

#[tokio::test]
async fn urls_are_signed_for_those_who_may_read() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let never = mint_key("shop", SystemTime::now(), "a.jpg");
    for key in [grant.key(), &never, "forged.jpg"] {
        let ask = |caller| scene.ask_to_sign(caller, key, json!({}));
        ask(NOBODY).await.assert_problem(401, "unauthenticated");
        ask(BOB).await.assert_problem(404, "not_found");
    }
    for caller in [BACKEND, VIEWER] {
        scene.ask_to_sign(caller, grant.key(), json!({})).await.assert_success();
    }
    for (body, code) in [
        (json!({"expiresIn": 0}), "invalid_request"),
        (json!({"expiresIn": 604_801}), "invalid_request"),
        (json!({"expiresIn": u64::MAX}), "invalid_request"),
        (json!({"expiresIn": -1}), "invalid_json"),
        (json!({"expiresIn": 1.5}), "invalid_json"),
        (json!({"expiresIn": "60"}), "invalid_json"),
        (json!([]), "invalid_json"),
    ] {
        let refused = scene.ask_to_sign(ANN, grant.key(), body.clone()).await;
        refused.assert_problem(400, code);
    }
    scene.delete(&grant).await;
    scene.ask_to_sign(ANN, grant.key(), json!({})).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_public_app_signs_nothing_and_asks_for_nothing() {
    let storage = Seaweed::shared().await.config();
    let identity = crate::harness::callers::identity_section();
    let setup = Setup::with_app("shop", app_file(&storage, "", &identity));
    let gateway = setup.start().await;
    let grant = gateway.uploaded("shop", WEBP.file, WEBP.bytes).await;
    let path = format!("/darkroom/shop/v1/images/{}/signed-urls", grant.key());
    let refused = ANN.sends(gateway.request(Method::POST, &path)).send().await;
    refused.assert_problem(400, "invalid_request");
    assert!(refused.text().contains("public"), "{}", refused.text());
    let query = format!("{}?expires=1&signature=00", grant.public_url());
    let answer = gateway.get(&query).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, "*"));
}
