//! What CloudFront does before it answers a request to a behavior that trusts a key group: the cookies
//! must carry a policy that covers the URL, has not run out, and is signed with a key of the group.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::base64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::SeenRequest;

/// A key of a key group: its id, and the public half that was uploaded.
pub struct TrustedKey {
    id: String,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl TrustedKey {
    /// The RSA key of this PEM (PKCS #8).
    pub fn rsa(id: &str, pem: &str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(&pkcs8(pem)).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Self { id: id.to_owned(), key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public) }
    }

    /// The key on P-256 of this PEM (PKCS #8).
    pub fn p256(id: &str, pem: &str) -> Self {
        let signing = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(signing, &pkcs8(pem), &SystemRandom::new()).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Self { id: id.to_owned(), key: UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public) }
    }

    /// Why this request is refused at this time, if it is.
    pub fn check(&self, request: &SeenRequest, now: SystemTime) -> Result<(), &'static str> {
        let cookie = |name| cookie(request, name).ok_or("a cookie is missing");
        if cookie("CloudFront-Key-Pair-Id")? != self.id {
            return Err("unknown key");
        }
        // Without it the signature would be taken for one with SHA-1.
        if cookie("CloudFront-Hash-Algorithm")? != "SHA256" {
            return Err("another hash");
        }
        let policy = decoded(&cookie("CloudFront-Policy")?)?;
        let signature = decoded(&cookie("CloudFront-Signature")?)?;
        self.key.verify(&policy, &signature).map_err(|_| "wrong signature")?;
        let policy: Value = serde_json::from_slice(&policy).map_err(|_| "no JSON")?;
        let [statement] = policy["Statement"].as_array().ok_or("no statement")?.as_slice() else {
            return Err("more than one statement");
        };
        let until = &statement["Condition"]["DateLessThan"]["AWS:EpochTime"];
        let until = UNIX_EPOCH + Duration::from_secs(until.as_u64().ok_or("no end")?);
        if now >= until {
            return Err("it has run out");
        }
        let host = request.header("host").ok_or("no host")?;
        let url = format!("http://{host}{}", request.target);
        let resource = statement["Resource"].as_str().ok_or("no resource")?;
        if covers(resource.as_bytes(), url.as_bytes()) { Ok(()) } else { Err("another URL") }
    }
}

/// A cookie of a request, which has it once.
pub fn cookie(request: &SeenRequest, name: &str) -> Option<String> {
    let header = request.header("cookie")?;
    let mut pairs = header.split("; ").filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

/// CloudFront's base64, in which `-`, `_` and `~` stand for `+`, `=` and `/`.
fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    if text.contains(['+', '=', '/']) {
        return Err("a letter that a URL cannot carry");
    }
    let standard = text.replace('-', "+").replace('_', "=").replace('~', "/");
    base64::decode(standard).map_err(|_| "no base64")
}

/// Whether a pattern with `*` (any characters) and `?` (any one) matches.
fn covers(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| covers(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, left @ ..]) => covers(rest, left),
        ([one, rest @ ..], [other, left @ ..]) => one == other && covers(rest, left),
        _ => false,
    }
}

fn pkcs8(pem: &str) -> Vec<u8> {
    PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap().secret_pkcs8_der().to_vec()
}
