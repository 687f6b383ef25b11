//! Callers of an app, in each of the ways.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::Scope;
use crate::identity::KeyHash;
use crate::identity::test_signer::{Signer, key_set};
use crate::upstream::AddressPolicy;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn open(config: IdentityConfig) -> Identity {
    let client = Client::new(AddressPolicy::default()).unwrap();
    Identity::open(config, &AppName::parse("shop").unwrap(), &client).unwrap()
}

fn by_token(signer: &Signer, owner_claim: &str) -> Identity {
    let algorithm = signer.algorithm();
    open(IdentityConfig::Jwt(JwtConfig {
        issuer: "https://auth.example.com/".into(),
        audience: "media".into(),
        algorithm,
        owner_claim: owner_claim.into(),
        keys: KeySource::Here(key_set(&[signer.jwk()], algorithm).unwrap()),
    }))
}

#[tokio::test]
async fn a_token_names_its_owner_in_the_claim_that_was_agreed() {
    let signer = Signer::new(Algorithm::EdDsa, "one");
    for (claim, value, expected) in [
        ("sub", json!("user-1"), Ok("user-1")),
        ("https://example.com/id", json!("42"), Ok("42")),
        ("sub", Value::Null, Err(IdentityOutcome::Account)),
        ("sub", json!(""), Err(IdentityOutcome::Account)),
        ("sub", json!("a b"), Err(IdentityOutcome::Account)),
        ("sub", json!("jörg"), Err(IdentityOutcome::Account)),
        ("sub", json!("x".repeat(129)), Err(IdentityOutcome::Account)),
        ("sub", json!(42), Err(IdentityOutcome::Malformed)),
        ("sub", json!(["user-1"]), Err(IdentityOutcome::Malformed)),
    ] {
        let mut claims =
            json!({"iss": "https://auth.example.com/", "aud": "media", "exp": NOW + 60});
        claims[claim] = value;
        let token = signer.token(&signer.header(), &claims);
        let identity = by_token(&signer, claim);
        let checked = identity.check(&token, now()).await;
        let owner = checked.map(|proof| proof.caller.acts_for().unwrap().as_str().to_owned());
        assert_eq!(owner.as_deref().map_err(|outcome| *outcome), expected, "{claims}");
    }
}

#[tokio::test]
async fn a_key_says_who_comes_with_it() {
    let owner = OwnerId::parse(b"user-1").unwrap();
    let key = |id: &str, scope: Scope, may_delete| ApiKey {
        id: id.into(),
        hash: KeyHash::of(&format!("the key of {id}")),
        caller: Caller { scope, may_delete },
    };
    let keys = vec![
        key("backend", Scope::Application, true),
        key("device", Scope::Owner(owner.clone()), false),
    ];
    let identity = open(IdentityConfig::ApiKeys(keys.clone()));
    assert_eq!(identity.key_ids().collect::<Vec<_>>(), ["backend", "device"]);
    for key in &keys {
        let proof = identity.check(&format!("the key of {}", key.id), now()).await.unwrap();
        assert_eq!(proof, Proof { caller: key.caller.clone(), key_id: Some(&key.id) });
    }
    for wrong in ["", "the key of nobody", &keys[0].hash.to_string()] {
        let checked = identity.check(wrong, now()).await;
        assert_eq!(checked, Err(IdentityOutcome::UnknownKey), "{wrong}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_an_owner() {
    let identity = open(IdentityConfig::TrustedProxy(HeaderName::from_static("x-owner-id")));
    let proof = identity.check("user-1", now()).await.unwrap();
    assert_eq!(proof.caller, Caller::owner(OwnerId::parse(b"user-1").unwrap()));
    assert_eq!(identity.check("", now()).await, Err(IdentityOutcome::Malformed));
}

/// Nobody answers there: no token can be right or wrong.
#[tokio::test]
async fn without_any_key_nobody_can_tell() {
    let signer = Signer::new(Algorithm::Es256, "one");
    let identity = open(IdentityConfig::Jwt(JwtConfig {
        issuer: "https://auth.example.com/".into(),
        audience: "media".into(),
        algorithm: Algorithm::Es256,
        owner_claim: "sub".into(),
        // Loopback, which this client's policy does not allow.
        keys: KeySource::Url("https://127.0.0.1:1/keys".parse().unwrap()),
    }));
    let token = signer.token(&signer.header(), &json!({}));
    assert_eq!(identity.check(&token, now()).await, Err(IdentityOutcome::Unavailable));
    // What is no token of this algorithm is wrong whatever the keys are.
    let other = signer.token(&json!({"alg": "none", "kid": "one"}), &json!({}));
    assert_eq!(identity.check(&other, now()).await, Err(IdentityOutcome::Algorithm));
}

/// What an outcome is counted under exists from the start.
#[test]
fn every_outcome_is_one_of_its_way() {
    let mut all = IdentityMethod::Jwt.outcomes().to_vec();
    all.push(IdentityOutcome::Untrusted);
    assert!(IdentityOutcome::ALL.iter().all(|outcome| all.contains(outcome)));
    let refusals = [
        TokenRefusal::Malformed,
        TokenRefusal::Algorithm,
        TokenRefusal::UnknownKey,
        TokenRefusal::Signature,
        TokenRefusal::Time,
        TokenRefusal::Issuer,
        TokenRefusal::Audience,
        TokenRefusal::Account,
    ];
    for refusal in refusals {
        assert!(IdentityMethod::Jwt.outcomes().contains(&refusal.into()), "{refusal:?}");
    }
}
