//! What a look at an upload leads to.

use futures_util::future::join_all;
use safelight::domain::MediaType;
use safelight::storage::{ObjectStore as _, PartGrant, StorageErrorKind};
use serde_json::json;

use super::{BUSY, Place, expire, finalize, looks, shell, status, until, until_done, until_state};
use crate::harness::gateway::Setup;
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::Plain;

#[tokio::test]
async fn an_upload_that_nobody_finalizes_becomes_ready() {
    for place in Place::all().await {
        let gateway = place.setup(BUSY).start().await;
        let photo = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let junk = gateway.uploaded("shop", "a.jpg", b"no photo").await;
        expire(&gateway, &photo);
        expire(&gateway, &junk);
        until_state(&gateway, &photo, "ready").await;
        until_state(&gateway, &junk, "failed").await;
        assert_eq!(status(&gateway, &junk).await["reason"], "content");
        until_done(&gateway, &photo).await;
        finalize(&gateway, &photo).await.assert_success();
        assert!(place.stored(photo.key()).await.is_some());
        until("the refused object is gone", async || place.stored(junk.key()).await.is_none())
            .await;
        assert_eq!(looks(&gateway, "shop", "ready").await, 1.0);
        assert_eq!(looks(&gateway, "shop", "failed").await, 1.0);
    }
}

#[tokio::test]
async fn an_upload_that_never_comes_is_given_up_and_not_lost() {
    for place in Place::all().await {
        let gateway = place.setup(BUSY).start().await;
        let grant = gateway.granted("shop", JPEG.file).await;
        expire(&gateway, &grant);
        until_state(&gateway, &grant, "orphaned").await;
        until_done(&gateway, &grant).await;
        finalize(&gateway, &grant).await.assert_problem(409, "not_uploaded");
        // Late evidence.
        place.put(grant.key(), JPEG.bytes).await;
        finalize(&gateway, &grant).await.assert_success();
        assert_eq!(status(&gateway, &grant).await["state"], "ready");
    }
}

/// A session that is not over is none of the sweeper's business.
#[tokio::test]
async fn an_upload_that_may_still_come_is_left_alone() {
    let place = Place::real().await;
    let gateway = place.setup(BUSY).start().await;
    let waiting = gateway.granted("shop", JPEG.file).await;
    // Due, although nothing has ended: a clock that was ahead, or another Grace.
    let early = gateway.granted("shop", JPEG.file).await;
    let sql = "UPDATE uploads SET look_at = 1 WHERE key = ?1";
    assert_eq!(shell(&gateway).execute(sql, [early.key()]).unwrap(), 1);
    let gone = gateway.granted("shop", JPEG.file).await;
    expire(&gateway, &gone);
    until_state(&gateway, &gone, "orphaned").await;
    until("it was put off", async || {
        let sql = "SELECT look_at = session_expires_at FROM uploads WHERE key = ?1";
        shell(&gateway).query_row(sql, [early.key()], |row| row.get(0)).unwrap()
    })
    .await;
    for grant in [&waiting, &early] {
        assert_eq!(status(&gateway, grant).await["state"], "pending");
    }
}

