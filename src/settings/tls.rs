//! `[TLS]`: what the public listener proves with who it is.

use std::path::PathBuf;

use crate::config::Section;

/// `[TLS]`. The files are read, and tried, where the listener is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate, and after it those that lead to an authority. PEM.
    pub certificate_file: PathBuf,
    /// The private key of the first certificate. PEM.
    pub key_file: PathBuf,
}

impl TlsSettings {
    /// Reads the section; `None` where there is none, and after an error. `h2c`: whether the
    /// listener is to speak HTTP/2 without TLS.
    pub(super) fn from_section(section: &mut Section<'_>, h2c: bool) -> Option<Self> {
        // A section without a key is one that somebody has not finished, not one that is absent.
        let is_begun = section.is_written();
        let certificate = section.key("CertificateFile").text(super::path);
        let key = section.key("KeyFile").text(super::path);
        if !(is_begun || certificate.is_present() || key.is_present()) {
            return None;
        }
        if h2c {
            let message = "Server.H2C is about a listener without TLS, and this one has it";
            let hint = "remove H2C: with TLS, clients choose HTTP/2 by ALPN".to_owned();
            section.error(&section.place().clone(), message, Some(hint));
        }
        let certificate = certificate.required("the PEM file of the certificate and its chain");
        let key = key.required("the PEM file of the certificate's private key");
        Some(Self { certificate_file: certificate?, key_file: key? })
    }
}
