//! Private images while the record store, the CDN or storage are away, and after a deletion.

use std::time::SystemTime;

use super::{SIGNING_SECRET, Scene, in_an_hour, setup, sign};
use crate::harness::callers::{ANN, BOB};
use crate::harness::photos::WEBP;
use crate::harness::wire_cdn::Act;

#[tokio::test]
async fn what_is_remembered_is_read_without_the_record_store() {
    let scene = Scene::new().await;
    let (known, unknown) = (scene.ready().await, scene.ready().await);
    let url = scene.signed(&known).await;
    scene.read(&url).send().await.assert_success();
    let database = rusqlite::Connection::open(scene.gateway.records_file()).unwrap();
    database.execute_batch("ALTER TABLE uploads RENAME TO uploads_elsewhere").unwrap();
    scene.read(&url).send().await.assert_success();
    ANN.sends(scene.read(known.public_url())).send().await.assert_success();
    BOB.sends(scene.read(known.public_url())).send().await.assert_problem(404, "not_found");
    let other = sign(SIGNING_SECRET, "shop", &unknown, unknown.key(), in_an_hour());
    let down = "records_unavailable";
    scene.read(&other).send().await.assert_problem(503, down);
    ANN.sends(scene.read(unknown.public_url())).send().await.assert_problem(503, down);
    let signing = scene.ask_to_sign(ANN, unknown.key(), serde_json::json!({})).await;
    signing.assert_problem(503, down);
    // Who has no right learns nothing of that either.
    scene.read(unknown.public_url()).send().await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_deleted_image_is_gone_for_every_right() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    scene.read(&url).send().await.assert_success();
    scene.delete(&grant).await;
    let asked = scene.cdn.requests().len();
    scene.read(&url).send().await.assert_problem(404, "not_found");
    ANN.sends(scene.read(grant.public_url())).send().await.assert_problem(404, "not_found");
    assert_eq!(scene.cdn.requests().len(), asked, "the CDN still has a copy, and was asked");
}

#[tokio::test]
async fn a_signed_url_outlives_a_restart() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let url = scene.signed(&grant).await;
    let Scene { storage, cdn, gateway } = scene;
    let again = setup(&storage, &cdn, "", "");
    let scene = Scene { gateway: gateway.restart(again).await, storage, cdn };
    let answer = scene.read(&url).send().await;
    assert!(answer.status == 200 && answer.body == WEBP.bytes, "{}", answer.text());
}

#[tokio::test]
async fn storage_answers_where_the_cdn_does_not() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    scene.cdn.next(Act::status(500));
    let url = sign(SIGNING_SECRET, "shop", &grant, grant.key(), in_an_hour());
    let answer = scene.read(&url).send().await;
    assert!(answer.status == 200 && answer.body == WEBP.bytes, "{}", answer.text());
    let status = "safelight; fwd=uri-miss; detail=\"storage; cdn=status_5xx\"";
    assert_eq!(answer.header("cache-status"), status);
    super::assert_is_for_one_reader(&answer, "from storage");
    let expired = sign(SIGNING_SECRET, "shop", &grant, grant.key(), SystemTime::UNIX_EPOCH);
    scene.read(&expired).send().await.assert_problem(403, "forbidden");
}
