//! A gateway with three apps, and traffic that moves what the dashboards show.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::harness::collector::Collector;
use crate::harness::dev_cdn::FaultyCdn;
use crate::harness::embedded;
use crate::harness::gateway::{Grant, Setup, TestGateway, app_file, mint_key, offline_app_file};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::Answer;

const WEBHOOK_SECRET: &str = "a-webhook-secret-of-the-tests-0123456789";

/// Who has the key may be anybody; nobody here has it.
const API_KEY: &str = "[[Identity.ApiKeys]]\nID = \"backend\"\nOwners = \"any\"\n\
    Hash = \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n";

/// Impatient where the CDN is silent, and patient with a loaded machine elsewhere.
const READ: &str =
    "[Read]\nConnectTimeout = \"10s\"\nFirstByteTimeout = \"1s\"\nStallTimeout = \"500ms\"\n";

/// Each fault before the head of an answer that the CDN knows, as it counts it, and the reason under
/// which the gateway counts the fallback. In this order: a connection that just broke under a timeout
/// or noise is not in the pool, so that the next fault meets a fresh one, where it is no matter of
/// asking once more.
const FAULTS: [(&str, &str); 9] = [
    ("503", "status_5xx"),
    ("429", "status_429"),
    ("403", "status_403"),
    ("404", "status_404"),
    ("418", "status_other"),
    ("302", "redirect"),
    ("garbage", "protocol"),
    ("silence", "timeout"),
    ("reset", "connect"),
];

/// Each fault in the middle of a body, and the reason under which the gateway counts the healing.
const BODY_FAULTS: [(&str, &str); 2] = [("truncate", "short"), ("stall", "stall")];

/// The gateway and its CDN. `shop` has a CDN and a memory; `shared` asks storage for half of its reads;
/// `broken` has storage that does not exist.
pub struct Scene {
    pub gateway: TestGateway,
    cdn: FaultyCdn,
}

impl Scene {
    pub async fn start() -> Self {
        let storage = embedded::start().await;
        let cdn = FaultyCdn::start(&storage).await;
        let head = format!("CloudFrontURL = \"{}\"", cdn.url);
        let shared =
            app_file(&storage, &head, "[Read]\nOriginShare = 0.5\nMemoryCacheMaxObject = \"0B\"");
        let shared = shared.replace("KeyPrefix = \"images/\"", "KeyPrefix = \"shared/\"");
        let strict = format!("[RateLimit]\nPerOwner = {{ Rate = \"1/h\", Burst = 1 }}\n{API_KEY}");
        let collector = Collector::start().await;
        let gateway = Setup::with_app("shop", app_file(&storage, &head, READ))
            .and_app("shared", shared)
            .and_app("broken", offline_app_file("", &strict))
            .and_settings("[Cache]\nSize = \"64MiB\"\n")
            .and_settings(&format!("[Events.Push.Webhook]\nSecret = \"{WEBHOOK_SECRET}\"\n"))
            .and_settings(&collector.settings(""))
            .start()
            .await;
        Self { gateway, cdn }
    }

    /// A little of everything.
    pub async fn traffic(&self) {
        let image = self.ready("shop").await;
        for _ in 0..2 {
            self.gateway.get(image.public_url()).await.assert_success();
        }
        self.read_in_part(&image).await.assert_success();
        self.ask_without_a_right(&image).await;
        let image = self.ready("shared").await;
        for _ in 0..40 {
            self.gateway.get(image.public_url()).await.assert_success();
        }
        self.tell_of_an_upload().await;
        self.gateway.presign("shop", "owner-1", json!({"file": "a.exe"})).await;
        let parts = json!({"file": "a.jpg", "size": 9_000_000});
        self.gateway
            .request(Method::POST, "/darkroom/shop/v1/images/multipart-uploads")
            .with_header("X_Owner_Id", Some("owner-1"))
            .with_header("Content-Type", Some("application/json"))
            .with_body(parts.to_string())
            .send()
            .await
            .assert_success();
        for _ in 0..2 {
            self.gateway.presign("broken", "owner-1", json!({"file": "a.jpg"})).await;
            let key = mint_key("broken", std::time::SystemTime::now(), "a.jpg");
            let read = self.gateway.get(&format!("/darkroom/broken/v2/images/{key}")).await;
            assert_eq!(read.status, 502);
        }
    }

