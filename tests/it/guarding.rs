//! What stands between reads and a CDN that is not well, over real sockets: the breaker, hedged
//! reads, the share of reads that goes to storage in any case, and the limit on what storage is sent.
//!
//! No outcome here depends on how long something takes: a fault lasts until the test ends it, and
//! what must be quick is compared with something that takes longer by itself.

mod breaker;
mod hedging;
mod overload;
mod share;

use std::sync::Arc;

use http::Method;
use safelight::domain::FallbackReason;
use safelight::storage::S3Config;
use tokio::sync::watch;
use url::Url;

use crate::harness::gateway::{Setup, TestGateway, app_file};
use crate::harness::photos;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{Act, WireCdn};

/// Limits that nothing here waits for: each source still has ten seconds for a read.
const PATIENT: &str = "[Read]\nConnectTimeout = \"60s\"\nFirstByteTimeout = \"60s\"\n";

/// A photo in storage and at a CDN, and a gateway that asks the CDN first.
struct Scene {
    photo: Published,
    cdn: WireCdn,
    gateway: TestGateway,
}

impl Scene {
    /// With these keys beside the limits in `[Read]`.
    async fn new(keys: &str) -> Self {
        let storage = Seaweed::shared().await.config();
        let photo = Published::photo(&storage, photos::WEBP).await;
        Self::on(&storage, photo, keys).await
    }

    /// The same on another storage than the one that the photo was put into.
    async fn on(storage: &S3Config, photo: Published, keys: &str) -> Self {
        let cdn = WireCdn::start().await;
        cdn.put(&photo.cdn_path(), photo.copy());
        let head = format!("CloudFrontURL = \"{}\"", cdn.url());
        let file = app_file(storage, &head, &format!("{PATIENT}{keys}"));
        let gateway = Setup::with_app("shop", file).start().await;
        Self { photo, cdn, gateway }
    }

    fn request(&self) -> Plain {
        self.gateway.request(Method::GET, &self.photo.path())
    }

    /// Reads the photo: it comes whole and right, whoever serves it.
    async fn read(&self) -> Answer {
        let answer = self.request().send().await;
        self.assert_right(&answer);
        answer
    }

    /// So many reads at once, each on a connection of its own.
    async fn reads(&self, count: usize) -> Vec<Answer> {
        let reads = (0..count).map(|_| self.request().send());
        let answers = futures_util::future::join_all(reads).await;
        answers.iter().for_each(|answer| self.assert_right(answer));
        answers
    }

    #[track_caller]
    fn assert_right(&self, answer: &Answer) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.is_whole && answer.body == self.photo.bytes, "the bytes are others");
    }

    /// 0 closed, 1 half-open, 2 open.
    async fn breaker(&self) -> f64 {
        self.gateway.metrics().await.value(&breaker_of("shop"))
    }

    /// How many requests the CDN has seen.
    fn asked(&self) -> usize {
        self.cdn.seen(|seen| seen.requests.len())
    }
}

fn breaker_of(app: &str) -> String {
    format!("safelight_cdn_breaker_state{{app=\"{app}\"}}")
}

#[track_caller]
fn assert_from_cdn(answer: &Answer) {
    assert_eq!(answer.header("cache-status"), "safelight; fwd=uri-miss; detail=cdn");
}

/// Storage served it, for this reason.
#[track_caller]
fn assert_fell_back(answer: &Answer, reason: FallbackReason) {
    let expected = format!("safelight; fwd=uri-miss; detail=\"storage; cdn={}\"", reason.label());
    assert_eq!(answer.header("cache-status"), expected);
}

/// A store on a bare socket, which takes any signature and has this object; and its settings.
async fn wire_store(behind: &S3Config, object: &Published) -> (WireCdn, S3Config) {
    let store = WireCdn::start().await;
    store.put(&format!("/{}{}", behind.bucket, object.cdn_path()), object.copy());
    let endpoint = Some(Url::parse(&store.url()).unwrap());
    (store, S3Config { endpoint, ..behind.clone() })
}

/// Keeps answers back until it is opened.
#[derive(Clone)]
struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    fn open(&self) {
        self.0.send_replace(true);
    }

    /// The act, but not before the gate is open.
    fn before(&self, act: Act) -> Act {
        let mut opened = self.0.subscribe();
        act.after(async move {
            // The gate may be gone with its test.
            let _ = opened.wait_for(|opened| *opened).await;
        })
    }
}
