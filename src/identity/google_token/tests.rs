//! Tokens that were really signed, and every way in which they can be wrong.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::identity::jwt::MAX_TOKEN_BYTES;

const KEY: &str = include_str!("../../../tests/keys/second.pem");

/// When the tokens are looked at, in seconds.
const NOW: u64 = 1_800_000_000;

fn key() -> RsaKeyPair {
    let der = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    RsaKeyPair::from_pkcs8(der.secret_der()).unwrap()
}

fn jwk(id: &str) -> Value {
    let RsaPublicKeyComponents { n, e } =
        RsaPublicKeyComponents::<Vec<u8>>::from(key().public_key());
    let number = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": number(n), "e": number(e)})
}

fn keys() -> PublicKeys {
    let set = json!({"keys": [jwk("one"), {"kty": "EC", "crv": "P-256", "kid": "other"}]});
    PublicKeys::parse(set.to_string().as_bytes(), ALGORITHM).unwrap()
}

fn expected() -> ExpectedToken {
    ExpectedToken {
        audience: "https://media.example.com/events".into(),
        email: "push@project.iam.gserviceaccount.com".into(),
    }
}

fn header() -> Value {
    json!({"alg": "RS256", "kid": "one", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "https://accounts.google.com", "aud": "https://media.example.com/events",
        "azp": "113774264463038321964", "sub": "113774264463038321964",
        "email": "push@project.iam.gserviceaccount.com", "email_verified": true,
        "iat": NOW - 60, "exp": NOW + 3540})
}

fn signed_part(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn token(header: &Value, claims: &Value) -> String {
    let signed = signed_part(header, claims);
    let key = key();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verified(token: &str) -> Result<(), TokenRefusal> {
    verify(token, &keys(), &expected(), SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

/// The claims with one of them changed, or taken away.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
        value => claims[claim] = value,
    }
    claims
}

#[test]
fn a_token_of_googles() {
    let genuine = token(&header(), &claims());
    assert_eq!(key_id(&genuine).as_deref(), Ok("one"));
    assert_eq!(verified(&genuine), Ok(()));
}

#[test]
fn claims_that_do_not_fit() {
    for (claim, value, refusal) in [
        ("iss", json!("accounts.google.com"), None),
        ("iss", json!("https://accounts.google.com.evil.example"), Some(TokenRefusal::Issuer)),
        ("iss", Value::Null, Some(TokenRefusal::Malformed)),
        ("aud", json!(["x", "https://media.example.com/events"]), None),
        ("aud", json!("https://media.example.com/other"), Some(TokenRefusal::Audience)),
        ("aud", json!([]), Some(TokenRefusal::Audience)),
        ("aud", Value::Null, Some(TokenRefusal::Malformed)),
        ("exp", json!(NOW - 59), None),
        ("exp", json!(NOW - 60), Some(TokenRefusal::Time)),
        ("exp", json!(u64::MAX), None),
        ("exp", json!(-1), Some(TokenRefusal::Malformed)),
        ("exp", json!("never"), Some(TokenRefusal::Malformed)),
        ("exp", Value::Null, Some(TokenRefusal::Malformed)),
        ("nbf", json!(NOW + 60), None),
        ("nbf", json!(NOW + 61), Some(TokenRefusal::Time)),
        ("email", json!("other@project.iam.gserviceaccount.com"), Some(TokenRefusal::Account)),
        ("email", Value::Null, Some(TokenRefusal::Account)),
        ("email_verified", json!(false), Some(TokenRefusal::Account)),
        ("email_verified", json!("true"), Some(TokenRefusal::Malformed)),
        ("email_verified", Value::Null, Some(TokenRefusal::Account)),
    ] {
        let told = verified(&token(&header(), &with(claim, value.clone())));
        assert_eq!(told.err(), refusal, "{claim}: {value}");
    }
}

#[test]
fn the_algorithm_is_not_the_tokens_choice() {
    let unsigned = json!({"alg": "none", "kid": "one"});
    for signature in ["", "AAAA"] {
        let forged = format!("{}.{signature}", signed_part(&unsigned, &claims()));
        assert_eq!(verified(&forged), Err(TokenRefusal::Algorithm));
        assert_eq!(key_id(&forged), Err(TokenRefusal::Algorithm), "no key is looked for");
    }
    // The key's public half, taken for an HMAC secret.
    let hmac = json!({"alg": "HS256", "kid": "one"});
    let signed = signed_part(&hmac, &claims());
    let mut mac = Hmac::<Sha256>::new_from_slice(jwk("one").to_string().as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    assert_eq!(verified(&forged), Err(TokenRefusal::Algorithm));
    for alg in ["RS512", "PS256", "ES256", "rs256", ""] {
        let told = verified(&token(&json!({"alg": alg, "kid": "one"}), &claims()));
        assert_eq!(told, Err(TokenRefusal::Algorithm), "{alg}");
    }
    let extended = json!({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": false});
    assert_eq!(verified(&token(&extended, &claims())), Err(TokenRefusal::Algorithm));
}

#[test]
fn keys_and_signatures() {
    for unknown in [json!({"alg": "RS256"}), json!({"alg": "RS256", "kid": "other"})] {
        assert_eq!(verified(&token(&unknown, &claims())), Err(TokenRefusal::UnknownKey));
    }
    let (genuine, other) =
        (token(&header(), &claims()), token(&header(), &with("sub", json!("1"))));
    let (signed, _) = genuine.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    assert_eq!(verified(&format!("{signed}.{signature}")), Err(TokenRefusal::Signature));
    assert_eq!(verified(&format!("{signed}.")), Err(TokenRefusal::Signature));
    assert_eq!(verified(&format!("{genuine}=")), Err(TokenRefusal::Malformed), "one spelling");
    for broken in ["", ".", "..", "...", "a.b.c", signed] {
        assert!(verified(broken).is_err(), "{broken}");
    }
    assert_eq!(verified(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenRefusal::Malformed));
}

#[test]
fn key_sets() {
    assert!(keys().has("one") && !keys().has("other"));
    let mut encrypting = jwk("one");
    encrypting["use"] = json!("enc");
    for (why, document) in [
        ("no JSON", String::from("<html>")),
        ("no key", json!({"keys": []}).to_string()),
        ("not for signatures", json!({"keys": [encrypting]}).to_string()),
        (
            "no number",
            json!({"keys": [{"kty": "RSA", "kid": "one", "n": "?", "e": "AQAB"}]}).to_string(),
        ),
    ] {
        assert!(PublicKeys::parse(document.as_bytes(), ALGORITHM).is_err(), "{why}");
    }
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(at in 0usize..900, to in "[A-Za-z0-9_.-]") {
        let genuine = token(&header(), &claims());
        let at = at % genuine.len();
        let mut changed = genuine.clone();
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(verified(&changed).is_ok(), changed == genuine);
    }

    #[test]
    fn whatever_comes_never_panics(text in "\\PC{0,80}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        prop_assert!(verified(&text).is_err());
        prop_assert!(verified(&parts).is_err());
    }
}
