//! What an app's file says of a bucket of Google Cloud Storage.

use url::Url;

use super::config::{GOOGLE_STORAGE, GcsConfig, GcsTimeouts};
use super::{GcsCredentials, GcsStore, ServiceAccount};
use crate::config::Section;
use crate::domain::Grant;
use crate::storage::kind::{FileContext, Means};

/// How to get at Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsAccess {
    /// Scheme, host and port of a server other than Google's; no path.
    pub endpoint: Option<Url>,
    /// Who the gateway is there.
    pub account: GcsAccount,
}

/// Who the gateway is to Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcsAccount {
    /// The app's own service account.
    Own(ServiceAccount),
    /// Whoever the process is, which the operator has granted the app for this bucket.
    Process,
    /// Nobody: an emulator on this machine.
    Nobody,
}

impl GcsAccess {
    /// Reads the keys of `Kind = "gcs"`.
    pub(in crate::storage) fn read(
        section: &mut Section<'_>,
        bucket: Option<&str>,
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
        let file = section
            .key("CredentialsFile")
            .non_empty()
            .text(|name| ServiceAccount::parse((context.document)(name)?));
        if file.is_present() {
            let account = GcsAccount::Own(file.optional()?);
            return Some(Self { endpoint, account });
        }
        // A grant names Google by its address: one for a bucket of Amazon's is none for a bucket of the
        // same name here.
        let google = || Url::parse(GOOGLE_STORAGE).expect("the constant is a URL");
        let server = endpoint.clone().unwrap_or_else(google);
        let wanted = bucket.filter(|_| !endpoint_is_wrong).map(|bucket| Grant {
            app: context.app.clone(),
            bucket: bucket.to_owned(),
            endpoint: Some(server.origin().ascii_serialization()),
        });
        let granted = wanted.as_ref().is_some_and(|wanted| context.grants.allow(wanted));
        let account = match (granted, GcsConfig::is_emulator(endpoint.as_ref())) {
            (true, _) => GcsAccount::Process,
            (false, true) => GcsAccount::Nobody,
            (false, false) => {
                // A wrong endpoint or bucket has been told already.
                let wanted = wanted?;
                let message = "Storage.CredentialsFile is missing: the app is not granted the \
                               process's own credentials";
                let hint = format!(
                    "name the key file of a service account, or let the operator add to the \
                     settings: {wanted}"
                );
                section.error(file.place(), message, Some(hint));
                return None;
            }
        };
        Some(Self { endpoint, account })
    }

    /// Opens the bucket.
    pub(in crate::storage) fn open(
        &self,
        bucket: &str,
        means: &Means<'_>,
    ) -> Result<GcsStore, String> {
        let credentials = match (&self.account, means.google) {
            (GcsAccount::Own(account), _) => GcsCredentials::Account(account.clone()),
            (GcsAccount::Process, Some(process)) => GcsCredentials::Process(process.clone()),
            (GcsAccount::Process, None) => {
                return Err("the process has no Google credentials of its own".into());
            }
            (GcsAccount::Nobody, _) => GcsCredentials::Anonymous,
        };
        let config = GcsConfig {
            bucket: bucket.to_owned(),
            endpoint: self.endpoint.clone(),
            credentials,
            timeouts: GcsTimeouts::default(),
        };
        GcsStore::new(config, means.client.clone())
    }
}
