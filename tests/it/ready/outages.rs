//! Reads that know the record, while the record store is down.

use super::{ONLY_READY, Scene, assert_photo};
use crate::harness::gateway::{Setup, app_file};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::seaweed::Seaweed;

/// Nobody can read a record until it is called back.
const BREAK: &str = "ALTER TABLE uploads RENAME TO uploads_elsewhere";
const MEND: &str = "ALTER TABLE uploads_elsewhere RENAME TO uploads";

#[tokio::test]
async fn what_is_remembered_is_served_and_what_is_not_is_503() {
    let scene = Scene::new().await;
    let (known, unknown) = (scene.ready(JPEG).await, scene.ready(PNG).await);
    assert_photo(&scene.read(&known).await, JPEG, "before");
    let asked = scene.asked_cdn();
    scene.database().execute_batch(BREAK).unwrap();

    for (how, answer) in scene.read_in_every_way(&known).await {
        assert_photo(&answer, JPEG, &how);
    }
    for (how, answer) in scene.read_in_every_way(&unknown).await {
        assert_eq!(answer.status, 503, "{how}");
        assert_eq!(answer.header("retry-after"), "1", "{how}");
        assert_eq!(answer.header("cache-control"), "no-store", "{how}");
        if !how.starts_with("HEAD") {
            answer.assert_problem(503, "records_unavailable");
        }
    }
    assert_eq!(scene.asked_cdn(), asked + 5, "only what is known to be ready is asked for");
    let failed = "safelight_record_lookups_total{app=\"shop\",outcome=\"failed\"}";
    assert_eq!(scene.metric(failed).await, 5.0);

    scene.database().execute_batch(MEND).unwrap();
    assert_photo(&scene.read(&unknown).await, PNG, "afterwards");
}

#[tokio::test]
async fn other_apps_go_on_and_never_ask() {
    let storage = Seaweed::shared().await.config();
    let other = app_file(&storage, "", "").replace("KeyPrefix = \"images/\"", "KeyPrefix = \"o/\"");
    let setup = Setup::with_app("shop", app_file(&storage, "", ONLY_READY)).and_app("open", other);
    let gateway = setup.start().await;
    let grant = gateway.uploaded("open", JPEG.file, JPEG.bytes).await;
    let database = rusqlite::Connection::open(gateway.records_file()).unwrap();
    database.execute_batch(BREAK).unwrap();
    let answer = gateway.get(grant.public_url()).await;
    assert_photo(&answer, JPEG, "GET");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("safelight_record_lookups_total"), 0.0);
}
