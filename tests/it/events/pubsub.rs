//! Events that Google Cloud Pub/Sub pushes, with tokens that are really signed.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use safelight::identity::RemoteKeys;
use safelight::identity::google_token::ALGORITHM;
use safelight::upstream::{AddressPolicy, Client};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{counted, state_of};
use crate::harness::fake_gcs::{BUCKET, FakeGcs, KEY_FILE, storage_section};
use crate::harness::gateway::{Grant, Setup, TestGateway};
use crate::harness::google::{KeyServer, SigningKey, unsigned};
use crate::harness::photos::JPEG;
use crate::harness::plain_client::Answer;

const AUDIENCE: &str = "https://media.test/darkroom/_events/pubsub";
const ACCOUNT: &str = "push@safelight-tests.iam.gserviceaccount.com";

async fn shop(keys: &KeyServer) -> TestGateway {
    let endpoint = FakeGcs::shared().await.config().await.endpoint.expect("an emulator has one");
    let app = format!("AllowPublicUpload = true\n{}", storage_section(&endpoint));
    let settings = format!(
        "[Events]\nPush = {{ PubSub = {{ Audience = \"{AUDIENCE}\", \
         ServiceAccount = \"{ACCOUNT}\", JWKSURL = \"{}\" }} }}\n",
        keys.url
    );
    let setup = Setup::with_app("shop", app).and_secret("shop/key.json", KEY_FILE);
    setup.and_settings(&settings).start().await
}

fn seconds(from_now: i64) -> i64 {
    jiff::Timestamp::now().as_second() + from_now
}

fn claims() -> Value {
    json!({"iss": "https://accounts.google.com", "aud": AUDIENCE, "sub": "1137",
        "email": ACCOUNT, "email_verified": true, "iat": seconds(-10), "exp": seconds(3590)})
}

/// The claims with one of them changed.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

/// An event as a push subscription wraps it.
fn event(kind: &str, key: &str, generation: &str) -> Value {
    json!({"message": {"attributes": {"bucketId": BUCKET, "eventType": kind,
        "objectId": format!("images/{key}"), "objectGeneration": generation,
        "eventTime": "2026-11-21T10:00:00.000000Z", "payloadFormat": "NONE"},
        "messageId": "2070443601311540"}, "subscription": "projects/p/subscriptions/s"})
}

async fn push(gateway: &TestGateway, token: &str, event: &Value) -> Answer {
    gateway
        .request(Method::POST, "/darkroom/_events/pubsub")
        .with_header("Authorization", Some(&format!("Bearer {token}")))
        .with_body(event.to_string())
        .send()
        .await
}

async fn put(grant: &Grant) -> String {
    let answer = grant.put(JPEG.bytes).send().await;
    answer.assert_success();
    answer.header("x-goog-generation").to_owned()
}

#[tokio::test]
async fn without_a_finalize_an_event_makes_it_ready() {
    let keys = KeyServer::start().await;
    let gateway = shop(&keys).await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let generation = put(&grant).await;
    let token = SigningKey::first().sign(&claims());
    let created = event("OBJECT_FINALIZE", grant.key(), &generation);
    for outcome in ["verified", "duplicate"] {
        let answer = push(&gateway, &token, &created).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        assert_eq!(counted(&gateway, "pubsub", outcome).await, 1.0, "{outcome}");
        assert_eq!(state_of(&gateway, &grant).await, "ready");
    }
    let other = event("OBJECT_FINALIZE", grant.key(), "1");
    assert_eq!(push(&gateway, &token, &other).await.status, 204);
    assert_eq!(counted(&gateway, "pubsub", "verified").await, 2.0, "another generation");
    for kind in ["OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"] {
        let event = event(kind, grant.key(), &generation);
        assert_eq!(push(&gateway, &token, &event).await.status, 204);
    }
    assert_eq!(counted(&gateway, "pubsub", "ignored").await, 3.0);
    assert_eq!(state_of(&gateway, &grant).await, "ready");
    assert_eq!(keys.asked(), 1, "the keys are kept");
}

