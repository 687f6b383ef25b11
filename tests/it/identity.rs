//! Who is asking: apps that want it proved, by tokens, keys or a proxy in front.

mod keys;
mod proxies;
mod tokens;

use http::Method;
use serde_json::json;

use crate::harness::gateway::{Grant, TestGateway, offline_app_file};
use crate::harness::plain_client::{Answer, Plain};

const PRESIGN: &str = "/darkroom/shop/v1/images/presigned-urls";

/// The file of an app that takes no uploads of anybody, with this identity. Its store does not
/// exist: whatever asks it fails in another way than by a refusal.
fn private_app(identity: &str) -> String {
    public_app(identity).replace("AllowPublicUpload = true", "AllowPublicUpload = false")
}

/// The same, where whoever names an owner may upload as well.
fn public_app(identity: &str) -> String {
    // One upload of an owner an hour is all there is: a refused request must not have taken it.
    offline_app_file(
        "",
        &format!("[RateLimit]\nPerOwner = {{ Rate = \"1/h\", Burst = 1 }}\n{identity}"),
    )
}

/// A request to begin an upload, with these headers besides.
fn begin(gateway: &TestGateway, headers: &[(&str, &str)]) -> Plain {
    let request = gateway.request(Method::POST, PRESIGN);
    with(request.with_body(json!({"file": "a.jpg"}).to_string()), headers)
}

fn with(mut request: Plain, headers: &[(&str, &str)]) -> Plain {
    for (name, value) in headers {
        request = request.and_header(name, value);
    }
    request
}

/// What is granted to a request that must be right.
async fn granted(gateway: &TestGateway, headers: &[(&str, &str)]) -> Grant {
    let answer = begin(gateway, headers).send().await;
    answer.assert_success();
    Grant(answer.json()["data"].clone())
}

/// How many uploads are on record.
fn records(gateway: &TestGateway) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(gateway.records_file(), flags).unwrap();
    database.query_row("SELECT count(*) FROM uploads", [], |row| row.get(0)).unwrap()
}

/// What the requests were counted under.
async fn counted(gateway: &TestGateway, method: &str, outcome: &str) -> f64 {
    let labels = format!("app=\"shop\",method=\"{method}\",outcome=\"{outcome}\"");
    gateway.metrics().await.value(&format!("safelight_identity_total{{{labels}}}"))
}

/// It must be the refusal of a request that presents nothing.
#[track_caller]
fn assert_unproved(answer: &Answer) {
    answer.assert_problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

/// It must be the refusal of a credential, which does not tell what is wrong with it.
#[track_caller]
fn assert_wrong_credential(answer: &Answer) {
    answer.assert_problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    let detail = "this credential is not valid here, or not any more: get another one";
    assert_eq!(answer.json()["detail"], detail);
    assert!(answer.json().get("reason").is_none());
}

/// Every call on an existing upload, and what it answers to whoever has a right to one whose file has
/// not come: the store does not exist.
const CALLS: [(&str, &str, u16); 7] = [
    ("GET", "", 200),
    ("POST", "/upload-url", 200),
    ("POST", "/finalize", 502),
    ("POST", "/part-urls", 400),
    ("GET", "/parts", 400),
    ("POST", "/complete", 400),
    ("DELETE", "", 200),
];

/// Makes a call on an upload without its token.
async fn call(
    gateway: &TestGateway,
    id: &str,
    call: (&str, &str),
    headers: &[(&str, &str)],
) -> Answer {
    let (method, path) = call;
    let path = format!("/darkroom/shop/v1/uploads/{id}{path}");
    let request = gateway.request(method.parse().unwrap(), &path);
    let body =
        if method == "POST" { json!({"partNumbers": [1]}).to_string() } else { String::new() };
    with(request.with_body(body), headers).send().await
}
