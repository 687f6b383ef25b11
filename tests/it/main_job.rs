//! The main job: a signed URL, an upload straight to storage, and a read at the public URL.

use crate::harness::embedded;
use crate::harness::fake_gcs::{FakeGcs, KEY_FILE, storage_section};
use crate::harness::gateway::{Setup, TestGateway, app_file};
use crate::harness::photos;
use crate::harness::seaweed::Seaweed;

#[tokio::test]
async fn a_photo_goes_up_and_comes_back_byte_for_byte() {
    let storage = Seaweed::shared().await.config();
    round_trip(Setup::with_app("shop", app_file(&storage, "", "")).start().await).await;
}

#[tokio::test]
async fn and_the_same_on_the_embedded_store() {
    let storage = embedded::start().await;
    let file = format!(
        "AllowPublicUpload = true\n[Storage]\nKind = \"embedded\"\nBucket = \"{}\"\n",
        embedded::BUCKET
    );
    let setup = Setup::with_app("shop", file).and_embedded(embedded::access(&storage));
    round_trip(setup.start().await).await;
}

#[tokio::test]
async fn and_the_same_on_google_cloud_storage() {
    let endpoint = FakeGcs::shared().await.config().await.endpoint.expect("an emulator has one");
    let file = format!("AllowPublicUpload = true\n{}", storage_section(&endpoint));
    round_trip(Setup::with_app("shop", file).and_secret("shop/key.json", KEY_FILE).start().await)
        .await;
}

async fn round_trip(gateway: TestGateway) {
    for photo in photos::ALL {
        let grant = gateway.uploaded("shop", photo.file, photo.bytes).await;
        let answer = gateway.get(grant.public_url()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), photo.content_type);
        assert!(answer.body == photo.bytes, "{} came back changed", photo.file);
    }
}
