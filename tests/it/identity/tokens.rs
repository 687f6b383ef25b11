//! JSON Web Tokens of an issuer.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use futures_util::poll;
use hmac::{Hmac, KeyInit as _, Mac as _};
use safelight::domain::{AppName, IdentityOutcome};
use safelight::identity::{Algorithm, Identity, IdentityConfig, JwtConfig, KeySource};
use safelight::upstream::{AddressPolicy, Client};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    assert_unproved, assert_wrong_credential, begin, call, counted, granted, private_app, records,
};
use crate::harness::gateway::{Setup, TestGateway};
use crate::harness::google::{KeyServer, SigningKey, unsigned};
use crate::harness::python;

const ISSUER: &str = "https://auth.shop.test/";
const AUDIENCE: &str = "shop-media";

fn section(keys: &str, algorithm: &str) -> String {
    format!(
        "[Identity.Jwt]\nIssuer = \"{ISSUER}\"\nAudience = \"{AUDIENCE}\"\nJWKS = \"{keys}\"\n\
         Algorithm = \"{algorithm}\"\n"
    )
}

async fn shop(keys: &KeyServer) -> TestGateway {
    Setup::with_app("shop", private_app(&section(&keys.url, "RS256"))).start().await
}

fn seconds(from_now: i64) -> i64 {
    jiff::Timestamp::now().as_second() + from_now
}

fn claims(owner: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": owner, "exp": seconds(600)})
}

