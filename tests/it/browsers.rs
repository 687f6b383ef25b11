//! What browsers are told: the upload endpoints are open to the origins that an app names, and
//! public reads to every page. With credentials only where an app says so.

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
        (ask(Method::POST, PRESIGN, Some("bob"), "{").await, 400),
        (ask(Method::POST, PRESIGN, Some("bob"), &"x".repeat(9000)).await, 413),
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

/// A method and a path that is of no app, and the status.
const OF_NO_APP: [(&str, &str, u16); 6] = [
    ("GET", "/nowhere", 404),
    ("GET", "/darkroom/shop/v3/images/x", 404),
    ("GET", "/darkroom/shop/v1/uploads/%252e", 400),
    ("GET", "/darkroom/nobody/v2/images/x.jpg", 404),
    ("POST", "/darkroom/nobody/v1/images/presigned-urls", 404),
    ("PURGE", "/darkroom/shop/v2/images/x.jpg", 405),
];

/// Before there is an app, nobody can say which pages may read a refusal; so all may.
#[tokio::test]
async fn pages_can_read_refusals_of_no_app() {
    let gateway = gateway(&format!("[\"{SHOP}\"]")).await;
    for (method, path, status) in OF_NO_APP {
        let ask = |method: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            gateway.request(method, path).with_header("Origin", Some(STRANGER)).send()
        };
        let answer = ask(method).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{method} {path}");
        assert!(words(&answer, "access-control-expose-headers").contains(&"retry-after".into()));
        assert_no_credentials(&answer);
        if method == "PURGE" {
            continue;
        }
        let answer = preflight(&gateway, path, method, STRANGER).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("access-control-max-age"), "0", "the app may come");
        let methods = words(&answer, "access-control-allow-methods");
        assert!(methods.contains(&method.to_ascii_lowercase()), "{path}: {methods:?}");
        let headers = words(&answer, "access-control-allow-headers");
        for needed in ["content-type", "x_owner_id", "range"] {
            assert!(headers.contains(&needed.to_owned()), "{needed} is not among {headers:?}");
        }
    }
    let long = format!("/darkroom/shop/v2/images/{}", "x".repeat(3000));
    let answer = gateway.get(&long).await;
    answer.assert_problem(414, "uri_too_long");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn an_app_may_allow_more() {
    let cors = format!(
        "[CORS]\nAllowedOrigins = [\"{SHOP}\"]\nAllowedHeaders = [\"X-Trace-Id\"]\n\
         AllowCredentials = true\nMaxAge = \"10m\""
    );
    let gateway = Setup::with_app("shop", offline_app_file("", &cors)).start().await;
    let ask = |method: Method, path: &str, origin: &str| {
        let request = gateway.request(method, path).with_header("Origin", Some(origin));
        request
            .with_header("Access-Control-Request-Method", Some("POST"))
            .with_header("Access-Control-Request-Private-Network", Some("true"))
            .send()
    };
    let answer = ask(Method::OPTIONS, PRESIGN, SHOP).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), SHOP);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert_eq!(answer.header("vary"), "Origin");
    let headers = words(&answer, "access-control-allow-headers");
    assert!(["x-trace-id", "x_owner_id"].iter().all(|name| headers.contains(&(*name).into())));
    assert!(!answer.headers.contains_key("access-control-allow-private-network"));

    let refused = ask(Method::POST, PRESIGN, SHOP).await;
    refused.assert_problem(400, "missing_owner_id");
    assert_eq!(refused.header("access-control-allow-credentials"), "true");
    assert_no_credentials(&ask(Method::OPTIONS, PRESIGN, STRANGER).await);

    // Reads are for every page, and so for none with credentials.
    let image = format!("/darkroom/shop/v2/images/{}-a.jpg", "0".repeat(26));
    for method in [Method::OPTIONS, Method::GET] {
        let answer = ask(method, &image, SHOP).await;
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_no_credentials(&answer);
    }
}

/// Whoever is no browser asks what there is, and is told.
#[tokio::test]
async fn options_without_a_page() {
    let gateway = gateway(&format!("[\"{SHOP}\"]")).await;
    for (path, allow) in [
        (PRESIGN, "POST, OPTIONS"),
        ("/darkroom/shop/v2/images/a.jpg", "GET, HEAD, OPTIONS"),
        ("/nowhere", "GET, HEAD, POST, DELETE, OPTIONS"),
    ] {
        let answer = gateway.request(Method::OPTIONS, path).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, allow), "{path}");
    }
}
