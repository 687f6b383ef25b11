//! Deleting an image: from then on nobody is served it, whatever storage and the CDN still have, and
//! its bytes go.

mod late;
mod outages;
mod races;

use std::sync::Arc;

use http::Method;
use safelight::domain::{ObjectMeta, StoragePath};
use safelight::storage::{ObjectStore, S3Config, StorageErrorKind};
use serde_json::json;

use crate::harness::callers::identity_section;
use crate::harness::callers::{ANN, BACKEND, BOB, Caller, NOBODY, STRANGER, VIEWER};
use crate::harness::embedded;
use crate::harness::fake_gcs::{self, FakeGcs};
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file, mint_key};
use crate::harness::photos::{JPEG, PNG};
use crate::harness::plain_client::Answer;
use crate::harness::seaweed::{self, Seaweed};
use crate::harness::wire_cdn::{CdnObject, WireCdn};

/// Objects are kept in memory.
const MEMORY: &str = "[Cache]\nSize = \"16MiB\"\n";

/// Where the objects of an app are.
struct Place {
    name: &'static str,
    store: Arc<dyn ObjectStore>,
    kind: Kind,
}

enum Kind {
    S3(Box<S3Config>),
    Gcs(String),
}

/// A gateway of the app `shop`, its CDN, and its bucket.
struct Scene {
    place: Place,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Place {
    /// A bucket of the real server.
    async fn real() -> Self {
        Self::s3("SeaweedFS", Seaweed::shared().await.config())
    }

    /// Every store that a test can have: of S3 and of Google, with versions and without.
    async fn all() -> [Self; 4] {
        let gcs = FakeGcs::shared().await.config().await;
        let endpoint = gcs.endpoint.clone().expect("it is an emulator's");
        let gcs = Self {
            name: "fake-gcs-server",
            kind: Kind::Gcs(fake_gcs::storage_section(&endpoint)),
            store: Arc::new(fake_gcs::open(gcs)),
        };
        let versioned = Seaweed::shared().await.versioned_config();
        [
            Self::real().await,
            Self::s3("SeaweedFS with versions", versioned),
            Self::s3("embedded", embedded::start().await),
            gcs,
        ]
    }

    fn s3(name: &'static str, config: S3Config) -> Self {
        Self {
            name,
            store: Arc::new(seaweed::open(config.clone())),
            kind: Kind::S3(Box::new(config)),
        }
    }

    fn setup(&self, head: &str, sections: &str) -> Setup {
        let sections = format!("{sections}\n{}", identity_section());
        match &self.kind {
            Kind::S3(config) => Setup::with_app("shop", app_file(config, head, &sections)),
            Kind::Gcs(storage) => {
                let file = format!("AllowPublicUpload = true\n{head}\n{storage}{sections}");
                Setup::with_app("shop", file).and_secret("shop/key.json", fake_gcs::KEY_FILE)
            }
        }
    }

    async fn head(&self, key: &str) -> Option<ObjectMeta> {
        match self.store.head(&path(key)).await {
            Ok(meta) => Some(meta),
            Err(error) if error.kind == StorageErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Scene {
    async fn at(place: Place, sections: &str, settings: &str) -> Self {
        let cdn = WireCdn::start().await;
        let head = format!("CloudFrontURL = \"{}\"", cdn.url());
        let gateway = place.setup(&head, sections).and_settings(settings).start().await;
        Self { place, cdn, gateway }
    }

    async fn new() -> Self {
        Self::at(Place::real().await, "", "").await
    }

    /// An image that was found good, of which the CDN has a copy.
    async fn ready(&self) -> Grant {
        let grant = self.gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let finalize = self.gateway.request(Method::POST, grant.text("finalizeURL"));
        finalize.send().await.assert_success();
        self.copy_to_cdn(&grant).await;
        grant
    }

    async fn copy_to_cdn(&self, grant: &Grant) {
        let meta = self.place.head(grant.key()).await.expect("it is there");
        let copy = CdnObject::copy_of(&meta, JPEG.bytes);
        self.cdn.put(&format!("/images/{}", grant.key()), copy);
    }

    async fn delete(&self, caller: Caller, key: &str) -> Answer {
        caller.sends(self.gateway.request(Method::DELETE, &own(key))).send().await
    }

    /// It is deleted, and told so.
    async fn deleted(&self, grant: &Grant) {
        assert_deleted(&self.delete(ANN, grant.key()).await, grant);
    }

    /// Nobody is asked, however it is read.
    async fn assert_gone(&self, grant: &Grant) {
        let asked = self.cdn.requests().len();
        for (method, name, value) in [
            (Method::GET, "Accept", "*/*"),
            (Method::HEAD, "Accept", "*/*"),
            (Method::GET, "Range", "bytes=0-9"),
            (Method::GET, "If-None-Match", "*"),
            (Method::GET, "If-Match", "\"another\""),
        ] {
            let request = self.gateway.request(method.clone(), grant.public_url());
            let answer = request.with_header(name, Some(value)).send().await;
            let how = format!("{}: {method} {name}", self.place.name);
            assert_eq!(answer.status, 404, "{how}");
            assert_eq!(answer.header("cache-control"), "no-store", "{how}");
            assert_eq!(answer.header("cache-status"), "", "{how}: somebody was asked");
        }
        assert_eq!(self.cdn.requests().len(), asked, "the CDN was asked");
    }

    async fn assert_served(&self, grant: &Grant) {
        let answer = self.gateway.get(grant.public_url()).await;
        assert!(answer.status == 200 && answer.body == JPEG.bytes, "{}", answer.text());
    }

    async fn state(&self, grant: &Grant) -> String {
        self.gateway.status("shop", grant).await["state"].as_str().unwrap().to_owned()
    }

    async fn metric(&self, series: &str) -> f64 {
        self.gateway.metrics().await.value(series)
    }

    fn database(&self) -> rusqlite::Connection {
        database(&self.gateway)
    }
}

fn database(gateway: &TestGateway) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(gateway.records_file()).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    database
}

fn path(key: &str) -> StoragePath {
    StoragePath::from_listing(&format!("images/{key}"))
}

/// The URL of what its owner may do with an image.
fn own(key: &str) -> String {
    format!("/darkroom/shop/v1/images/{key}")
}

fn outcome(outcome: &str) -> String {
    format!("safelight_deletes_total{{app=\"shop\",outcome=\"{outcome}\"}}")
}

#[track_caller]
fn assert_deleted(answer: &Answer, grant: &Grant) {
    answer.assert_success();
    assert_eq!(answer.header("cache-control"), "no-store");
    let expected = json!({"success": true, "data": {"key": grant.key(), "state": "deleted"}});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn a_deleted_image_is_gone_from_everywhere() {
    for place in Place::all().await {
        let scene = Scene::at(place, "", MEMORY).await;
        let (gone, stays) = (scene.ready().await, scene.ready().await);
        for grant in [&gone, &stays] {
            // The second time from memory.
            scene.assert_served(grant).await;
            scene.assert_served(grant).await;
        }
        assert_eq!(scene.metric("safelight_memory_entries").await, 2.0, "{}", scene.place.name);
        scene.deleted(&gone).await;
        scene.assert_gone(&gone).await;
        assert_eq!(scene.place.head(gone.key()).await, None, "{}", scene.place.name);
        assert_eq!(scene.state(&gone).await, "deleted");
        scene.assert_served(&stays).await;
        assert!(scene.place.head(stays.key()).await.is_some());

        // Again: the same answer, and nothing happens.
        scene.deleted(&gone).await;
        assert_eq!(scene.metric(&outcome("ok")).await, 2.0);
        let deleted = "safelight_uploads_total{app=\"shop\",state=\"deleted\"}";
        assert_eq!(scene.metric(deleted).await, 1.0);
        let finalize = scene.gateway.request(Method::POST, gone.text("finalizeURL")).send().await;
        finalize.assert_problem(410, "upload_expired");
    }
}

#[tokio::test]
async fn what_storage_has_of_every_state_goes() {
    for place in Place::all().await {
        let scene = Scene::at(place, "", "").await;
        let pending = scene.gateway.granted("shop", JPEG.file).await;
        let arrived = scene.gateway.uploaded("shop", JPEG.file, JPEG.bytes).await;
        let failed = scene.gateway.uploaded("shop", JPEG.file, b"no photo").await;
        let finalize = scene.gateway.request(Method::POST, failed.text("finalizeURL"));
        finalize.send().await.assert_problem(422, "verification_failed");
        for grant in [&pending, &arrived, &failed] {
            scene.deleted(grant).await;
            scene.assert_gone(grant).await;
            assert_eq!(scene.place.head(grant.key()).await, None, "{}", scene.place.name);
            assert_eq!(scene.state(grant).await, "deleted");
        }
    }
}

#[tokio::test]
async fn in_redirect_mode_nobody_is_sent_anywhere() {
    let scene = Scene::at(Place::real().await, "[Read]\nMode = \"redirect\"", "").await;
    let grant = scene.ready().await;
    assert_eq!(scene.gateway.get(grant.public_url()).await.status, 302);
    scene.deleted(&grant).await;
    scene.assert_gone(&grant).await;
}

/// Whoever has no right to an image does not learn whether it is there.
#[tokio::test]
async fn only_those_who_may() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let never = mint_key("shop", std::time::SystemTime::now(), "a.jpg");
    for key in [grant.key(), &never, "forged.jpg"] {
        let anonymous = scene.delete(NOBODY, key).await;
        anonymous.assert_problem(401, "unauthenticated");
        assert_eq!(anonymous.header("www-authenticate"), "Bearer");
        scene.delete(STRANGER, key).await.assert_problem(401, "unauthenticated");
        scene.delete(BOB, key).await.assert_problem(404, "not_found");
    }
    // What only names an owner proves nothing.
    let named = scene.gateway.request(Method::DELETE, &own(grant.key()));
    let named = named.with_header("X_Owner_Id", Some("owner-1")).send().await;
    named.assert_problem(401, "unauthenticated");
    // The application, for somebody whose it is not.
    let other = BACKEND.sends(scene.gateway.request(Method::DELETE, &own(grant.key())));
    let other = other.with_header("X_Owner_Id", Some("owner-2")).send().await;
    other.assert_problem(404, "not_found");
    scene.delete(VIEWER, grant.key()).await.assert_problem(403, "forbidden");
    scene.delete(ANN, &never).await.assert_problem(404, "not_found");
    scene.delete(ANN, "a%01b.jpg").await.assert_problem(400, "invalid_key");

    let told = scene.delete(BOB, grant.key()).await;
    let told_of_nothing = scene.delete(BOB, &never).await;
    assert_eq!(told.lasting(), told_of_nothing.lasting());
    assert_eq!(told.json()["detail"], told_of_nothing.json()["detail"]);

    assert_eq!(scene.state(&grant).await, "ready");
    assert!(scene.place.head(grant.key()).await.is_some());
    scene.assert_served(&grant).await;
    assert_eq!(scene.metric(&outcome("ok")).await, 0.0);
    assert_eq!(scene.metric(&outcome("unauthenticated")).await, 7.0);
    assert_eq!(scene.metric(&outcome("forbidden")).await, 1.0);
    assert_eq!(scene.metric(&outcome("invalid_key")).await, 1.0);

    assert_deleted(&scene.delete(BACKEND, grant.key()).await, &grant);
    scene.assert_gone(&grant).await;
}

#[tokio::test]
async fn an_app_without_identities_deletes_nothing() {
    let storage = Seaweed::shared().await.config();
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    let grant = gateway.uploaded("shop", PNG.file, PNG.bytes).await;
    for caller in [NOBODY, ANN] {
        let answer = caller.sends(gateway.request(Method::DELETE, &own(grant.key()))).send().await;
        answer.assert_problem(403, "forbidden");
    }
    assert_eq!(gateway.get(grant.public_url()).await.status, 200);
    let elsewhere = gateway.request(Method::DELETE, "/darkroom/nowhere/v1/images/a.jpg");
    elsewhere.send().await.assert_problem(404, "unknown_app");
    let other = gateway.get(&own(grant.key())).await;
    other.assert_problem(405, "method_not_allowed");
    assert_eq!(other.header("allow"), "DELETE, OPTIONS");
}

/// Nothing is recorded of such a key, so nothing could remember its deletion.
#[tokio::test]
async fn what_other_systems_named_is_not_deleted_here() {
    let place = Place::real().await;
    let gateway = place.setup("AcceptForeignKeys = true", "").start().await;
    let key = format!("albums/2019/{}", mint_key("other", std::time::SystemTime::now(), "a.jpg"));
    let bytes = bytes::Bytes::from_static(JPEG.bytes);
    place.store.put(&path(&key), "image/jpeg", bytes).await.unwrap();
    let delete = |caller: Caller| caller.sends(gateway.request(Method::DELETE, &own(&key))).send();
    delete(ANN).await.assert_problem(404, "not_found");
    let refused = delete(BACKEND).await;
    refused.assert_problem(400, "invalid_request");
    assert!(refused.text().contains("delete the object in storage"), "{}", refused.text());
    assert_eq!(gateway.get(&format!("/darkroom/shop/v2/images/{key}")).await.status, 200);
}

/// The database is younger than the image, as after a restore.
#[tokio::test]
async fn an_image_whose_record_is_lost_is_the_applications() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let lost = scene.database().execute("DELETE FROM uploads WHERE key = ?1", [grant.key()]);
    assert_eq!(lost.unwrap(), 1);
    scene.delete(ANN, grant.key()).await.assert_problem(404, "not_found");
    scene.delete(VIEWER, grant.key()).await.assert_problem(404, "not_found");
    scene.assert_served(&grant).await;
    assert_deleted(&scene.delete(BACKEND, grant.key()).await, &grant);
    scene.assert_gone(&grant).await;
    assert_eq!(scene.place.head(grant.key()).await, None);
    assert_deleted(&scene.delete(BACKEND, grant.key()).await, &grant);
}

#[tokio::test]
async fn a_restart_keeps_it_deleted() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    scene.deleted(&grant).await;
    let Scene { place, cdn, gateway } = scene;
    let head = format!("CloudFrontURL = \"{}\"", cdn.url());
    let gateway = gateway.restart(place.setup(&head, "")).await;
    let scene = Scene { place, cdn, gateway };
    scene.assert_gone(&grant).await;
    scene.deleted(&grant).await;
}

#[tokio::test]
async fn one_image_cannot_be_asked_about_for_ever() {
    let scene = Scene::new().await;
    let grant = scene.ready().await;
    let mut refused = None;
    for _ in 0..400 {
        let answer = scene.delete(ANN, grant.key()).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.assert_success();
    }
    refused.expect("there is a limit").assert_problem(429, "rate_limited");
    assert_eq!(scene.metric(&outcome("rate_limited")).await, 1.0);
}
