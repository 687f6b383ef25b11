//! An object in storage, and a CDN's copy of it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use safelight::domain::StoragePath;
use safelight::storage::{ObjectMeta, ObjectStore as _, S3Config};

use super::gateway::mint_key;
use super::photos::Photo;
use super::seaweed::open;
use super::wire_cdn::CdnObject;

/// An object that lies in storage under the key prefix of the tests.
pub struct Published {
    /// The key, as it stands in a URL.
    pub key: String,
    pub bytes: Bytes,
    /// What storage says of it.
    pub meta: ObjectMeta,
}

impl Published {
    /// A photo of the app `shop` under a key that is a day old.
    pub async fn photo(storage: &S3Config, photo: Photo) -> Self {
        let yesterday = SystemTime::now() - Duration::from_secs(86_400);
        let key = mint_key("shop", yesterday, photo.file);
        Self::under(storage, &key, photo.content_type, Bytes::from_static(photo.bytes)).await
    }

    /// Any object, under a key that is not encoded.
    pub async fn under(storage: &S3Config, key: &str, content_type: &str, bytes: Bytes) -> Self {
        let store = open(storage.clone());
        let path = StoragePath::from_listing(&format!("images/{key}"));
        store.put(&path, content_type, bytes.clone()).await.unwrap();
        let meta = store.head(&path).await.unwrap();
        let key = StoragePath::from_listing(key).to_url_path().into_owned();
        Self { key, bytes, meta }
    }

    /// The path of the public URL.
    pub fn path(&self) -> String {
        format!("/darkroom/shop/v2/images/{}", self.key)
    }

    /// The path at the CDN.
    pub fn cdn_path(&self) -> String {
        format!("/images/{}", self.key)
    }

    /// The strong tag that storage gives it.
    pub fn etag(&self) -> &str {
        self.meta.etag.as_ref().expect("storage gives tags").as_str()
    }

    /// The copy that a CDN has.
    pub fn copy(&self) -> CdnObject {
        CdnObject::copy_of(&self.meta, self.bytes.clone())
    }

    /// Puts other bytes in its place, at storage alone.
    pub async fn replace(&self, storage: &S3Config, bytes: Bytes) {
        let path = StoragePath::from_listing(&format!("images/{}", self.key));
        open(storage.clone()).put(&path, "image/jpeg", bytes).await.unwrap();
    }
}
