//! Reads by those who prove who they are.

use http::Method;

use super::{Scene, assert_is_for_one_reader};
use crate::harness::callers::{ANN, BACKEND, BOB, STRANGER, VIEWER};
use crate::harness::gateway::mint_key;
use crate::harness::photos::WEBP;

#[tokio::test]
async fn an_owner_reads_what_is_its_own_and_the_application_everything() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    for caller in [ANN, BACKEND, VIEWER] {
        let answer = caller.sends(scene.read(grant.public_url())).send().await;
        assert!(answer.status == 200 && answer.body == WEBP.bytes, "{}", answer.text());
        assert_is_for_one_reader(&answer, "GET");
        // The next one on this machine may be somebody else: the URL is the same.
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-site");
        let etag = answer.header("etag").to_owned();
        let again = scene.read(grant.public_url()).with_header("If-None-Match", Some(&etag));
        assert_eq!(caller.sends(again).send().await.status, 304);
        let head = scene.gateway.request(Method::HEAD, grant.public_url());
        assert_eq!(caller.sends(head).send().await.status, 200);
        let part = scene.read(grant.public_url()).with_header("Range", Some("bytes=0-3"));
        assert_eq!(caller.sends(part).send().await.body, &WEBP.bytes[..4]);
    }
    // The application, on behalf of one owner or another.
    for (owner, status) in [("owner-1", 200), ("owner-2", 404)] {
        let request = scene.read(grant.public_url()).with_header("X_Owner_Id", Some(owner));
        assert_eq!(BACKEND.sends(request).send().await.status, status, "{owner}");
    }
    STRANGER
        .sends(scene.read(grant.public_url()))
        .send()
        .await
        .assert_problem(401, "unauthenticated");
}

/// What is another's is as if it were not there.
#[tokio::test]
async fn another_owner_learns_nothing() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let never = mint_key("shop", std::time::SystemTime::now(), "a.webp");
    let told = BOB.sends(scene.read(grant.public_url())).send().await;
    let told_of_nothing = BOB.sends(scene.read(&format!("/darkroom/shop/v2/images/{never}")));
    let told_of_nothing = told_of_nothing.send().await;
    told.assert_problem(404, "not_found");
    assert_eq!(told.lasting(), told_of_nothing.lasting());
    assert_eq!(told.json()["detail"], told_of_nothing.json()["detail"]);
    assert_eq!(scene.cdn.requests().len(), 0, "somebody was asked");
    // Also once it is remembered.
    ANN.sends(scene.read(grant.public_url())).send().await.assert_success();
    BOB.sends(scene.read(grant.public_url())).send().await.assert_problem(404, "not_found");
}