/// The claims of an owner, with one of them changed.
fn with_claim(claim: &str, value: Value) -> Value {
    let mut claims = claims("ann");
    claims[claim] = value;
    claims
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn token_of(owner: &str) -> String {
    bearer(&SigningKey::first().sign(&claims(owner)))
}

/// Tokens with these claims that joserfc has signed: the algorithm, the key set, the token.
fn joserfc(claims: &Value) -> Vec<Value> {
    let lines = python::run("identity/joserfc_tokens.py", claims.to_string());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn tokens_that_others_have_signed() {
    let signed = joserfc(&claims("ann"));
    let names: Vec<_> = signed.iter().map(|one| one["algorithm"].as_str().unwrap()).collect();
    assert_eq!(names, ["RS256", "ES256", "EdDSA", "Ed25519"]);
    let server = KeyServer::start().await;
    for one in &signed {
        let name = one["algorithm"].as_str().unwrap();
        let authorization = bearer(one["token"].as_str().unwrap());
        let headers = [("Authorization", &*authorization)];
        server.publish_set(one["jwks"].clone());
        let configured = if name == "Ed25519" { "EdDSA" } else { name };
        let setup = |keys: &str, algorithm: &str| {
            Setup::with_app("shop", private_app(&section(keys, algorithm)))
                .and_secret("shop/keys.json", &one["jwks"].to_string())
        };
        for keys in [&*server.url, "file:keys.json"] {
            let gateway = setup(keys, configured).start().await;
            let grant = granted(&gateway, &headers).await;
            let id = grant.text("uploadID");
            call(&gateway, id, ("GET", ""), &headers).await.assert_success();
            assert_eq!(counted(&gateway, "jwt", "proved").await, 2.0, "{name} {keys}");
        }
        // An app that expects another algorithm has no key for it and takes none of its tokens.
        let other = if configured == "RS256" { "ES256" } else { "RS256" };
        let gateway = setup(&server.url, other).start().await;
        assert_wrong_credential(&begin(&gateway, &headers).send().await);
        assert_eq!(counted(&gateway, "jwt", "algorithm").await, 1.0, "{name}");
    }
}

#[tokio::test]
async fn the_owner_is_who_the_token_says() {
    let gateway = shop(&KeyServer::start().await).await;
    let (ann, bob) = (token_of("ann"), token_of("bob"));
    let (ann, bob) = (("Authorization", &*ann), ("Authorization", &*bob));
    let grant = granted(&gateway, &[ann]).await;
    let id = grant.text("uploadID");
    granted(&gateway, &[bob, ("X_Owner_Id", "bob")]).await;
    assert_eq!(records(&gateway), 2);

    for (headers, status, code) in [
        (vec![ann, ("X_Owner_Id", "bob")], 403, "forbidden"),
        (vec![ann, ("X-Owner-Id", "bob")], 403, "forbidden"),
        (vec![ann, ("X_Owner_Id", "Ann")], 403, "forbidden"),
        (vec![ann, ("X_Owner_Id", "ann"), ("X-Owner-Id", "bob")], 400, "ambiguous_owner_id"),
        (vec![ann, ("X_Owner_Id", "a b")], 400, "invalid_owner_id"),
    ] {
        begin(&gateway, &headers).send().await.assert_problem(status, code);
    }
    assert_eq!(counted(&gateway, "jwt", "other_owner").await, 3.0);

    // What is bob's is his, whatever ann says.
    call(&gateway, id, ("GET", ""), &[ann]).await.assert_success();
    call(&gateway, id, ("GET", ""), &[bob]).await.assert_problem(404, "upload_not_found");
    let claimed = call(&gateway, id, ("GET", ""), &[bob, ("X_Owner_Id", "ann")]).await;
    claimed.assert_problem(403, "forbidden");
    assert_eq!(records(&gateway), 2);
}

/// A token whose signature is an HMAC, with the public key for a secret.
fn hmac_token(key: &SigningKey) -> String {
    let signed = unsigned(&json!({"alg": "HS256", "kid": key.id}), &claims("ann"));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.jwk().to_string().as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// The answer is one and the same, and costs nobody anything: no record, no limit, no body is read.
#[tokio::test]
async fn a_wrong_token_gets_nowhere() {
    let gateway = shop(&KeyServer::start().await).await;
    let (key, stranger) = (SigningKey::first(), SigningKey::second());
    let genuine = key.sign(&claims("ann"));
    let none = json!({"alg": "none", "kid": "first"});
    let rows = [
        ("malformed", String::new()),
        ("malformed", "safelight_0123".to_owned()),
        ("malformed", format!("{genuine}=")),
        ("malformed", key.sign(&with_claim("groups", json!("x".repeat(9000))))),
        ("malformed", key.sign(&with_claim("sub", json!(["ann"])))),
        ("algorithm", format!("{}.", unsigned(&none, &claims("ann")))),
        ("algorithm", hmac_token(&key)),
        ("unknown_key", stranger.sign(&claims("ann"))),
        ("signature", format!("{}AA", &genuine[..genuine.len() - 2])),
        ("time", key.sign(&with_claim("exp", json!(seconds(-61))))),
        ("time", key.sign(&with_claim("nbf", json!(seconds(120))))),
        ("issuer", key.sign(&with_claim("iss", json!("https://auth.shop.test")))),
        ("audience", key.sign(&with_claim("aud", json!("other")))),
        ("account", key.sign(&with_claim("sub", json!("a b")))),
    ];
    for (outcome, token) in &rows {
        let before = counted(&gateway, "jwt", outcome).await;
        let authorization = bearer(token);
        let headers = [("Authorization", &*authorization), ("X_Owner_Id", "ann")];
        let answer = begin(&gateway, &headers).with_body("not looked at").send().await;
        assert_wrong_credential(&answer);
        assert_eq!(counted(&gateway, "jwt", outcome).await, before + 1.0, "{outcome}: {token}");
    }
    let headers = [("X_Owner_Id", "ann")];
    assert_unproved(&begin(&gateway, &headers).with_body("not looked at").send().await);
    assert_eq!(counted(&gateway, "jwt", "absent").await, 1.0);
    let outcome = "safelight_presigns_total{app=\"shop\",outcome=\"unauthenticated\"}";
    assert_eq!(gateway.metrics().await.value(outcome), rows.len() as f64 + 1.0);

    assert_eq!(records(&gateway), 0);
    // The only upload of the hour is still there.
    granted(&gateway, &[("Authorization", &bearer(&genuine))]).await;
}

/// Nobody fetches keys for what cannot be right whatever they are.
#[tokio::test]
async fn nobody_is_asked_for_the_keys_of_what_is_no_token() {
    let server = KeyServer::start().await;
    let gateway = shop(&server).await;
    for token in ["x", &hmac_token(&SigningKey::first())] {
        let answer = begin(&gateway, &[("Authorization", &bearer(token))]).send().await;
        assert_wrong_credential(&answer);
    }
    assert_unproved(&begin(&gateway, &[]).send().await);
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn without_the_issuers_keys_nobody_is_refused_for_good() {
    let server = KeyServer::start().await;
    server.fail();
    let gateway = shop(&server).await;
    let token = token_of("ann");
    let answer = begin(&gateway, &[("Authorization", &*token)]).send().await;
    answer.assert_problem(503, "identity_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.headers.contains_key("www-authenticate"));
    assert_eq!(counted(&gateway, "jwt", "unavailable").await, 1.0);
    assert_eq!(records(&gateway), 0);
}

fn identity(server: &KeyServer) -> Identity {
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let client = Client::new(policy).expect("the system has certificate authorities");
    let config = JwtConfig {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        algorithm: Algorithm::Rs256,
        owner_claim: "sub".into(),
        keys: KeySource::Url(server.url.parse().unwrap()),
    };
    let app = AppName::parse("shop").unwrap();
    Identity::open(IdentityConfig::Jwt(config), &app, &client).unwrap()
}

/// Time is told, so nobody waits for it.
#[tokio::test]
async fn keys_are_rotated_withdrawn_and_kept_through_an_outage() {
    let server = KeyServer::start().await;
    let identity = identity(&server);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": 1_900_000_000});
    let [first, second] = [SigningKey::first(), SigningKey::second()].map(|key| key.sign(&claims));
    let outcome = async |token: &str, after: u64| {
        let checked = identity.check(token, start + Duration::from_secs(after)).await;
        checked.map(|proof| proof.caller.acts_for().unwrap().as_str().to_owned())
    };
    let (ann, unknown) = (|| Ok("ann".to_owned()), || Err(IdentityOutcome::UnknownKey));
    server.fail();
    assert_eq!(outcome(&first, 0).await, Err(IdentityOutcome::Unavailable));
    server.publish(&[SigningKey::first()]);
    assert_eq!(outcome(&first, 9).await, Err(IdentityOutcome::Unavailable), "not asked again");
    assert_eq!(outcome(&first, 10).await, ann());
    assert_eq!(outcome(&second, 19).await, unknown());
    server.publish(&[SigningKey::first(), SigningKey::second()]);
    assert_eq!(outcome(&second, 20).await, ann(), "an unknown key is looked for");
    assert_eq!(server.asked(), 3);
    server.publish(&[SigningKey::second()]);
    assert_eq!(outcome(&first, 3619).await, ann(), "for an hour");
    assert_eq!(outcome(&first, 3620).await, unknown(), "what was withdrawn ends");
    server.fail();
    assert_eq!(outcome(&second, 100_000).await, ann(), "the last ones that were good");
    assert_eq!(outcome(&first, 100_000).await, unknown());
}

#[tokio::test]
async fn one_question_does_for_all_who_need_its_answer() {
    let server = KeyServer::start().await;
    let identity = identity(&server);
    let token = SigningKey::first().sign(&claims("ann"));
    let all = join_all((0..20).map(|_| identity.check(&token, SystemTime::now()))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(server.asked(), 1);
}

/// Whoever sets off a question and hangs up does not end it: else anybody could keep everybody from
/// the keys.
#[tokio::test]
async fn a_question_is_not_the_askers_to_end() {
    let server = KeyServer::start().await;
    let identity = identity(&server);
    let (made_up, now) = (SigningKey::second().sign(&claims("eve")), SystemTime::now());
    let mut asking = Box::pin(identity.check(&made_up, now));
    assert!(poll!(asking.as_mut()).is_pending());
    drop(asking);
    let token = SigningKey::first().sign(&claims("ann"));
    assert!(identity.check(&token, now).await.is_ok());
    assert_eq!(server.asked(), 1);
}
