//! What browsers are told: the upload endpoints are open to the origins that an app names, and
//! public reads to every page. Never with credentials.

use http::Method;
use serde_json::json;

use crate::harness::gateway::{Setup, TestGateway, offline_app_file};
use crate::harness::plain_client::Answer;

const PRESIGN: &str = "/darkroom/shop/v1/images/presigned-urls";
const SHOP: &str = "https://www.shop.example";
const STRANGER: &str = "https://www.stranger.example";

async fn gateway(origins: &str) -> TestGateway {
    let sections = match origins {
        "" => String::new(),
        origins => format!("[CORS]\nAllowedOrigins = {origins}"),
    };
    Setup::with_app("shop", offline_app_file("", &sections)).start().await
}

/// What a browser asks before a page of this origin may presign.
async fn preflight(gateway: &TestGateway, path: &str, method: &str, origin: &str) -> Answer {
    let answer = gateway
        .request(Method::OPTIONS, path)
        .with_header("Origin", Some(origin))
        .with_header("Access-Control-Request-Method", Some(method))
        .with_header("Access-Control-Request-Headers", Some("content-type,x_owner_id"))
        .send()
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(answer.body.is_empty());
    assert_no_credentials(&answer);
    answer
}

#[track_caller]
fn assert_no_credentials(answer: &Answer) {
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
}

/// A list header as sorted lower-case words.
fn words(answer: &Answer, name: &str) -> Vec<String> {
    let mut words: Vec<_> =
        answer.header(name).split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
    words.sort_unstable();
    words
}

