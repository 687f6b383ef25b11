//! The private key of a CloudFront key group, and its id.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::domain::Secret;

/// The kinds of signature that CloudFront verifies with SHA-256: RSA since April 2026, ECDSA since
/// September 2025 ("Specify signers", CloudFront Developer Guide).
const SCHEMES: [SignatureScheme; 2] =
    [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

/// The length of a signature by the one size of RSA key that CloudFront takes, in bytes: 2048 bits.
const RSA_SIGNATURE_BYTES: usize = 2048 / 8;

/// Longer than any id of a CloudFront key, which have 13 to 20 characters.
const MAX_ID_CHARS: usize = 64;

/// The id under which CloudFront knows a public key, such as `K2JCJMDEHXQW5F`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairId(String);

impl KeyPairId {
    /// Takes an id as CloudFront shows it.
    ///
    /// # Errors
    /// A text for the author of the configuration.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let plain = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if plain && (1..=MAX_ID_CHARS).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("write the id of the public key as CloudFront shows it: upper-case letters and \
                 digits, such as \"K2JCJMDEHXQW5F\"")
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A private key that CloudFront accepts signatures of, usable by construction. Cheap to clone; its
/// `Debug` output shows nothing.
#[derive(Clone)]
pub struct SigningKey {
    signer: Arc<dyn rustls::sign::Signer>,
    /// Its public half, in DER: what keys are compared by.
    public: Arc<[u8]>,
}

impl SigningKey {
    /// Takes a key in PEM: an RSA key of 2048 bits (PKCS #1 or PKCS #8) or an ECDSA key on P-256
    /// (SEC 1 or PKCS #8), which are the ones that CloudFront knows.
    ///
    /// # Errors
    /// A text for the author of the configuration, which tells nothing of the key.
    pub fn parse(pem: &Secret) -> Result<Self, &'static str> {
        let is_encrypted = pem.expose_str().is_some_and(|text| text.contains("ENCRYPTED"));
        if is_encrypted {
            return Err("the key is encrypted: write it without a passphrase (`openssl pkcs8 \
                        -topk8 -nocrypt`)");
        }
        let der = PrivateKeyDer::from_pem_slice(pem.expose())
            .map_err(|_| "the file holds no private key in PEM (\"BEGIN PRIVATE KEY\")")?;
        let wrong_kind = "CloudFront takes RSA keys of 2048 bits and ECDSA keys on P-256: make one \
                          with `openssl ecparam -name prime256v1 -genkey -noout`";
        let key = any_supported_type(&der).map_err(|_| wrong_kind)?;
        let signer = key.choose_scheme(&SCHEMES).ok_or(wrong_kind)?;
        // A signature as a trial: a key that can make one can make all.
        let signature = signer.sign(b"a trial").map_err(|_| "the key cannot sign")?;
        let is_rsa = signer.scheme() == SignatureScheme::RSA_PKCS1_SHA256;
        if is_rsa && signature.len() != RSA_SIGNATURE_BYTES {
            return Err(wrong_kind);
        }
        let public = key.public_key().ok_or(wrong_kind)?.as_ref().into();
        Ok(Self { signer: signer.into(), public })
    }

    /// Signs with SHA-256: half a millisecond of a processor's work with RSA (`bench/README.md`), less with ECDSA.
    pub(super) fn sign(&self, content: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signer.sign(content)
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl fmt::Debug for KeyPairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPairId(…)")
    }
}

/// A private key, and the id of its public half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The id.
    pub id: KeyPairId,
    /// The key.
    pub key: SigningKey,
}
