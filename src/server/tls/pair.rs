//! A certificate and its key: read from two files, and tried before anybody relies on them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The largest file that is read, in bytes. A chain has 5 to 10 KiB, a key less than 4.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Where a pair is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// `TLS.CertificateFile`.
    pub certificate: PathBuf,
    /// `TLS.KeyFile`.
    pub key: PathBuf,
}

/// What two files held at one moment. It cannot be printed: one of them is a key.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// A certificate with its chain, and the key that fits it.
pub struct Pair {
    /// What rustls serves.
    pub(super) certified: Arc<CertifiedKey>,
    /// When the certificate ends, in seconds since 1970.
    pub(super) expires: u64,
    /// That of the files' contents.
    pub(super) digest: [u8; 32],
}

impl PairFiles {
    /// Reads and tries the pair.
    ///
    /// # Errors
    /// A text for the operator, with the file and what to change.
    pub fn load(&self) -> Result<Pair, String> {
        self.judge(&self.read()?)
    }

    /// Reads both files.
    pub(super) fn read(&self) -> Result<Contents, String> {
        Ok(Contents {
            certificate: read(&self.certificate)
                .map_err(|error| self.of_certificate(&error))?
                .to_vec(),
            key: read(&self.key).map_err(|error| self.of_key(&error))?,
        })
    }

    /// Tries what the files held.
    pub(super) fn judge(&self, contents: &Contents) -> Result<Pair, String> {
        let chain = chain(&contents.certificate).map_err(|error| self.of_certificate(&error))?;
        let key = key(&contents.key).map_err(|error| self.of_key(error))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| {
            self.of_key(
                "keys of this kind are not taken: use ECDSA P-256 or P-384, Ed25519, or RSA of \
                 2048 to 8192 bits",
            )
        })?;
        let expires = expiry(&chain[0]).map_err(|error| {
            self.of_certificate(&format!("the first certificate cannot be used: {error}"))
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {
                Ok(Pair { certified: Arc::new(certified), expires, digest: contents.digest() })
            }
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(self.of_key(&format!(
                    "the key does not belong to the first certificate in {}: give the key that \
                     it was issued for, and put the server's own certificate before the others",
                    self.certificate.display()
                )))
            }
            Err(error) => Err(self.of_key(&error.to_string())),
        }
    }

    /// What is said of a certificate that has ended.
    pub(super) fn has_ended(&self) -> String {
        self.of_certificate("the first certificate has ended")
    }

    fn of_certificate(&self, what: &str) -> String {
        format!("TLS.CertificateFile: {}: {what}", self.certificate.display())
    }

    fn of_key(&self, what: &str) -> String {
        format!("TLS.KeyFile: {}: {what}", self.key.display())
    }
}

impl Contents {
    /// By what other contents are told from these.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.certificate.len().to_be_bytes());
        digest.update(&self.certificate);
        digest.update(&*self.key);
        digest.finalize().into()
    }
}

/// Reads a file. Its bytes are overwritten when they are dropped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Asked before opening: opening a FIFO waits for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        return Err("is larger than 256 KiB: this is no certificate or key".to_owned());
    }
    // Room for all at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(length).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(length).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The certificates of a file, in their order; never none.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "is not whole: a certificate in it is not PEM".to_owned())?;
    if certificates.is_empty() {
        return Err("holds no certificate: write the server's own in PEM (\"-----BEGIN \
                    CERTIFICATE-----\"), and after it those that lead to an authority"
            .to_owned());
    }
    Ok(certificates)
}

/// The first private key of a file. What is said of it never repeats any of it.
fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let is_encrypted = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
        if is_encrypted(b"ENCRYPTED") {
            "the key is encrypted, and nobody is there to give its password: decrypt it with \
             openssl pkey, and keep the file from others by its permissions"
        } else {
            "holds no private key: write it in PEM, as PKCS #8 (\"-----BEGIN PRIVATE KEY-----\"), \
             PKCS #1 or SEC 1"
        }
    })
}

/// When a certificate ends, in seconds since 1970. rustls tells it of one that has ended: so it is
/// asked at the end of time. Its dates are looked at before anybody who has signed it.
fn expiry(certificate: &CertificateDer<'_>) -> Result<u64, Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let verdict = rustls::client::verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)),
        algorithms.all,
    );
    match verdict {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(not_after.as_secs())
        }
        Err(error) => Err(error),
        Ok(()) => Err(Error::General("it has no end".into())),
    }
}

#[cfg(test)]
mod tests;
