//! Tokens that were really signed, with each algorithm, and every way in which they can be wrong.

use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use serde_json::json;
use sha2::Sha256;

use super::*;
use crate::identity::test_signer::{Signer, key_set, unsigned};

/// When the tokens are looked at, in seconds.
const NOW: u64 = 1_800_000_000;

const ISSUER: &str = "https://auth.example.com/";
const AUDIENCE: &str = "media";

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "iat": NOW - 60, "exp": NOW + 3540})
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

/// Looks at a token as an app does that has this key.
fn look(signer: &Signer, token: &str) -> Result<Claims, TokenRefusal> {
    let algorithm = signer.algorithm();
    let keys = key_set(&[signer.jwk()], algorithm).unwrap();
    let expected = Expected { algorithm, issuers: &[ISSUER], audience: AUDIENCE };
    verify(token, &keys, &expected, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

fn refusal(signer: &Signer, token: &str) -> Option<TokenRefusal> {
    look(signer, token).err()
}

fn es256() -> Signer {
    Signer::new(Algorithm::Es256, "one")
}

#[test]
fn every_algorithm() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "one");
        let token = signer.token(&signer.header(), &claims());
        assert_eq!(key_id(&token, algorithm).as_deref(), Ok("one"));
        let claims = look(&signer, &token).unwrap();
        assert_eq!(claims.text("sub"), Ok(Some("user-1")));
        assert_eq!(claims.text("email"), Ok(None));
        assert_eq!(claims.text("exp"), Err(TokenRefusal::Malformed));
    }
}

#[test]
fn claims_that_do_not_fit() {
    let signer = es256();
    for (claim, value, expected) in [
        ("iss", json!("https://auth.example.com"), Some(TokenRefusal::Issuer)),
        ("iss", json!("https://auth.example.com/.evil.example"), Some(TokenRefusal::Issuer)),
        ("iss", json!([ISSUER]), Some(TokenRefusal::Malformed)),
        ("iss", Value::Null, Some(TokenRefusal::Malformed)),
        ("aud", json!(["other", "media"]), None),
        ("aud", json!("Media"), Some(TokenRefusal::Audience)),
        ("aud", json!([]), Some(TokenRefusal::Audience)),
        ("aud", json!(["media", 7]), Some(TokenRefusal::Malformed)),
        ("aud", json!({"media": true}), Some(TokenRefusal::Malformed)),
        ("aud", Value::Null, Some(TokenRefusal::Malformed)),
        ("exp", json!(NOW - 59), None),
        ("exp", json!(NOW - 60), Some(TokenRefusal::Time)),
        ("exp", json!(1_799_999_940.5), None),
        ("exp", json!(1_799_999_939.5), Some(TokenRefusal::Time)),
        ("exp", json!(0), Some(TokenRefusal::Time)),
        ("exp", json!(u64::MAX), None),
        ("exp", json!(1e300), Some(TokenRefusal::Malformed)),
        ("exp", json!(-1), Some(TokenRefusal::Malformed)),
        ("exp", json!("1800003540"), Some(TokenRefusal::Malformed)),
        ("exp", Value::Null, Some(TokenRefusal::Malformed)),
        ("nbf", json!(NOW + 60), None),
        ("nbf", json!(NOW + 61), Some(TokenRefusal::Time)),
        ("nbf", json!("later"), Some(TokenRefusal::Malformed)),
        ("iat", json!(NOW + 1_000_000), None),
    ] {
        let token = signer.token(&signer.header(), &with(claim, value.clone()));
        assert_eq!(refusal(&signer, &token), expected, "{claim}: {value}");
    }
}

/// Two readers may differ about which of two counts; so none does.
#[test]
fn nothing_is_said_twice() {
    let signer = es256();
    let (header, claims) = (signer.header().to_string(), claims().to_string());
    let doubled = |json: &str, first: &str| json.replacen('{', &format!("{{{first},"), 1);
    for claim in ["\"sub\":\"other\"", "\"aud\":\"media\"", "\"exp\":1", "\"s\\u0075b\":\"other\""]
    {
        let token = signer.sign(&header, &doubled(&claims, claim));
        assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Malformed), "{claim}");
    }
    for field in ["\"alg\":\"ES256\"", "\"kid\":\"two\""] {
        let token = signer.sign(&doubled(&header, field), &claims);
        assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Malformed), "{field}");
    }
    for no_object in ["[]", "null", "\"x\"", "", "{", "{}{}"] {
        let token = signer.sign(&header, no_object);
        assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Malformed), "{no_object}");
    }
}

