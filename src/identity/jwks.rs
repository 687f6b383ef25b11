//! The public keys of an issuer: a JSON Web Key Set (RFC 7517), of which those of one algorithm are
//! kept.
//!
//! Keys are kept *for* an algorithm, and each algorithm has its own type of key. So a public key can
//! never be taken for the secret of an HMAC, whatever a token says: there is no such key here.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

/// The fewest bytes of an RSA modulus that count as safe: 2048 bits (RFC 7518 §3.3).
const MIN_RSA_BYTES: usize = 2048 / 8;

/// The bytes of a coordinate of P-256, and of a public key of Ed25519.
const CURVE_BYTES: usize = 32;

/// A signature algorithm of tokens. Which one it is, the configuration says, never the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256, 2048 bits or more.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// Public keys of one algorithm, with their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicKeys(Vec<(String, PublicKey)>);

#[derive(Clone, PartialEq, Eq)]
enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name in app files, and in tokens and keys (RFC 7518 §3.1, RFC 8037 §3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether a token or a key means it by this name. Ed25519 has a second one that is to replace
    /// the first (RFC 9864 §2.2).
    #[must_use]
    pub fn is_called(self, name: &str) -> bool {
        name == self.name() || (self == Self::EdDsa && name == "Ed25519")
    }
}

impl PublicKeys {
    /// Reads a key set. Keys without an id, for other algorithms or for other uses are left out.
    ///
    /// # Errors
    /// A text for the log or for the author of a file, if it is none, or holds no usable key.
    pub fn parse(document: &[u8], algorithm: Algorithm) -> Result<Self, String> {
        let set: KeySet = serde_json::from_slice(document)
            .map_err(|error| format!("this is no JSON Web Key Set: {error}"))?;
        // One by one, so that a key of a kind that is not known here spoils no others.
        let keys = set.keys.into_iter().filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key).ok()?;
            Some((jwk.kid.clone()?, jwk.public_key(algorithm)?))
        });
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            let name = algorithm.name();
            Err(format!("there is no key for {name} signatures with an id (kid) in the key set"))
        } else {
            Ok(Self(keys))
        }
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a key of this id.
    #[must_use]
    pub fn has(&self, key_id: &str) -> bool {
        self.0.iter().any(|(id, _)| id == key_id)
    }

    /// Whether a signature is one of a key of this id. (Ids should be unique and are not always.)
    pub(super) fn verify(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
        let mut keys = self.0.iter().filter(|(id, _)| id == key_id);
        keys.any(|(_, key)| key.verify(message, signature))
    }
}

impl PublicKey {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

impl Jwk {
    fn public_key(self, algorithm: Algorithm) -> Option<PublicKey> {
        let fits = self.alg.is_none_or(|alg| algorithm.is_called(&alg))
            && self.r#use.is_none_or(|usage| usage == "sig")
            && self.key_ops.is_none_or(|operations| operations.iter().any(|op| op == "verify"));
        if !fits {
            return None;
        }
        let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let of_curve = |text| number(text).filter(|bytes| bytes.len() == CURVE_BYTES);
        match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::Rs256, "RSA", _) => {
                let (n, e) = (number(self.n)?, number(self.e)?);
                (n.len() >= MIN_RSA_BYTES).then_some(PublicKey::Rsa { n, e })
            }
            (Algorithm::Es256, "EC", Some("P-256")) => {
                let (x, y) = (of_curve(self.x)?, of_curve(self.y)?);
                Some(PublicKey::P256([&[4][..], &x, &y].concat()))
            }
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
                Some(PublicKey::Ed25519(of_curve(self.x)?))
            }
            _ => None,
        }
    }
}

/// Public, but long.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa { .. } => "RSA",
            Self::P256(_) => "P-256",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}
