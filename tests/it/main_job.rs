//! The main job: a signed URL, an upload straight to storage, and a read at the public URL.

use crate::harness::gateway::{Setup, app_file};
use crate::harness::photos;
use crate::harness::seaweed::Seaweed;

#[tokio::test]
async fn a_photo_goes_up_and_comes_back_byte_for_byte() {
    let storage = Seaweed::shared().await.config();
    let gateway = Setup::with_app("shop", app_file(&storage, "", "")).start().await;
    for photo in photos::ALL {
        let grant = gateway.uploaded("shop", photo.file, photo.bytes).await;
        let answer = gateway.get(grant.public_url()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), photo.content_type);
        assert!(answer.body == photo.bytes, "{} came back changed", photo.file);
    }
}