#[test]
fn the_algorithm_is_not_the_tokens_choice() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "one");
        for alg in ["none", "None", "HS256", "RS512", "PS256", "ES384", "rs256", "EdDSA ", ""] {
            let header = json!({"alg": alg, "kid": "one"});
            let token = signer.token(&header, &claims());
            assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Algorithm), "{alg}");
            assert_eq!(key_id(&token, algorithm), Err(TokenRefusal::Algorithm), "no key is sought");
            let (signed, _) = token.rsplit_once('.').unwrap();
            assert_eq!(refusal(&signer, &format!("{signed}.")), Some(TokenRefusal::Algorithm));
        }
        // The public half, in both forms in which it is public, taken for the secret of an HMAC.
        let jwk = signer.jwk();
        for secret in [jwk.to_string(), jwk["n"].as_str().unwrap_or_default().to_owned()] {
            let signed = unsigned(r#"{"alg":"HS256","kid":"one"}"#, &claims().to_string());
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(signed.as_bytes());
            let tag = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
            let forged = format!("{signed}.{tag}");
            assert_eq!(refusal(&signer, &forged), Some(TokenRefusal::Algorithm));
        }
        let crit = json!({"alg": algorithm.name(), "kid": "one", "crit": ["b64"], "b64": false});
        let token = signer.token(&crit, &claims());
        assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Algorithm));
    }
    // Right by its own algorithm, which is not the expected one, under the same key id.
    let (rsa, ec) = (Signer::new(Algorithm::Rs256, "one"), es256());
    let token = ec.token(&ec.header(), &claims());
    assert_eq!(refusal(&rsa, &token), Some(TokenRefusal::Algorithm));
}

#[test]
fn keys() {
    let (one, two) = (es256(), Signer::new(Algorithm::Es256, "two"));
    let impostor = Signer::new(Algorithm::Es256, "one");
    for (why, token, expected) in [
        ("no id", one.token(&json!({"alg": "ES256"}), &claims()), TokenRefusal::UnknownKey),
        ("unknown", two.token(&two.header(), &claims()), TokenRefusal::UnknownKey),
        ("another's", impostor.token(&impostor.header(), &claims()), TokenRefusal::Signature),
        (
            "an id that is no text",
            one.token(&json!({"alg": "ES256", "kid": 1}), &claims()),
            TokenRefusal::Malformed,
        ),
    ] {
        assert_eq!(refusal(&one, &token), Some(expected), "{why}");
    }
    // A token brings no key of its own.
    let mut header = impostor.header();
    header["jwk"] = impostor.jwk();
    header["jku"] = json!("https://evil.example/keys");
    let token = impostor.token(&header, &claims());
    assert_eq!(refusal(&one, &token), Some(TokenRefusal::Signature));
}

#[test]
fn a_token_has_one_spelling() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "one");
        let genuine = signer.token(&signer.header(), &claims());
        let (signed, signature) = genuine.rsplit_once('.').unwrap();
        let (header, body) = signed.split_once('.').unwrap();
        for (why, token) in [
            ("padded", format!("{genuine}=")),
            ("a line break", format!("{genuine}\n")),
            ("a space", format!(" {genuine}")),
            ("padded inside", format!("{header}=.{body}.{signature}")),
            ("no signature", signed.to_owned()),
        ] {
            assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Malformed), "{why}");
        }
        for (why, other) in [
            ("none", format!("{signed}.")),
            ("none after four parts", format!("{genuine}.")),
            ("a byte more", format!("{genuine}AA")),
            ("of five parts, as encrypted tokens have", format!("{header}....{signature}")),
        ] {
            assert_eq!(refusal(&signer, &other), Some(TokenRefusal::Signature), "{why}");
        }
    }
    // 64 bytes leave four bits in the last character that mean nothing: they are to be zero.
    let signer = es256();
    let genuine = signer.token(&signer.header(), &claims());
    let last = genuine.as_bytes()[genuine.len() - 1];
    for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
        let token = format!("{}{}", &genuine[..genuine.len() - 1], char::from(*other));
        assert_eq!(look(&signer, &token).is_ok(), *other == last, "{}", char::from(*other));
    }
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let signer = es256();
    let groups = |count| with("groups", json!(vec!["engineering"; count]));
    let token = |count| signer.token(&signer.header(), &groups(count));
    assert!(token(300).len() < MAX_TOKEN_BYTES && refusal(&signer, &token(300)).is_none());
    assert_eq!(refusal(&signer, &token(900)), Some(TokenRefusal::Malformed));
    // Arrays in arrays, which a recursive reader follows until its stack ends.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(2500), "]".repeat(2500));
    let token = signer.sign(&signer.header().to_string(), &deep);
    assert!(token.len() < MAX_TOKEN_BYTES);
    assert_eq!(refusal(&signer, &token), Some(TokenRefusal::Malformed));
}