#[tokio::test]
async fn a_forged_token_changes_nothing() {
    let keys = KeyServer::start().await;
    let gateway = shop(&keys).await;
    let grant = gateway.granted("shop", JPEG.file).await;
    let created = event("OBJECT_FINALIZE", grant.key(), &put(&grant).await);
    let key = SigningKey::first();
    let genuine = key.sign(&claims());
    let no_algorithm = unsigned(&json!({"alg": "none", "kid": key.id}), &claims());
    let hmac = {
        let signed = unsigned(&json!({"alg": "HS256", "kid": key.id}), &claims());
        let public = key.jwk().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(public.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let another_signature = {
        let (signed, _) = genuine.rsplit_once('.').unwrap();
        let other = key.sign(&with("sub", json!("1138")));
        format!("{signed}.{}", other.rsplit_once('.').unwrap().1)
    };
    let forged = [
        ("another issuer", key.sign(&with("iss", json!("https://accounts.example")))),
        ("another audience", key.sign(&with("aud", json!("https://media.test/")))),
        ("another account", key.sign(&with("email", json!("x@y.iam.gserviceaccount.com")))),
        ("not verified", key.sign(&with("email_verified", json!(false)))),
        ("expired", key.sign(&with("exp", json!(seconds(-120))))),
        ("no algorithm", format!("{no_algorithm}.")),
        ("HMAC with the public key", hmac),
        ("an unknown key", SigningKey::second().sign(&claims())),
        ("another token's signature", another_signature),
        ("no signature", genuine.rsplit_once('.').unwrap().0.to_owned()),
        ("no token", "token".to_owned()),
        ("nothing", String::new()),
    ];
    for (why, token) in &forged {
        let answer = push(&gateway, token, &created).await;
        assert_eq!(answer.status, 401, "{why}");
        answer.assert_problem(401, "unauthenticated");
        // Whoever forges learns nothing of what was wrong.
        assert_eq!(answer.json()["detail"], push(&gateway, "", &created).await.json()["detail"]);
    }
    let refused = counted(&gateway, "pubsub", "unauthenticated").await;
    assert_eq!(refused, f64::from(u32::try_from(2 * forged.len()).unwrap()));
    assert_eq!(state_of(&gateway, &grant).await, "pending");
    assert_eq!(push(&gateway, &genuine, &created).await.status, 204);
    assert_eq!(state_of(&gateway, &grant).await, "ready");
}

#[tokio::test]
async fn what_cannot_be_read_is_not_acknowledged() {
    let gateway = shop(&KeyServer::start().await).await;
    let token = SigningKey::first().sign(&claims());
    for event in [json!({}), json!({"message": {}}), json!({"Records": []}), json!([])] {
        push(&gateway, &token, &event).await.assert_problem(400, "invalid_json");
    }
    assert_eq!(counted(&gateway, "pubsub", "malformed").await, 4.0);
}

fn google_keys(server: &KeyServer) -> RemoteKeys {
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let client = Client::new(policy).expect("the system has certificate authorities");
    RemoteKeys::new("the tests", &server.url.parse().unwrap(), ALGORITHM, client).unwrap()
}

/// Time is told, so nobody waits for it.
#[tokio::test]
async fn keys_are_rotated_kept_and_not_asked_for_too_often() {
    let server = KeyServer::start().await;
    let keys = google_keys(&server);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(keys.with("first", at(0)).await.has("first"));
    assert!(keys.with("first", at(3599)).await.has("first"));
    assert_eq!(server.asked(), 1, "they are kept for an hour");

    server.publish(&[SigningKey::second()]);
    assert!(keys.with("second", at(3599)).await.has("second"), "an unknown key is asked for");
    assert_eq!(server.asked(), 2);
    for id in ["first", "made-up", "another"] {
        assert!(!keys.with(id, at(3605)).await.has(id));
    }
    assert_eq!(server.asked(), 2, "whatever tokens name");
    assert!(!keys.with("made-up", at(3609)).await.has("first"), "what was withdrawn is gone");
    assert_eq!(server.asked(), 3);

    server.fail();
    assert!(keys.with("second", at(9000)).await.has("second"), "the last ones stay in use");
    assert_eq!(server.asked(), 4);
    assert!(keys.with("second", at(9005)).await.has("second"));
    assert_eq!(server.asked(), 4);
    server.publish(&[SigningKey::first(), SigningKey::second()]);
    assert!(keys.with("first", at(9010)).await.has("first"));
    // A clock that was set back ends every wait.
    assert!(keys.with("first", at(0)).await.has("first"));
    assert_eq!(server.asked(), 6);
}

#[tokio::test]
async fn one_question_does_for_all() {
    let server = KeyServer::start().await;
    let keys = google_keys(&server);
    let now = SystemTime::now();
    let found = join_all((0..32).map(|_| keys.with("first", now))).await;
    assert!(found.iter().all(|keys| keys.has("first")));
    assert_eq!(server.asked(), 1);
}
