//! What the public listener speaks, and what it proves itself with.

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::server::Protocols;
use crate::server::tls::{Certificates, Pair, PairFiles, Tls};
use crate::settings::TlsSettings;

/// A certificate and its key, found good, and their files.
pub(super) struct Certified {
    files: PairFiles,
    pair: Pair,
}

impl Certified {
    /// Reads and tries what the settings name.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn load(settings: &TlsSettings) -> Result<Self, String> {
        let TlsSettings { certificate_file, key_file } = settings.clone();
        let files = PairFiles { certificate: certificate_file, key: key_file };
        let pair = files.load()?;
        Ok(Self { files, pair })
    }

    /// What a listener is served with.
    pub(super) fn serve(self, metrics: &Arc<Metrics>) -> Arc<Certificates> {
        Certificates::new(self.files, self.pair, Arc::clone(metrics))
    }
}

/// What the public listener speaks.
pub(super) fn protocols(
    certificates: Option<&Arc<Certificates>>,
    h2c: bool,
) -> Result<Protocols, String> {
    Ok(match certificates {
        Some(certificates) => Protocols::Tls(Tls::new(Arc::clone(certificates))?),
        None if h2c => Protocols::Http1AndH2c,
        None => Protocols::Http1,
    })
}
