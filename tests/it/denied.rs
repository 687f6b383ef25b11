//! A 403 of storage, which S3 gives for a missing object to whoever may not list the bucket: a
//! missing photo only where reading is known to work and no record says that the photo is there.

use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use safelight::storage::S3Config;

use crate::harness::gateway::{Setup, TestGateway, app_file, mint_key};
use crate::harness::photos::JPEG;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{Act, CdnObject, Reply, WireCdn};

/// A gateway whose storage is a server on a raw socket, in the role of S3.
struct Scene {
    gateway: TestGateway,
    storage: WireCdn,
    bucket: String,
}

impl Scene {
    async fn new() -> Self {
        let storage = WireCdn::start().await;
        let endpoint = Some(storage.url().parse().unwrap());
        let config = S3Config { endpoint, ..Seaweed::shared().await.config() };
        let gateway = Setup::with_app("shop", app_file(&config, "", "")).start().await;
        Self { gateway, storage, bucket: config.bucket }
    }

    fn has(&self, key: &str) {
        let object = CdnObject { bytes: Bytes::from_static(JPEG.bytes), headers: Vec::new() };
        let object = object.and("Content-Type", JPEG.content_type).and("ETag", "\"v1\"");
        self.storage.put(&format!("/{}/images/{key}", self.bucket), object);
    }

    /// Reads a key of which storage says that it may not be read.
    async fn read_denied(
        &self,
        key: &str,
        code: &'static str,
    ) -> crate::harness::plain_client::Answer {
        self.storage.next(Act::but(move |reply| deny(reply, code)));
        self.gateway.get(&format!("/darkroom/shop/v2/images/{key}")).await
    }
}

fn deny(reply: &mut Reply, code: &str) {
    reply.status = 403;
    reply.headers = vec![("Content-Type".into(), "application/xml".into())];
    let document = format!("<Error><Code>{code}</Code><Message>No</Message></Error>");
    reply.body = Bytes::from(document);
}

fn any_key() -> String {
    mint_key("shop", SystemTime::now(), JPEG.file)
}

#[tokio::test]
async fn a_denied_read_is_a_missing_photo_only_where_reads_are_known_to_work() {
    let scene = Scene::new().await;
    let first = scene.read_denied(&any_key(), "AccessDenied").await;
    first.assert_problem(502, "storage_failed");

    let present = any_key();
    scene.has(&present);
    let path = format!("/darkroom/shop/v2/images/{present}");
    assert_eq!(scene.gateway.get(&path).await.status, 200);
    let second = scene.read_denied(&any_key(), "AccessDenied").await;
    second.assert_problem(404, "not_found");

    for code in
        ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed"]
    {
        let broken = scene.read_denied(&any_key(), code).await;
        broken.assert_problem(502, "storage_failed");
    }
}

#[tokio::test]
async fn a_photo_that_is_recorded_as_ready_is_never_called_missing() {
    let scene = Scene::new().await;
    let grant = scene.gateway.granted("shop", JPEG.file).await;
    scene.has(grant.key());
    let finalize = grant.text("finalizeURL").to_owned();
    scene.gateway.request(Method::POST, &finalize).send().await.assert_success();
    assert_eq!(scene.gateway.get(grant.public_url()).await.status, 200);

    let denied = scene.read_denied(grant.key(), "AccessDenied").await;
    denied.assert_problem(502, "storage_failed");
    let unknown = scene.read_denied(&any_key(), "AccessDenied").await;
    unknown.assert_problem(404, "not_found");
}
