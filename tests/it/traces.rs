//! Traces: whose word is believed, what CDN and storage are told, and what a collector gets.

mod exporting;
mod passing;

use http::Method;
use safelight::storage::S3Config;

use crate::harness::gateway::{Setup, TestGateway, app_file};
use crate::harness::photos::WEBP;
use crate::harness::plain_client::{Answer, Plain};
use crate::harness::published::Published;
use crate::harness::seaweed::Seaweed;
use crate::harness::wire_cdn::{SeenRequest, WireCdn};

/// The tests' own peer is 127.0.0.1.
const TRUSTED: &[&str] = &["127.0.0.0/8"];
const ELSEWHERE: &[&str] = &["10.0.0.0/8", "::1/128"];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

/// Limits that no loaded machine reaches.
const PATIENT: &str = "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"10s\"";

/// A gateway of which both sources are on bare sockets, which remember what they were asked.
struct Scene {
    cdn: WireCdn,
    storage: WireCdn,
    gateway: TestGateway,
    photo: Published,
}

impl Scene {
    /// With these networks trusted, and these settings.
    async fn new(trusted: &[&str], settings: &str) -> Self {
        Self::with(trusted, settings, PATIENT).await
    }

    async fn with(trusted: &[&str], settings: &str, sections: &str) -> Self {
        let (cdn, storage) = (WireCdn::start().await, WireCdn::start().await);
        let real = Seaweed::shared().await.config();
        let photo = Published::photo(&real, WEBP).await;
        cdn.put(&photo.cdn_path(), photo.copy());
        storage.put(&format!("/{}{}", real.bucket, photo.cdn_path()), photo.copy());
        let endpoint = Some(storage.url().parse().expect("it is a URL"));
        let wired = S3Config { endpoint, path_style: true, ..real };
        let head = format!("CloudFrontURL = \"{}\"", cdn.url());
        let setup = Setup::with_app("shop", app_file(&wired, &head, sections));
        let gateway = setup.trusting(trusted).and_settings(settings).start().await;
        Self { cdn, storage, gateway, photo }
    }

    fn request(&self) -> Plain {
        self.gateway.request(Method::GET, &self.photo.path())
    }

    /// Reads the photo, which must come whole, as part of a trace that has this flag.
    async fn read(&self, flag: &str) -> Answer {
        let parent = format!("00-{TRACE}-{PARENT}-{flag}");
        let request = self.request().with_header("traceparent", Some(&parent));
        self.whole(request.with_header("tracestate", Some(STATE))).await
    }

    async fn whole(&self, request: Plain) -> Answer {
        let answer = request.send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.is_whole && answer.body == self.photo.bytes);
        answer
    }

    /// Stops the gateway, which sends what it has recorded.
    async fn stop(self) -> (WireCdn, WireCdn) {
        self.gateway.stop().await;
        (self.cdn, self.storage)
    }
}

/// What a server was told of a trace: `traceparent` and `tracestate`.
fn told(request: &SeenRequest) -> (Option<&str>, Option<&str>) {
    (request.header("traceparent"), request.header("tracestate"))
}

#[track_caller]
fn only(server: &WireCdn) -> SeenRequest {
    let mut requests = server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}