/// A verdict holds for the bytes it was given for: the URL outlives it.
#[tokio::test]
async fn other_bytes_under_a_verdict_are_verified_again() {
    for place in Place::all().await {
        let gateway = place.setup(BUSY).start().await;
        let mut longer = JPEG.bytes.to_vec();
        longer.extend_from_slice(b"trailing bytes change no picture");
        let better = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let worse = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let same = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let mended = gateway.uploaded("shop", JPEG.file, PNG.bytes).await;
        for grant in [&better, &worse, &same] {
            finalize(&gateway, grant).await.assert_success();
        }
        finalize(&gateway, &mended).await.assert_problem(422, "verification_failed");
        better.put(&longer).send().await.assert_success();
        worse.put(b"<script>alert(1)</script>").send().await.assert_success();
        mended.put(JPEG.bytes).send().await.assert_success();
        let before = status(&gateway, &same).await;
        for grant in [&better, &worse, &same, &mended] {
            expire(&gateway, grant);
        }
        until_state(&gateway, &worse, "failed").await;
        until_state(&gateway, &mended, "ready").await;
        until("the new bytes are recorded", async || {
            status(&gateway, &better).await["size"] == longer.len()
        })
        .await;
        until_done(&gateway, &same).await;
        until("what was refused is gone", async || place.stored(worse.key()).await.is_none()).await;
        assert_eq!(status(&gateway, &better).await["state"], "ready");
        assert_eq!(status(&gateway, &worse).await["reason"], "content");
        assert_eq!(status(&gateway, &same).await, before);
        assert_eq!(gateway.get(worse.public_url()).await.status, 404);
        let read = gateway.get(better.public_url()).await;
        assert!(read.status == 200 && read.body == longer);
    }
}

#[tokio::test]
async fn what_comes_under_a_deleted_key_goes() {
    for place in Place::all().await {
        let gateway = place.setup(BUSY).start().await;
        let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        finalize(&gateway, &grant).await.assert_success();
        let sql = "UPDATE uploads SET state = 'deleted', revision = revision + 1 WHERE key = ?1";
        assert_eq!(shell(&gateway).execute(sql, [grant.key()]).unwrap(), 1);
        grant.put(JPEG.bytes).send().await.assert_success();
        expire(&gateway, &grant);
        until_done(&gateway, &grant).await;
        assert_eq!(place.stored(grant.key()).await, None);
        assert_eq!(status(&gateway, &grant).await["state"], "deleted");
        assert_eq!(looks(&gateway, "shop", "removed").await, 1.0);
    }
}

/// As after a deletion that failed: the bytes that were refused are there.
#[tokio::test]
async fn what_was_refused_and_is_still_there_goes() {
    let place = Place::real().await;
    let gateway = place.setup(BUSY).start().await;
    let grant = gateway.uploaded("shop", "a.jpg", b"no photo").await;
    finalize(&gateway, &grant).await.assert_problem(422, "verification_failed");
    place.put(grant.key(), b"no photo").await;
    expire(&gateway, &grant);
    until_done(&gateway, &grant).await;
    assert_eq!(place.stored(grant.key()).await, None);
    assert_eq!(status(&gateway, &grant).await["reason"], "content");
}

/// The object of a ready upload that somebody deleted beside the gateway is told, once.
#[tokio::test]
async fn a_ready_object_that_is_gone() {
    let place = Place::real().await;
    let gateway = place.setup(BUSY).start().await;
    let grant = gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
    finalize(&gateway, &grant).await.assert_success();
    place.store().delete(&place.path(grant.key()), None).await.unwrap();
    expire(&gateway, &grant);
    until_done(&gateway, &grant).await;
    assert_eq!(status(&gateway, &grant).await["state"], "ready");
    assert_eq!(looks(&gateway, "shop", "missing").await, 1.0);
}

#[tokio::test]
async fn the_parts_of_a_file_that_never_was_complete_go() {
    for place in Place::all().await {
        let gateway = place.setup(BUSY).start().await;
        let grant = gateway.granted("shop", JPEG.file).await;
        let (store, path) = (place.store(), place.path(grant.key()));
        let multipart = store.create_multipart(&path, MediaType::Jpeg, false).await.unwrap();
        let part = PartGrant {
            path: &path,
            upload: &multipart,
            number: 1,
            size: JPEG.bytes.len() as u64,
            sha256: None,
            expires_in: super::PATIENCE,
        };
        let part = store.sign_part(&part, std::time::SystemTime::now()).await.unwrap();
        let put = Plain::new(http::Method::PUT, part.url).with_body(JPEG.bytes.to_vec());
        put.send().await.assert_success();
        assert_eq!(store.list_parts(&path, &multipart).await.unwrap().len(), 1);

        let sql = "UPDATE uploads SET multipart_id = ?2, part_size = 5242880 WHERE key = ?1";
        let id = multipart.0.clone();
        assert_eq!(shell(&gateway).execute(sql, (grant.key(), id)).unwrap(), 1);
        expire(&gateway, &grant);
        until_done(&gateway, &grant).await;
        assert_eq!(status(&gateway, &grant).await["state"], "orphaned");
        let parts = store.list_parts(&path, &multipart).await;
        let gone = |kind| matches!(kind, StorageErrorKind::NoSuchUpload);
        assert!(parts.as_ref().is_err_and(|error| gone(error.kind)), "{parts:?}");
    }
}

