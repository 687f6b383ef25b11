//! What of a private read goes upstream and to browsers: never the right by which it is read.

use http::Method;

use super::{Scene, setup};
use crate::harness::callers::ANN;
use crate::harness::front::Front;
use crate::harness::photos::WEBP;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::Act;

#[tokio::test]
async fn neither_signature_nor_identity_goes_upstream() {
    let (front, storage) = Front::before(&Seaweed::shared().await.config()).await;
    let scene = Scene::on(storage, "", "").await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    let signature = url.split_once("&signature=").unwrap().1;
    let by_url = || scene.read(&url).with_header("Range", Some("bytes=1-9"));
    let by_key = || ANN.sends(scene.read(grant.public_url()));
    // From the CDN, and from storage.
    for request in [by_url(), by_key()] {
        request.send().await.assert_success();
    }
    front.forget();
    for request in [by_url(), by_key()] {
        scene.cdn.next(Act::status(500));
        let answer = request.with_header("X_Owner_Id", Some("owner-1")).send().await;
        answer.assert_success();
        assert!(answer.header("cache-status").contains("storage"));
    }
    let requests = scene.cdn.requests();
    assert_eq!(requests.len(), 4);
    for request in requests {
        assert_eq!(request.target, format!("/images/{}", grant.key()));
        for (name, value) in &request.headers {
            assert!(!matches!(name.as_str(), "authorization" | "x_owner_id" | "referer"), "{name}");
            assert!(!value.contains(signature) && !value.contains(ANN.key()), "{name}");
        }
    }
    assert_eq!(front.count("GET", grant.key()), 2);
    assert_eq!(front.count("GET", signature), 0);
    assert_eq!(front.count("GET", "expires="), 0);
}

/// A page of the app's may read it, and no other one; and may send what it takes.
#[tokio::test]
async fn browsers_let_only_the_apps_own_pages_read() {
    let cors = "[CORS]\nAllowedOrigins = [\"https://www.shop.test\"]";
    let scene = Scene::with(cors, "").await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    let origin = |request: crate::harness::plain_client::Plain, origin| {
        request.with_header("Origin", Some(origin)).send()
    };
    let own = "https://www.shop.test";
    for (from, allowed) in [(own, own), ("https://evil.test", ""), ("null", "")] {
        for request in [scene.read(&url), ANN.sends(scene.read(grant.public_url()))] {
            let answer = origin(request, from).await;
            answer.assert_success();
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{from}");
            assert_eq!(answer.header("vary"), "Origin");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        }
        let refused = origin(scene.read(grant.public_url()), from).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(refused.header("access-control-allow-origin"), allowed, "{from}");
        let preflight = origin(scene.gateway.request(Method::OPTIONS, grant.public_url()), from);
        let preflight = preflight.await;
        assert_eq!(preflight.header("access-control-allow-origin"), allowed, "{from}");
        let headers = preflight.header("access-control-allow-headers");
        assert_eq!(headers.contains("Authorization"), !allowed.is_empty(), "{headers}");
    }
}

/// The lines of the access log, of the program itself.
#[tokio::test]
async fn the_log_has_neither_key_nor_signature() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    let Scene { storage, cdn, gateway } = scene;
    let folder = gateway.stop().await;
    drop(folder);
    // Another gateway, whose records do not know the image: its reads end in every other way.
    let program = setup(&storage, &cdn, "", "").serve(&[("SAFELIGHT_LOG", "debug")]);
    let read = program.request(Method::GET, &url).send().await;
    read.assert_problem(404, "not_found");
    let wrong = format!("{url}0");
    program.request(Method::GET, &wrong).send().await.assert_problem(403, "forbidden");
    let by_key = ANN.sends(program.request(Method::GET, grant.public_url())).send().await;
    by_key.assert_problem(404, "not_found");
    let upload = program.uploaded("shop", WEBP.file, WEBP.bytes).await;
    program.request(Method::POST, upload.text("finalizeURL")).send().await.assert_success();
    ANN.sends(program.request(Method::GET, upload.public_url())).send().await.assert_success();
    let log = program.terminate();
    let signature = url.split_once("&signature=").unwrap().1;
    for secret in [signature, ANN.key(), grant.key(), upload.key(), "owner-1"] {
        assert!(!log.stderr.contains(secret), "{secret} is in the log");
    }
    assert!(log.stderr.contains("\"route\":\"image\"") || log.stderr.contains("image"));
}
