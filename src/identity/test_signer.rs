//! What signs tokens in the tests of this room, with ring; the integration tests have tokens of
//! another implementation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::jwks::{Algorithm, PublicKeys};

const RSA_KEY: &str = include_str!("../../tests/keys/second.pem");

/// A private key with an id.
pub(super) struct Signer {
    pub(super) id: &'static str,
    key: PrivateKey,
}

enum PrivateKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// A key for an algorithm. There is one for RSA, and any number of the others.
    pub(super) fn new(algorithm: Algorithm, id: &'static str) -> Self {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::Rs256 => {
                let der = PrivateKeyDer::from_pem_slice(RSA_KEY.as_bytes()).unwrap();
                PrivateKey::Rsa(RsaKeyPair::from_pkcs8(der.secret_der()).unwrap())
            }
            Algorithm::Es256 => {
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
                PrivateKey::P256(EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &random).unwrap())
            }
            Algorithm::EdDsa => {
                let der = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                PrivateKey::Ed25519(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap())
            }
        };
        Self { id, key }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match &self.key {
            PrivateKey::Rsa(_) => Algorithm::Rs256,
            PrivateKey::P256(_) => Algorithm::Es256,
            PrivateKey::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// The public half, as issuers publish it.
    pub(super) fn jwk(&self) -> Value {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            PrivateKey::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": number(&public.n), "e": number(&public.e)})
            }
            PrivateKey::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256",
                    "x": number(&point[1..33]), "y": number(&point[33..])})
            }
            PrivateKey::Ed25519(pair) => {
                let key = pair.public_key().as_ref();
                json!({"kty": "OKP", "crv": "Ed25519", "x": number(key)})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm().name());
        jwk
    }

    /// The header of its tokens.
    pub(super) fn header(&self) -> Value {
        json!({"alg": self.algorithm().name(), "kid": self.id, "typ": "JWT"})
    }

    /// A token with this header and these claims, whatever the header says, with a right signature.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// The same of texts that may be no JSON.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = unsigned(header, claims);
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            PrivateKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            PrivateKey::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            PrivateKey::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// What a signature is made over.
pub(super) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A key set of these.
pub(super) fn key_set(jwks: &[Value], algorithm: Algorithm) -> Result<PublicKeys, String> {
    PublicKeys::parse(json!({ "keys": jwks }).to_string().as_bytes(), algorithm)
}
