//! What comes after a deletion: signed URLs that still work, events, parts, and the sweeper.

use std::time::SystemTime;

use http::Method;
use safelight::storage::StorageErrorKind;
use serde_json::json;

use super::{Place, Scene, database, path};
use crate::harness::callers::ANN;
use crate::harness::gateway::{Grant, TestGateway, eventually};
use crate::harness::photos::JPEG;

/// A sweeper that is always at work.
const BUSY: &str = "[Sweeper]\nInterval = \"100ms\"\nGrace = \"0s\"\n";

const SECRET: &str = "a-webhook-secret-of-the-tests-0123456789";

/// Lets the URL of an upload be over, and its time for a look be now.
fn expire(gateway: &TestGateway, grant: &Grant) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let sql = "UPDATE uploads SET url_expires_at = ?1 - 1, session_expires_at = ?1 - 1, \
               look_at = ?1 WHERE key = ?2";
    assert_eq!(database(gateway).execute(sql, (now, grant.key())).unwrap(), 1);
}

/// The time of the next look, in milliseconds since 1970, and that of the end of the URL.
fn next_look(scene: &Scene, grant: &Grant) -> (Option<i64>, i64) {
    let sql = "SELECT look_at, url_expires_at FROM uploads WHERE key = ?1";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    scene.database().query_row(sql, [grant.key()], row).unwrap()
}

async fn until_gone(scene: &Scene, grant: &Grant) {
    eventually("the bytes are gone", async || {
        scene.place.head(grant.key()).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_valid_url_brings_is_served_to_nobody_and_swept() {
    for place in Place::all().await {
        let scene = Scene::at(place, "", BUSY).await;
        let ready = scene.ready().await;
        let pending = scene.gateway.granted("shop", JPEG.file).await;
        for grant in [&ready, &pending] {
            scene.deleted(grant).await;
            grant.put(JPEG.bytes).send().await.assert_success();
            assert!(scene.place.head(grant.key()).await.is_some(), "{}", scene.place.name);
            scene.assert_gone(grant).await;
            let finalize = scene.gateway.request(Method::POST, grant.text("finalizeURL"));
            finalize.send().await.assert_problem(410, "upload_expired");
            scene.copy_to_cdn(grant).await;
            scene.assert_gone(grant).await;
            expire(&scene.gateway, grant);
            until_gone(&scene, grant).await;
            scene.assert_gone(grant).await;
            assert_eq!(scene.state(grant).await, "deleted");
        }
    }
}

/// Storage tells that there is another object: a reason to look, and nothing comes back by it.
#[tokio::test]
async fn an_event_takes_it_away_and_never_brings_it_back() {
    let settings = format!("[Events.Push.Webhook]\nSecret = \"{SECRET}\"\n");
    let scene = Scene::at(Place::real().await, "", &settings).await;
    let grant = scene.ready().await;
    let event = json!({"Records": [{"eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-21T10:00:00.000Z", "s3": {"bucket": {"name": "media"},
        "object": {"key": format!("images/{}", grant.key()), "eTag": "0"}}}]});
    let tell = async || {
        let event = scene
            .gateway
            .request(Method::POST, "/darkroom/_events/webhook")
            .with_header("Authorization", Some(&format!("Bearer {SECRET}")))
            .with_body(event.to_string());
        assert_eq!(event.send().await.status, 204);
    };
    scene.deleted(&grant).await;
    // Of the object that was there.
    tell().await;
    assert_eq!(scene.state(&grant).await, "deleted");
    // Of another one.
    grant.put(JPEG.bytes).send().await.assert_success();
    tell().await;
    assert_eq!(scene.place.head(grant.key()).await, None);
    assert_eq!(scene.state(&grant).await, "deleted");
    scene.assert_gone(&grant).await;
}

/// The first look comes soon, for a process that ended before the bytes went; the last one when
/// the URL has run out.
#[tokio::test]
async fn a_tombstone_is_looked_at_soon_and_once_more_after_its_url() {
    let scene = Scene::at(Place::real().await, "", BUSY).await;
    let grant = scene.ready().await;
    scene.deleted(&grant).await;
    let (look, end) = next_look(&scene, &grant);
    assert!(look.expect("it is looked at") < end, "not before the URL has run out");
    // As if the process had ended between the tombstone and the deletion.
    grant.put(JPEG.bytes).send().await.assert_success();
    let sql = "UPDATE uploads SET look_at = 1 WHERE key = ?1";
    assert_eq!(scene.database().execute(sql, [grant.key()]).unwrap(), 1);
    until_gone(&scene, &grant).await;
    eventually("the last look is at the end", async || {
        let (look, end) = next_look(&scene, &grant);
        (look == Some(end)).then_some(())
    })
    .await;
    expire(&scene.gateway, &grant);
    eventually("nothing is left to look at", async || {
        next_look(&scene, &grant).0.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_parts_of_a_deleted_upload_go() {
    let scene = Scene::new().await;
    let begin = scene
        .gateway
        .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
        .with_header("X_Owner_Id", Some("owner-1"))
        .with_body(json!({"file": "a.jpg", "size": JPEG.bytes.len()}).to_string())
        .send()
        .await;
    begin.assert_success();
    let grant = Grant(begin.json()["data"].clone());
    let part = grant.0["partURLs"][0]["url"].as_str().unwrap();
    let put = crate::harness::plain_client::Plain::new(Method::PUT, part);
    put.with_body(JPEG.bytes).send().await.assert_success();
    let sql = "SELECT multipart_id FROM uploads WHERE key = ?1";
    let id: String = scene.database().query_row(sql, [grant.key()], |row| row.get(0)).unwrap();
    let (path, id) = (path(grant.key()), safelight::domain::MultipartId(id));
    assert_eq!(scene.place.store.list_parts(&path, &id).await.unwrap().len(), 1);

    let answer = scene.delete(ANN, grant.key()).await;
    super::assert_deleted(&answer, &grant);
    let parts = scene.place.store.list_parts(&path, &id).await;
    assert_eq!(parts.unwrap_err().kind, StorageErrorKind::NoSuchUpload);
    let complete = scene.gateway.request(Method::POST, grant.text("completeURL")).send().await;
    complete.assert_problem(410, "upload_expired");
}
