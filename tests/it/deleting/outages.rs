//! Deletions while storage or the record store are away.

use super::{Place, Scene, database, outcome};
use crate::harness::callers::ANN;
use crate::harness::dead_ends::ClosedPort;
use crate::harness::embedded;
use crate::harness::gateway::eventually;
use crate::harness::photos::JPEG;

/// The tombstone stands: nothing is served, and the bytes go when storage is back.
#[tokio::test]
async fn storage_is_away() {
    let closed = ClosedPort::new();
    let place = Place::s3("away", embedded::config(closed.address()));
    let busy = "[Sweeper]\nInterval = \"100ms\"\nGrace = \"0s\"\n";
    let scene = Scene::at(place, "", busy).await;
    let grant = scene.gateway.granted("shop", JPEG.file).await;
    let other = scene.gateway.granted("shop", JPEG.file).await;
    assert_eq!(scene.gateway.get(grant.public_url()).await.status, 502);
    for _ in 0..2 {
        scene.delete(ANN, grant.key()).await.assert_problem(502, "storage_failed");
        scene.assert_gone(&grant).await;
        assert_eq!(scene.state(&grant).await, "deleted");
    }
    assert_eq!(scene.metric(&outcome("storage_failed")).await, 2.0);
    assert_eq!(scene.gateway.get(other.public_url()).await.status, 502, "that one is not deleted");

    embedded::start_on(closed.open());
    grant.put(JPEG.bytes).send().await.assert_success();
    other.put(JPEG.bytes).send().await.assert_success();
    scene.assert_gone(&grant).await;
    let sql = "UPDATE uploads SET look_at = 1 WHERE key = ?1";
    assert_eq!(database(&scene.gateway).execute(sql, [grant.key()]).unwrap(), 1);
    eventually("the bytes are gone", async || {
        scene.place.head(grant.key()).await.is_none().then_some(())
    })
    .await;
    assert!(scene.place.head(other.key()).await.is_some());
    scene.deleted(&grant).await;
}

/// Nothing is promised that is not durable, and nothing is deleted of it.
#[tokio::test]
async fn the_record_store_is_away() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let database = scene.database();
    database.execute_batch("ALTER TABLE uploads RENAME TO uploads_elsewhere").unwrap();
    scene.delete(ANN, grant.key()).await.assert_problem(503, "records_unavailable");
    assert!(scene.place.head(grant.key()).await.is_some());
    scene.assert_served(&grant).await;
    database.execute_batch("ALTER TABLE uploads_elsewhere RENAME TO uploads").unwrap();
    scene.deleted(&grant).await;
    scene.assert_gone(&grant).await;
    assert_eq!(scene.metric(&outcome("records_unavailable")).await, 1.0);
}