#[test]
fn key_sets() {
    let (rsa, ec) = (Signer::new(Algorithm::Rs256, "rsa"), Signer::new(Algorithm::Es256, "ec"));
    let ed = Signer::new(Algorithm::EdDsa, "ed");
    let strange = json!({"kty": 7, "kid": ["?"]});
    let all =
        [strange, rsa.jwk(), ec.jwk(), ed.jwk(), json!({"kty": "oct", "kid": "k", "k": "AA"})];
    for (algorithm, own) in
        [(Algorithm::Rs256, "rsa"), (Algorithm::Es256, "ec"), (Algorithm::EdDsa, "ed")]
    {
        let keys = key_set(&all, algorithm).unwrap();
        for id in ["rsa", "ec", "ed", "k", ""] {
            assert_eq!(keys.has(id), id == own, "{algorithm:?} {id}");
        }
    }
    let changed = |field: &str, value: Value| {
        let mut jwk = ec.jwk();
        jwk[field] = value;
        jwk
    };
    for (why, jwk, is_usable) in [
        ("as it is", ec.jwk(), true),
        ("without what it is for", changed("use", Value::Null), true),
        ("without an algorithm", changed("alg", Value::Null), true),
        ("to verify", changed("key_ops", json!(["verify"])), true),
        ("to encrypt", changed("use", json!("enc")), false),
        ("to derive", changed("key_ops", json!(["deriveBits"])), false),
        ("for another algorithm", changed("alg", json!("ES384")), false),
        ("of another curve", changed("crv", json!("secp256k1")), false),
        ("without an id", changed("kid", Value::Null), false),
        ("half a point", changed("y", Value::Null), false),
        ("a short coordinate", changed("x", json!("AAAA")), false),
        ("no base64", changed("x", json!("?")), false),
    ] {
        assert_eq!(key_set(&[jwk], Algorithm::Es256).is_ok(), is_usable, "{why}");
    }
    let mut weak = rsa.jwk();
    weak["n"] = json!(URL_SAFE_NO_PAD.encode([0xff; 128]));
    assert!(key_set(&[weak], Algorithm::Rs256).is_err(), "1024 bits");
    for document in ["", "[]", "<html>", "{}", "{\"keys\":{}}", "{\"keys\":[]}"] {
        assert!(PublicKeys::parse(document.as_bytes(), Algorithm::Rs256).is_err(), "{document}");
    }
}

/// Two keys of one id, as some issuers have them for a while.
#[test]
fn an_id_that_is_not_unique() {
    let (old, new) = (es256(), es256());
    let keys = key_set(&[old.jwk(), new.jwk()], Algorithm::Es256).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let algorithm = Algorithm::Es256;
    let expected = Expected { algorithm, issuers: &[ISSUER], audience: AUDIENCE };
    for signer in [old, new] {
        let token = signer.token(&signer.header(), &claims());
        assert!(verify(&token, &keys, &expected, now).is_ok());
    }
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let signer = Signer::new(Algorithm::EdDsa, "one");
        let genuine = signer.token(&signer.header(), &claims());
        let at = at.index(genuine.len());
        let mut changed = genuine.clone();
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(look(&signer, &changed).is_ok(), changed == genuine);
    }

    #[test]
    fn whatever_comes_never_panics(
        text in "\\PC{0,80}",
        parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}",
        header in "\\PC{0,60}",
        body in "\\PC{0,60}",
        document in "\\PC{0,80}",
    ) {
        let signer = es256();
        prop_assert!(look(&signer, &text).is_err());
        prop_assert!(look(&signer, &parts).is_err());
        prop_assert!(look(&signer, &signer.sign(&header, &body)).is_err());
        prop_assert!(look(&signer, &signer.sign(&signer.header().to_string(), &body)).is_err());
        prop_assert!(PublicKeys::parse(document.as_bytes(), Algorithm::Es256).is_err());
    }

    /// A signed body may hold any JSON under the names that count.
    #[test]
    fn claims_of_any_type(name in "(iss|aud|exp|nbf|sub)", json in json_value()) {
        let signer = es256();
        let mut claims = claims();
        claims[&name] = json;
        let _ = look(&signer, &signer.token(&signer.header(), &claims)).map(|c| c.text("sub").is_ok());
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
