//! API keys, of which the app's file has the hashes.

use http::Method;
use safelight::identity::KeyHash;

use super::{
    CALLS, PRESIGN, assert_unproved, assert_wrong_credential, begin, call, counted, granted,
    private_app, public_app, records,
};
use crate::harness::gateway::{Setup, TestGateway};

const BACKEND: &str = "safelight_backend-key-of-the-tests";
const NEXT: &str = "safelight_next-backend-key-of-the-tests";
const DEVICE: &str = "safelight_key-of-a-device-of-anns";

/// A key of the file: its name, the key itself, and for whom it is.
fn key(id: &str, key: &str, scope: &str) -> String {
    format!("{{ ID = \"{id}\", Hash = \"{}\", {scope} }},\n", KeyHash::of(key))
}

fn keys(list: &[String]) -> String {
    format!("[Identity]\nApiKeys = [\n{}]\n", list.concat())
}

fn all() -> String {
    keys(&[key("backend", BACKEND, "Owners = \"any\""), key("device", DEVICE, "Owner = \"ann\"")])
}

async fn shop() -> TestGateway {
    Setup::with_app("shop", private_app(&all())).start().await
}

/// The header that presents a key.
fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn requests_with(gateway: &TestGateway, key: &str) -> f64 {
    let labels = format!("app=\"shop\",key_id=\"{key}\"");
    gateway.metrics().await.value(&format!("safelight_api_key_requests_total{{{labels}}}"))
}

#[tokio::test]
async fn an_applications_key_names_an_owner_and_a_devices_has_one() {
    let gateway = shop().await;
    let (backend, device) = (bearer(BACKEND), bearer(DEVICE));
    let (backend, device) = (("Authorization", &*backend), ("Authorization", &*device));
    granted(&gateway, &[backend, ("X_Owner_Id", "bob")]).await;
    granted(&gateway, &[device]).await;
    for (headers, status, code) in [
        (vec![backend], 400, "missing_owner_id"),
        (vec![backend, ("X_Owner_Id", "a b")], 400, "invalid_owner_id"),
        (vec![device, ("X_Owner_Id", "bob")], 403, "forbidden"),
    ] {
        begin(&gateway, &headers).send().await.assert_problem(status, code);
    }
    assert_eq!(records(&gateway), 2);
    assert_eq!(requests_with(&gateway, "backend").await, 3.0);
    assert_eq!(requests_with(&gateway, "device").await, 2.0);
    assert_eq!(counted(&gateway, "api_key", "proved").await, 3.0);
    assert_eq!(counted(&gateway, "api_key", "other_owner").await, 1.0);
}

#[tokio::test]
async fn what_is_no_key_gets_nowhere() {
    let gateway = shop().await;
    let hash = KeyHash::of(BACKEND).to_string();
    for wrong in ["safelight_", &hash, &hash[7..], &BACKEND[1..], &BACKEND.to_uppercase()] {
        let headers = [("Authorization", &*bearer(wrong)), ("X_Owner_Id", "ann")];
        assert_wrong_credential(&begin(&gateway, &headers).send().await);
    }
    assert_eq!(counted(&gateway, "api_key", "unknown_key").await, 5.0);
    let right = bearer(BACKEND);
    for headers in [
        vec![("Authorization", &*right), ("Authorization", &*right)],
        vec![("Authorization", "Basic c2FmZTpsaWdodA==")],
        vec![("Authorization", BACKEND)],
        vec![("Authorization", "Bearer ")],
    ] {
        assert_wrong_credential(&begin(&gateway, &headers).send().await);
    }
    assert_eq!(counted(&gateway, "api_key", "malformed").await, 4.0);
    for headers in [vec![], vec![("X_Owner_Id", "ann")]] {
        assert_unproved(&begin(&gateway, &headers).send().await);
    }
    assert_eq!(records(&gateway), 0);
    granted(&gateway, &[("Authorization", &right), ("X_Owner_Id", "ann")]).await;
}

#[tokio::test]
async fn keys_are_rotated_one_beside_the_other() {
    let (old, new) = (key("old", BACKEND, "Owners = 'any'"), key("new", NEXT, "Owners = 'any'"));
    let answers = async |gateway: &TestGateway, owner: &str| {
        let ask = async |key: &str| {
            let headers =
                [("Authorization", &*bearer(key)), ("X_Owner_Id", &*format!("{owner}-{key}"))];
            begin(gateway, &headers).send().await.status.as_u16()
        };
        (ask(BACKEND).await, ask(NEXT).await)
    };
    let setup = |list: &[String]| Setup::with_app("shop", private_app(&keys(list)));
    let gateway = setup(std::slice::from_ref(&old)).start().await;
    assert_eq!(answers(&gateway, "1").await, (200, 401));
    let gateway = gateway.restart(setup(&[old, new.clone()])).await;
    assert_eq!(answers(&gateway, "2").await, (200, 200));
    assert_eq!(requests_with(&gateway, "old").await, 1.0, "so it is still in use");
    let gateway = gateway.restart(setup(&[new])).await;
    assert_eq!(answers(&gateway, "3").await, (401, 200));
}

