//! An authority that issues certificates for the tests, and the files in which a server has one.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

/// The name that all of them are for.
pub const NAME: &str = "media.test";

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Not the usual name, which its certificates have: each would seem to be its own issuer.
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate that ends at the beginning of this year.
    pub fn issue(&self, year: i32) -> Issued {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

/// A folder with a certificate and a key, as a server reads them.
pub struct ServerFiles {
    folder: TempDir,
}

impl ServerFiles {
    pub fn new(issued: &Issued) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.replace(issued);
        files
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    /// Writes other files in their place.
    pub fn replace(&self, issued: &Issued) {
        for (path, text) in [(self.certificate(), &issued.certificate), (self.key(), &issued.key)] {
            // In one step, so that nobody reads a half.
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &path).unwrap();
        }
    }

    /// The section of the settings that names them.
    pub fn settings(&self) -> String {
        let (certificate, key) = (self.certificate(), self.key());
        format!(
            "[TLS]\nCertificateFile = \"{}\"\nKeyFile = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    }
}