    /// Every fault before a head and in a body, each several times, among reads that the CDN answers.
    /// What the gateway must have counted by reason: as often as the CDN says that it failed.
    pub async fn faults(&self) -> Faults {
        let image = self.granted_and_put("shop").await;
        let (mut fallbacks, mut healed) = (BTreeMap::new(), BTreeMap::new());
        for round in 1..=2 {
            for (name, reason) in FAULTS {
                *fallbacks.entry(reason).or_default() += self.fail(name, &image).await;
                // So that no breaker opens: that is for another time.
                if !matches!(name, "garbage" | "silence") {
                    self.read_in_part(&image).await.assert_success();
                    self.read_in_part(&image).await.assert_success();
                }
            }
            for (name, reason) in BODY_FAULTS {
                *healed.entry(reason).or_default() += self.fail(name, &image).await;
                self.read_in_part(&image).await.assert_success();
            }
            let counted: u64 = fallbacks.values().sum();
            assert_eq!(counted, round * FAULTS.len() as u64, "each fault hit one read");
        }
        Faults { fallbacks, healed }
    }

    /// Has one read fail; how often the CDN says that it did.
    async fn fail(&self, name: &str, image: &Grant) -> u64 {
        let mut order = match name.parse::<u16>() {
            Ok(status) => json!({"fault": "status", "status": status}),
            Err(_) if name == "truncate" || name == "stall" => {
                json!({"fault": name, "after": 1000})
            }
            Err(_) => json!({"fault": name}),
        };
        order["count"] = json!(1);
        order["path_prefix"] = json!("images/");
        self.cdn.order(&order).await;
        let answer = self.read_in_part(image).await;
        assert!(answer.is_whole && answer.body == JPEG.bytes[1..], "{name}: the image is whole");
        let fired = self.cdn.fired().await;
        self.cdn.clear().await;
        fired.get(name).copied().unwrap_or(0)
    }

    /// The CDN falls silent until its breaker opens; how many reads were answered because it was open.
    pub async fn blackout(&self) -> u64 {
        let image = self.granted_and_put("shop").await;
        self.cdn.order(&json!({"fault": "silence", "path_prefix": "images/"})).await;
        let mut open = 0;
        while open < 5 {
            let answer = self.read_in_part(&image).await;
            assert!(answer.body == JPEG.bytes[1..], "the image is whole");
            open += u64::from(answer.header("cache-status").contains("cdn=breaker_open"));
        }
        open
    }

    /// An upload whose object is there.
    async fn granted_and_put(&self, app: &str) -> Grant {
        self.gateway.uploaded(app, JPEG.file, JPEG.bytes).await
    }

    /// An upload that was finalized.
    async fn ready(&self, app: &str) -> Grant {
        let grant = self.granted_and_put(app).await;
        let finalize = self.gateway.request(Method::POST, grant.text("finalizeURL"));
        finalize.send().await.assert_success();
        grant
    }

    /// A read of all but the first byte, which memory fetches nothing for.
    async fn read_in_part(&self, image: &Grant) -> Answer {
        let read = self.gateway.request(Method::GET, image.public_url());
        read.with_header("Range", Some("bytes=1-")).send().await
    }

    /// Asks for what only an owner who proves it may have.
    async fn ask_without_a_right(&self, image: &Grant) {
        let path = format!("/darkroom/shop/v1/images/{}", image.key());
        for (method, path) in
            [(Method::DELETE, path.clone()), (Method::POST, format!("{path}/signed-urls"))]
        {
            let refused = self.gateway.request(method, &path).send().await;
            assert!(refused.status.is_client_error(), "{path}: {}", refused.status);
        }
    }

    /// An upload of which storage tells.
    async fn tell_of_an_upload(&self) {
        let grant = self.granted_and_put("shop").await;
        let event: Value = json!({"Records": [{
            "eventName": "ObjectCreated:Put",
            "eventTime": jiff::Timestamp::now().to_string(),
            "s3": {
                "bucket": {"name": embedded::BUCKET},
                "object": {"key": format!("images/{}", grant.key()), "eTag": ""},
            },
        }]});
        let told = self
            .gateway
            .request(Method::POST, "/darkroom/_events/webhook")
            .with_header("Authorization", Some(&format!("Bearer {WEBHOOK_SECRET}")))
            .with_body(event.to_string());
        assert_eq!(told.send().await.status, 204);
    }
}

/// How often the CDN failed, by the reason under which the gateway must have counted it.
pub struct Faults {
    pub fallbacks: BTreeMap<&'static str, u64>,
    pub healed: BTreeMap<&'static str, u64>,
}