/// Whoever owns an upload needs no token of it; whoever owns another one learns nothing.
#[tokio::test]
async fn every_call_on_an_upload_takes_its_owner() {
    let gateway = shop().await;
    let (backend, device) = (bearer(BACKEND), bearer(DEVICE));
    let (backend, device) = (("Authorization", &*backend), ("Authorization", &*device));
    let of = async |owner: &str| {
        granted(&gateway, &[backend, ("X_Owner_Id", owner)]).await.text("uploadID").to_owned()
    };
    let (anns, bobs) = (of("ann").await, of("bob").await);
    for (method, path, status) in CALLS {
        let what = (method, path);
        for (id, headers, expected) in [
            (&anns, vec![], 404),
            (&anns, vec![("X_Owner_Id", "ann")], 404),
            (&bobs, vec![device], 404),
            (&bobs, vec![backend, ("X_Owner_Id", "ann")], 404),
            (&bobs, vec![device, ("X_Owner_Id", "bob")], 403),
            (&anns, vec![("Authorization", "Bearer wrong")], 401),
            (&bobs, vec![backend], status),
            (&bobs, vec![backend, ("X_Owner_Id", "bob")], status),
            (&anns, vec![device], status),
        ] {
            let answer = call(&gateway, id, what, &headers).await;
            assert_eq!(answer.status, expected, "{what:?} {headers:?}: {}", answer.text());
            if expected == 404 {
                answer.assert_problem(404, "upload_not_found");
            }
        }
    }
}

/// The token is enough, as long as nothing wrong comes with it.
#[tokio::test]
async fn a_token_of_the_upload_still_does() {
    let gateway = shop().await;
    let headers = [("Authorization", &*bearer(BACKEND)), ("X_Owner_Id", "bob")];
    let grant = granted(&gateway, &headers).await;
    let (id, token) = (grant.text("uploadID"), grant.text("uploadToken"));
    let device = bearer(DEVICE);
    for (headers, expected) in [
        (vec![("Upload-Token", token)], 200),
        (vec![("Upload-Token", token), ("Authorization", &*device)], 200),
        (vec![("Upload-Token", token), ("Authorization", "Bearer wrong")], 401),
        (vec![("Upload-Token", "0123456789abcdef0123456789abcdef01234567")], 404),
    ] {
        let answer = call(&gateway, id, ("GET", ""), &headers).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
    }
    // Who came without a token is given one.
    let renewed = call(&gateway, id, ("POST", "/upload-url"), &headers).await;
    assert_eq!(renewed.json()["data"]["uploadToken"], token);
}

#[tokio::test]
async fn where_anybody_may_upload_a_key_is_checked_all_the_same() {
    let gateway = Setup::with_app("shop", public_app(&all())).start().await;
    granted(&gateway, &[("X_Owner_Id", "carl")]).await;
    let device = bearer(DEVICE);
    granted(&gateway, &[("Authorization", &device)]).await;
    let wrong = [("Authorization", "Bearer wrong"), ("X_Owner_Id", "dora")];
    assert_wrong_credential(&begin(&gateway, &wrong).send().await);
    let others = [("Authorization", &*device), ("X_Owner_Id", "dora")];
    begin(&gateway, &others).send().await.assert_problem(403, "forbidden");
    begin(&gateway, &[]).send().await.assert_problem(400, "missing_owner_id");
    assert_eq!(counted(&gateway, "api_key", "absent").await, 2.0);
    assert_eq!(records(&gateway), 2);
}

/// An app without `[Identity]` takes no credential, and is no less read-only for one.
#[tokio::test]
async fn an_app_without_identities_is_read_only() {
    let gateway = Setup::with_app("shop", private_app("")).start().await;
    let headers = [("Authorization", &*bearer(BACKEND)), ("X_Owner_Id", "ann")];
    begin(&gateway, &headers).send().await.assert_problem(403, "public_upload_disabled");
    assert!(!gateway.metrics().await.0.contains("safelight_identity_total{"));
}

/// A page may present a credential, and is never given one that the browser keeps.
#[tokio::test]
async fn pages_may_send_a_credential() {
    let app = private_app(&format!("{}[CORS]\nAllowedOrigins = [\"*\"]\n", all()));
    let gateway = Setup::with_app("shop", app).start().await;
    let asked = gateway
        .request(Method::OPTIONS, PRESIGN)
        .with_header("Origin", Some("https://www.shop.example"))
        .with_header("Access-Control-Request-Method", Some("POST"))
        .with_header("Access-Control-Request-Headers", Some("authorization"))
        .send()
        .await;
    let allowed = asked.header("access-control-allow-headers").to_ascii_lowercase();
    assert!(allowed.split(", ").any(|name| name == "authorization"), "{allowed}");
    assert!(!asked.headers.contains_key("access-control-allow-credentials"));
    let refused = begin(&gateway, &[("Origin", "https://www.shop.example")]).send().await;
    assert_unproved(&refused);
    assert_eq!(refused.header("access-control-allow-origin"), "https://www.shop.example");
}