/// A finalize and a look that meet come to the same, once.
#[tokio::test]
async fn finalizing_while_the_sweeper_looks() {
    let place = Place::real().await;
    let gateway = place.setup(BUSY).start().await;
    let mut grants = Vec::new();
    for _ in 0..16 {
        grants.push(gateway.uploaded("shop", JPEG.file, JPEG.bytes).await);
    }
    let answers = join_all(grants.iter().map(async |grant| {
        expire(&gateway, grant);
        finalize(&gateway, grant).await
    }))
    .await;
    for (grant, answer) in grants.iter().zip(answers) {
        answer.assert_success();
        assert_eq!(answer.json()["data"]["state"], "ready");
        until_done(&gateway, grant).await;
        assert_eq!(status(&gateway, grant).await["state"], "ready");
        assert!(place.stored(grant.key()).await.is_some());
    }
    let metrics = gateway.metrics().await;
    for state in ["uploaded", "ready"] {
        let series = format!("safelight_uploads_total{{app=\"shop\",state=\"{state}\"}}");
        assert_eq!(metrics.value(&series), 16.0, "{state}");
    }
}

/// More than is taken out of the records at once.
#[tokio::test]
async fn a_backlog_is_worked_off() {
    const UPLOADS: usize = 300;
    let place = Place::real().await;
    let limits = "[RateLimit]\nPerOwner = { Rate = \"6000/m\", Burst = 1000 }";
    let setup = Setup::with_app("shop", place.app(limits)).and_settings(BUSY);
    let gateway = setup.start().await;
    join_all((0..UPLOADS).map(|_| gateway.granted("shop", JPEG.file))).await;
    let overdue = async || {
        let series = "safelight_sweeper_overdue_seconds{app=\"shop\"}";
        gateway.metrics().await.value(series)
    };
    let sql = "UPDATE uploads SET url_expires_at = 1, session_expires_at = 1, look_at = 1";
    assert_eq!(shell(&gateway).execute(sql, []).unwrap(), UPLOADS);
    until("all are given up", async || looks(&gateway, "shop", "orphaned").await == 300.0).await;
    until("nothing is overdue", async || overdue().await == 0.0).await;
    let left = "SELECT count(*) FROM uploads WHERE state <> 'orphaned' OR look_at IS NOT NULL";
    let left: i64 = shell(&gateway).query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn expired_claims_are_forgotten() {
    let place = Place::real().await;
    let gateway = place.setup(BUSY).start().await;
    for key in ["one", "two"] {
        let answer = gateway
            .request(http::Method::POST, "/darkroom/shop/v1/images/presigned-urls")
            .with_header("X_Owner_Id", Some("owner-1"))
            .with_header("Idempotency-Key", Some(key))
            .with_body(json!({"file": "a.jpg"}).to_string())
            .send()
            .await;
        answer.assert_success();
    }
    let shell = shell(&gateway);
    let sql = "UPDATE idempotency_claims SET expires_at = 1 \
               WHERE scope = (SELECT min(scope) FROM idempotency_claims)";
    assert_eq!(shell.execute(sql, []).unwrap(), 1);
    until("one is forgotten", async || {
        let sql = "SELECT count(*) FROM idempotency_claims";
        shell.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() == 1
    })
    .await;
}
