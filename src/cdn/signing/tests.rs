//! Keys, passes and their renewal. `tests/it/signed_cdn.rs` has the verifier's side.

use std::sync::Barrier;

use super::*;
use crate::domain::Secret;

const RSA: &str = include_str!("../../../tests/keys/cloudfront/rsa-2048.pkcs8.pem");
const P256: &str = include_str!("../../../tests/keys/cloudfront/p256.pkcs8.pem");

fn key(pem: &str) -> Result<SigningKey, &'static str> {
    SigningKey::parse(&Secret::new(pem))
}

fn signer(pem: &str) -> RequestSigner {
    let keys = KeyPair { id: KeyPairId::parse("K2JCJMDEHXQW5F").unwrap(), key: key(pem).unwrap() };
    let url = Url::parse("https://d111111abcdef8.cloudfront.net").unwrap();
    RequestSigner::new(keys, &url, &KeyPrefix::parse("images/").unwrap())
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_secs(seconds)
}

/// The policy of a cookie.
fn policy_in(cookie: &HeaderValue) -> String {
    let (_, rest) = cookie.to_str().unwrap().split_once("CloudFront-Policy=").unwrap();
    let encoded = rest.split(';').next().unwrap();
    let standard = encoded.replace('-', "+").replace('_', "=").replace('~', "/");
    String::from_utf8(base64::decode(standard).unwrap()).unwrap()
}

#[test]
fn the_keys_that_cloudfront_knows() {
    let pkcs1 = include_str!("../../../tests/keys/cloudfront/rsa-2048.pkcs1.pem");
    let sec1 = include_str!("../../../tests/keys/cloudfront/p256.sec1.pem");
    assert!(key(RSA).unwrap() == key(pkcs1).unwrap(), "one key in two forms");
    assert!(key(P256).unwrap() == key(sec1).unwrap(), "one key in two forms");
    assert!(key(RSA).unwrap() != key(P256).unwrap());
    assert_eq!(
        format!("{:?}", signer(RSA).keys),
        "KeyPair { id: KeyPairId(…), key: SigningKey(…) }"
    );

    let cut: String = RSA.chars().take(900).collect();
    for (pem, told) in [
        (
            include_str!("../../../tests/keys/cloudfront/rsa-3072.pkcs8.pem"),
            "RSA keys of 2048 bits",
        ),
        (include_str!("../../../tests/keys/cloudfront/p384.pkcs8.pem"), "ECDSA keys on P-256"),
        (include_str!("../../../tests/keys/cloudfront/ed25519.pkcs8.pem"), "RSA keys of 2048 bits"),
        (include_str!("../../../tests/keys/cloudfront/rsa-2048.encrypted.pem"), "is encrypted"),
        (
            include_str!("../../../tests/keys/cloudfront/rsa-2048.public.pem"),
            "no private key in PEM",
        ),
        (&cut, "no private key in PEM"),
        ("hunter2", "no private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----", "2048 bits"),
    ] {
        let refused = key(pem).map(|_| "taken").unwrap_err();
        assert!(refused.contains(told), "{refused} for\n{pem}");
    }
}

#[test]
fn ids() {
    for good in ["K2JCJMDEHXQW5F", "APKAJCEOKRHC3XIVU5NA"] {
        assert!(KeyPairId::parse(good).is_ok(), "{good}");
    }
    let long = "K".repeat(65);
    for bad in ["", "k2jcjmdehxqw5f", "K1; Other=1", "K1\r\n", "K1 ", "K-1", &long] {
        assert!(KeyPairId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_policy_is_for_all_of_the_prefix_and_nothing_else() {
    let cookie = signer(RSA).cookie(at(0)).unwrap();
    assert_eq!(
        policy_in(&cookie),
        "{\"Statement\":[{\"Resource\":\"https://d111111abcdef8.cloudfront.net/images/*\",\
         \"Condition\":{\"DateLessThan\":{\"AWS:EpochTime\":1800000900}}}]}"
    );
    assert!(cookie.is_sensitive() && !format!("{cookie:?}").contains("CloudFront"));
    let text = cookie.to_str().unwrap();
    assert!(text.contains("; CloudFront-Key-Pair-Id=K2JCJMDEHXQW5F; "), "{text}");
    assert!(text.ends_with("; CloudFront-Hash-Algorithm=SHA256"), "{text}");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_~=; ".contains(c);
    assert!(text.chars().all(allowed), "{text}");
    let signature = text.split("; ").nth(1).unwrap();
    assert_eq!(signature.len(), "CloudFront-Signature=".len() + 344, "256 bytes in base64");

    let url = Url::parse("http://127.0.0.1:8080/").unwrap();
    let keys = signer(P256).keys;
    let signer = RequestSigner::new(keys, &url, &KeyPrefix::parse("").unwrap());
    let policy = policy_in(&signer.cookie(at(0)).unwrap());
    assert!(policy.contains("\"Resource\":\"http://127.0.0.1:8080/*\""), "{policy}");
}

#[test]
fn a_pass_is_renewed_half_way_and_has_five_minutes_left_whenever_it_is_used() {
    let signer = signer(P256);
    // An ECDSA signature is another one each time, so that the same bytes are the same pass.
    let (mut last, mut made) = (signer.cookie(at(0)).unwrap(), vec![0]);
    for second in 0..3600 {
        let cookie = signer.cookie(at(second)).unwrap();
        if cookie != last {
            made.push(second);
            last = cookie;
        }
    }
    assert_eq!(made, [0, 450, 900, 1350, 1800, 2250, 2700, 3150]);

    // After a pause of any length, and where the clock was set.
    for (now, until) in [(10_000, 10_900), (10_449, 10_900), (10_450, 11_350), (10_400, 11_350)] {
        let policy = policy_in(&signer.cookie(at(now)).unwrap());
        assert!(policy.contains(&format!(":{}}}", 1_800_000_000 + until)), "{now}: {policy}");
    }
    let set_back = policy_in(&signer.cookie(at(9_550)).unwrap());
    assert!(set_back.contains(":1800010450}"), "{set_back}");
}

#[test]
fn while_one_makes_the_next_pass_the_others_use_the_old_one() {
    let signer = signer(P256);
    let old = signer.cookie(at(0)).unwrap();
    {
        let _turn = signer.turn.lock().unwrap();
        assert_eq!(signer.cookie(at(450)).unwrap(), old);
        assert_eq!(signer.cookie(at(599)).unwrap(), old);
    }
    let new = signer.cookie(at(599)).unwrap();
    assert_ne!(new, old);
    assert_eq!(signer.cookie(at(600)).unwrap(), new);
}

#[test]
fn many_at_once_share_one_signature() {
    let (signer, start) = (signer(RSA), Barrier::new(8));
    let cookies: Vec<_> = std::thread::scope(|scope| {
        let ask = |thread: u64| {
            let (signer, start) = (&signer, &start);
            scope.spawn(move || {
                start.wait();
                // Their clocks were read at times of their own, later ones perhaps earlier. RSA gives
                // one signature for one policy, so that each second has bytes of its own.
                signer.cookie(at(8 - thread)).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(ask).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(cookies.iter().all(|cookie| *cookie == cookies[0]), "{} passes", cookies.len());
}
