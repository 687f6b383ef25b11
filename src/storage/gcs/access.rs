//! What an app's file says of a bucket of Google Cloud Storage.

use url::Url;

use super::GcsStore;
use super::config::{GcsConfig, GcsTimeouts};
use super::credentials::ServiceAccount;
use crate::config::Section;
use crate::storage::kind::{FileContext, Means};

/// What is said where the process's own credentials would have to be used.
const OWN_CREDENTIALS: &str = "the process's own credentials are not available in this version";

/// How to get at Google Cloud Storage.
#[derive(Debug, Clone)]
pub struct GcsAccess {
    /// Scheme, host and port of a server other than Google's; no path.
    pub endpoint: Option<Url>,
    /// Who the gateway is there. Only an emulator on this machine does without.
    pub service_account: Option<ServiceAccount>,
}

impl GcsAccess {
    /// Reads the keys of `Kind = "gcs"`.
    pub(in crate::storage) fn read(
        section: &mut Section<'_>,
        context: &FileContext<'_>,
    ) -> Option<Self> {
        let endpoint = section.key("Endpoint").non_empty().text(|text| {
            let url = context.policy.parse_url(text)?;
            // A signature is of no use to who sees it; a token is.
            if url.scheme() == "https" || GcsConfig::is_emulator(Some(&url)) {
                Ok(url)
            } else {
                Err("the URL must begin with https://: requests carry a token".to_owned())
            }
        });
        let endpoint_is_wrong = endpoint.is_wrong();
        let endpoint = endpoint.optional();
        let service_account = section
            .key("CredentialsFile")
            .non_empty()
            .text(|name| ServiceAccount::parse((context.document)(name)?));
        let needed = !endpoint_is_wrong && !GcsConfig::is_emulator(endpoint.as_ref());
        let service_account = if needed {
            Some(service_account.required(OWN_CREDENTIALS)?)
        } else {
            service_account.optional()
        };
        Some(Self { endpoint, service_account })
    }

    /// Opens the bucket.
    pub(in crate::storage) fn open(
        &self,
        bucket: &str,
        means: &Means<'_>,
    ) -> Result<GcsStore, String> {
        let config = GcsConfig {
            bucket: bucket.to_owned(),
            endpoint: self.endpoint.clone(),
            service_account: self.service_account.clone(),
            timeouts: GcsTimeouts::default(),
        };
        GcsStore::new(config, means.client.clone())
    }
}