/// Whether a page of this origin may see the answer.
fn is_open_to(answer: &Answer, origin: &str) -> bool {
    let allowed = answer.header("access-control-allow-origin");
    allowed == "*" || allowed == origin
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_presign() {
    let gateway = gateway(&format!("[\"{SHOP}\"]")).await;
    let answer = preflight(&gateway, PRESIGN, "POST", SHOP).await;
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert!(words(&answer, "access-control-allow-methods").contains(&"post".to_owned()));
    let headers = words(&answer, "access-control-allow-headers");
    // As they are spelled: `*` would not do for browsers that send what they were not named.
    for needed in ["content-type", "x_owner_id", "x-owner-id", "upload-token"] {
        assert!(headers.contains(&needed.to_owned()), "{needed} is not among {headers:?}");
    }
    assert!(answer.header("access-control-max-age").parse::<u32>().unwrap() > 0);
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(answer.header("allow"), "POST, OPTIONS");

    let body = json!({"file": "a.jpg"}).to_string();
    let granted = gateway
        .request(Method::POST, PRESIGN)
        .with_header("Origin", Some(SHOP))
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(body)
        .send()
        .await;
    granted.assert_success();
    assert_eq!(granted.header("access-control-allow-origin"), SHOP);
    assert_eq!(granted.header("vary"), "Origin");
    let exposed = words(&granted, "access-control-expose-headers");
    for needed in ["retry-after", "ratelimit", "ratelimit-policy", "x-request-id"] {
        assert!(exposed.contains(&needed.to_owned()), "{needed} is not among {exposed:?}");
    }
    assert_no_credentials(&granted);
}

#[tokio::test]
async fn every_upload_endpoint_has_its_preflight() {
    let gateway = gateway(&format!("[\"{SHOP}\"]")).await;
    let upload = format!("/darkroom/shop/v1/uploads/{}", "0".repeat(26));
    for (path, method) in [
        (upload.clone(), "GET"),
        (format!("{upload}/finalize"), "POST"),
        (format!("{upload}/upload-url"), "POST"),
        (upload.clone(), "DELETE"),
        ("/darkroom/shop/v1/images/multipart-uploads".to_owned(), "POST"),
        (format!("{upload}/part-urls"), "POST"),
        (format!("{upload}/parts"), "GET"),
        (format!("{upload}/complete"), "POST"),
    ] {
        let answer = preflight(&gateway, &path, method, SHOP).await;
        assert_eq!(answer.header("access-control-allow-origin"), SHOP, "{path}");
        let methods = words(&answer, "access-control-allow-methods");
        assert!(methods.contains(&method.to_ascii_lowercase()), "{path}: {methods:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_may_not() {
    let gateway = gateway(&format!("[\"{SHOP}\", \"https://admin.shop.example:8443\"]")).await;
    for origin in [
        STRANGER,
        "null",
        "http://www.shop.example",
        "https://www.shop.example:8443",
        "https://www.shop.example.stranger.example",
        "https://WWW.shop.example",
        "",
    ] {
        let answer = preflight(&gateway, PRESIGN, "POST", origin).await;
        for header in [
            "access-control-allow-origin",
            "access-control-allow-methods",
            "access-control-allow-headers",
        ] {
            assert!(!answer.headers.contains_key(header), "{origin:?}: {header}");
        }
        // A cache must not give this answer to the allowed one.
        assert_eq!(answer.header("vary"), "Origin", "{origin:?}");
    }
    let other = preflight(&gateway, PRESIGN, "POST", "https://admin.shop.example:8443").await;
    assert_eq!(other.header("access-control-allow-origin"), "https://admin.shop.example:8443");
}

#[tokio::test]
async fn an_app_that_names_no_origin_is_for_no_page() {
    let gateway = gateway("").await;
    let answer = preflight(&gateway, PRESIGN, "POST", SHOP).await;
    assert!(!is_open_to(&answer, SHOP));
    let granted = gateway.granted("shop", "a.jpg").await;
    assert!(!granted.key().is_empty(), "whoever is no browser is not concerned");
}

#[tokio::test]
async fn an_app_may_be_open_to_every_page() {
    let gateway = gateway("[\"*\"]").await;
    for origin in [SHOP, STRANGER, "null"] {
        let answer = preflight(&gateway, PRESIGN, "POST", origin).await;
        assert!(is_open_to(&answer, origin), "{origin}");
    }
}

/// A page that cannot read a refusal can only say "network error".
#[tokio::test]
async fn pages_can_read_refusals() {
    let limited = format!(
        "[CORS]\nAllowedOrigins = [\"{SHOP}\"]\n[RateLimit.PerOwner]\nRate = \"1/h\"\nBurst = 1"
    );
    let gateway = Setup::with_app("shop", offline_app_file("", &limited)).start().await;
    let ask = |method: Method, path: &str, owner: Option<&str>, body: &str| {
        gateway
            .request(method, path)
            .with_header("Origin", Some(SHOP))
            .with_header("X_Owner_Id", owner)
            .with_body(body.to_owned())
            .send()
    };
    let upload = format!("/darkroom/shop/v1/uploads/{}", "0".repeat(26));
    let good = r#"{"file":"a.jpg"}"#;
    ask(Method::POST, PRESIGN, Some("ann"), good).await.assert_success();
    for (answer, status) in [
        (ask(Method::POST, PRESIGN, None, good).await, 400),
        (ask(Method::POST, PRESIGN, Some("ann"), "{").await, 400),
        (ask(Method::POST, PRESIGN, Some("ann"), good).await, 429),
        (ask(Method::GET, PRESIGN, None, "").await, 405),
        (ask(Method::GET, &upload, None, "").await, 404),
        (ask(Method::POST, &format!("{upload}/finalize"), None, "").await, 404),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), SHOP, "{}", answer.text());
        assert!(words(&answer, "access-control-expose-headers").contains(&"retry-after".into()));
        assert_eq!(answer.header("vary"), "Origin");
        assert_no_credentials(&answer);
    }
}

#[tokio::test]
async fn reads_are_open_to_every_page() {
    let gateway = gateway(&format!("[\"{SHOP}\"]")).await;
    let image = gateway.granted("shop", "a.jpg").await.text("publicURL").to_owned();
    let preflight = preflight(&gateway, &image, "GET", STRANGER).await;
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    let headers = words(&preflight, "access-control-allow-headers");
    assert!(headers.contains(&"range".to_owned()), "{headers:?}");
    assert!(!headers.contains(&"x_owner_id".to_owned()), "{headers:?}");

    // The store does not exist, the second image neither, and the third is no image's path.
    let forged = format!("/darkroom/shop/v2/images/{}-a.jpg", "0".repeat(26));
    for (path, status) in
        [(image.as_str(), 502), (&forged, 404), ("/darkroom/shop/v2/images/a%00.jpg", 400)]
    {
        let answer =
            gateway.request(Method::GET, path).with_header("Origin", Some(STRANGER)).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
        assert!(words(&answer, "access-control-expose-headers").contains(&"cache-status".into()));
        assert_no_credentials(&answer);
    }
}
