//! The sweeper while storage is away.

use rusqlite::Connection;
use tokio::net::TcpListener;

use super::{BUSY, Place, expire, looks, shell, status, until, until_done, until_state};
use crate::harness::dead_ends::ClosedPort;
use crate::harness::embedded;
use crate::harness::photos::JPEG;

/// The store of one app is away: its uploads wait, those of the other do not, and none is lost.
#[tokio::test]
async fn a_store_that_is_away_keeps_nobody_else_waiting() {
    let real = Place::real().await;
    let closed = ClosedPort::new();
    let away = Place::on(embedded::config(closed.address()));
    let setup = away.setup(BUSY).and_app("blog", real.app(""));
    let gateway = setup.start().await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let grant = gateway.granted("shop", JPEG.file).await;
        expire(&gateway, &grant);
        waiting.push(grant);
    }
    until("storage was asked", async || looks(&gateway, "shop", "storage_failed").await >= 3.0)
        .await;
    let other = gateway.uploaded("blog", JPEG.file, JPEG.bytes).await;
    expire(&gateway, &other);
    until_state(&gateway, &other, "ready").await;
    until("the backlog shows", async || {
        let series = "safelight_sweeper_overdue_seconds{app=\"shop\"}";
        gateway.metrics().await.value(series) >= 1.0
    })
    .await;
    for grant in &waiting {
        assert_eq!(status(&gateway, grant).await["state"], "pending", "nothing is concluded");
    }

    let back = embedded::start_on(closed.open());
    let back = Place { storage: back, prefix: away.prefix.clone() };
    back.put(waiting[0].key(), JPEG.bytes).await;
    until_state(&gateway, &waiting[0], "ready").await;
    for grant in &waiting[1..] {
        until_state(&gateway, grant, "orphaned").await;
        until_done(&gateway, grant).await;
    }
    assert_eq!(looks(&gateway, "shop", "orphaned").await, 7.0);
}

/// A shutdown does not wait for a store that does not answer, and what was due stays due.
#[tokio::test]
async fn a_look_that_is_broken_off_is_taken_again() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::on(embedded::config(silent.local_addr().unwrap()));
    let gateway = place.setup(BUSY).start().await;
    let grant = gateway.granted("shop", JPEG.file).await;
    expire(&gateway, &grant);
    let sql = "SELECT look_at, state FROM uploads WHERE key = ?1";
    let read = |database: &Connection| -> (i64, String) {
        database.query_row(sql, [grant.key()], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let before = read(&shell(&gateway));
    let asked = silent.accept().await.unwrap();
    let home = gateway.stop().await;
    let database = Connection::open(home.path().join("data/safelight.db")).unwrap();
    assert_eq!(read(&database), before, "the stop waited until the store had failed");

    // The same address, now with a store.
    let address = silent.local_addr().unwrap();
    drop((silent, asked));
    embedded::start_on(TcpListener::bind(address).await.unwrap());
    place.put(grant.key(), JPEG.bytes).await;
    let gateway = place.setup(BUSY).start_in(home).await;
    until_state(&gateway, &grant, "ready").await;
}
