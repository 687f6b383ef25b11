//! Application default credentials: where the process's surroundings say who it is, and the files
//! that may say it.
//!
//! The order is that of every tool of Google's (AIP-4110): the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` names, the file that `gcloud` writes, the metadata server.

use std::path::PathBuf;

use google_cloud_auth::credentials::{AccessTokenCredentials, external_account, impersonated};
use serde::Deserialize;
use url::Url;

use super::config::GcsConfig;
use super::credentials::{STORAGE_SCOPE, ServiceAccount, is_address};
use super::sign_blob;
use crate::domain::Secret;

/// The largest file of credentials that is read, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// Where to look for the process's credentials, and where to have things signed.
#[derive(Debug, Clone)]
pub struct GcsSurroundings {
    /// The file that holds credentials: it must be there.
    pub file: Option<PathBuf>,
    /// The file that may be there, where no other is named.
    pub well_known_file: Option<PathBuf>,
    /// The metadata server; only its origin counts.
    pub metadata: Url,
    /// The IAM Service Account Credentials API; only its origin counts.
    pub iam_credentials: Url,
}

impl GcsSurroundings {
    /// What the environment says, by the variables that Google's own tools have.
    ///
    /// # Errors
    /// A text for the operator, about a variable that is not what it should be.
    pub fn from_environment() -> Result<Self, String> {
        Self::of(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn of(variable: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, String> {
        let text = |name: &str| match variable(name).map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(format!("{name} is not text")),
        };
        let url = |name: &str, text: &str| {
            Url::parse(text).map_err(|error| format!("{name} is not a URL: {error}"))
        };
        let host = "GCE_METADATA_HOST";
        let metadata = text(host)?.unwrap_or_else(|| "metadata.google.internal".to_owned());
        let iam = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
        let named = text(iam)?;
        let iam_credentials = named.as_deref().unwrap_or("https://iamcredentials.googleapis.com");
        let iam_credentials = url(iam, iam_credentials)?;
        if iam_credentials.scheme() != "https" && !GcsConfig::is_emulator(Some(&iam_credentials)) {
            return Err(format!("{iam} must begin with https://: requests carry a token"));
        }
        let gcloud = variable("CLOUDSDK_CONFIG").map(PathBuf::from).or_else(|| {
            variable("HOME").map(|home| PathBuf::from(home).join(".config").join("gcloud"))
        });
        Ok(Self {
            file: variable("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            well_known_file: gcloud.map(|at| at.join("application_default_credentials.json")),
            metadata: url(host, &format!("http://{metadata}"))?,
            iam_credentials,
        })
    }

    /// The file of credentials, if there is one.
    pub(super) async fn document(&self) -> Result<Option<Secret>, String> {
        let (path, must_be) = match (&self.file, &self.well_known_file) {
            (Some(file), _) => (file, true),
            (None, Some(file)) => (file, false),
            (None, None) => return Ok(None),
        };
        match tokio::fs::read(path).await {
            Ok(bytes) if bytes.len() > MAX_BYTES => {
                Err(format!("{} is larger than 64 KiB: these are no credentials", path.display()))
            }
            Ok(bytes) => Ok(Some(Secret::new(bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_be => Ok(None),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
}

/// What a file of credentials says.
#[derive(Debug)]
pub(super) enum Document {
    /// Here is the key of an account.
    Account(ServiceAccount),
    /// Somebody else, who may act as this account.
    Delegated(Delegate),
}

/// Somebody who gets tokens of an account from Google.
#[derive(Debug)]
pub(super) struct Delegate {
    pub(super) client_email: String,
    kind: DelegateKind,
    document: Secret,
}

#[derive(Debug, Clone, Copy)]
enum DelegateKind {
    /// Workload identity federation.
    External,
    /// An account, or a person, that acts as another account.
    Impersonated,
}

/// What is looked at of a file.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: Option<String>,
    service_account_impersonation_url: Option<String>,
}

impl Document {
    /// Takes the operator's file of credentials, of any kind that can sign.
    pub(super) fn parse(document: Secret) -> Result<Self, String> {
        // The parser's own message could repeat a part of a secret.
        let file: File = serde_json::from_slice(document.expose())
            .map_err(|_| "these are not Google's credentials in JSON")?;
        let kind = match file.kind.as_deref() {
            Some("service_account") => {
                return ServiceAccount::parse(document).map(Self::Account);
            }
            Some("external_account") => DelegateKind::External,
            Some("impersonated_service_account") => DelegateKind::Impersonated,
            Some("authorized_user") => {
                return Err(
                    "credentials of the type authorized_user are a person's, who can sign \
                            no URLs: act as a service account (gcloud auth application-default \
                            login --impersonate-service-account=…)"
                        .into(),
                );
            }
            _ => {
                return Err("only credentials of the types service_account, external_account and \
                            impersonated_service_account can be used"
                    .into());
            }
        };
        let url = file.service_account_impersonation_url.unwrap_or_default();
        let client_email = account_of(&url).ok_or(
            "the credentials name no service account in service_account_impersonation_url, and \
             only an account can sign URLs: make them with --service-account (gcloud iam \
             workload-identity-pools create-cred-config)",
        )?;
        Ok(Self::Delegated(Delegate { client_email, kind, document }))
    }
}

/// The account in `https://…/serviceAccounts/{account}:generateAccessToken`.
fn account_of(url: &str) -> Option<String> {
    let (_, rest) = url.rsplit_once("/serviceAccounts/")?;
    let email = rest.strip_suffix(":generateAccessToken")?;
    is_address(email).then(|| email.to_owned())
}

impl Delegate {
    /// The account's tokens. The crate keeps one, and a task of its own renews it.
    pub(super) fn tokens(&self) -> Result<AccessTokenCredentials, String> {
        let document = serde_json::from_slice(self.document.expose())
            .map_err(|_| "the credentials are not JSON")?;
        let scopes = [STORAGE_SCOPE, sign_blob::SCOPE];
        let built = match self.kind {
            DelegateKind::External => external_account::Builder::new(document)
                .with_scopes(scopes)
                .build_access_token_credentials(),
            DelegateKind::Impersonated => impersonated::Builder::new(document)
                .with_scopes(scopes)
                .build_access_token_credentials(),
        };
        // The crate's message could repeat a part of the file.
        built.map_err(|_| "the credentials lack what their type needs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY_FILE: &str = include_str!("../../../tests/keys/service-account.json");
    const IMPERSONATION: &str = "https://iamcredentials.googleapis.com/v1/projects/-/\
                                 serviceAccounts/media@p.iam.gserviceaccount.com:generateAccessToken";

    fn surroundings(variables: &[(&str, &str)]) -> Result<GcsSurroundings, String> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        GcsSurroundings::of(&|name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_variables_are_those_of_googles_tools() {
        let plain = surroundings(&[("HOME", "/home/gateway")]).unwrap();
        assert_eq!(plain.file, None);
        let known = "/home/gateway/.config/gcloud/application_default_credentials.json";
        assert_eq!(plain.well_known_file, Some(known.into()));
        assert_eq!(plain.metadata.as_str(), "http://metadata.google.internal/");
        assert_eq!(plain.iam_credentials.as_str(), "https://iamcredentials.googleapis.com/");

        let iam = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
        let named = surroundings(&[
            ("GOOGLE_APPLICATION_CREDENTIALS", "/run/key.json"),
            ("CLOUDSDK_CONFIG", "/gcloud"),
            ("GCE_METADATA_HOST", "127.0.0.1:8000"),
            (iam, "https://iamcredentials-psc.p.googleapis.com/"),
        ])
        .unwrap();
        assert_eq!(named.file, Some("/run/key.json".into()));
        assert_eq!(
            named.well_known_file,
            Some("/gcloud/application_default_credentials.json".into())
        );
        assert_eq!(named.metadata.as_str(), "http://127.0.0.1:8000/");
        let error = surroundings(&[(iam, "http://iam.example")]).unwrap_err();
        assert!(error.starts_with("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS must"));
        assert!(surroundings(&[(iam, "http://127.0.0.1:1")]).is_ok());
        assert!(surroundings(&[("GCE_METADATA_HOST", "a b")]).is_err());
    }

    #[test]
    fn who_the_operators_file_says_we_are() {
        let parse = |file: serde_json::Value| Document::parse(Secret::new(file.to_string()));
        let account = Document::parse(Secret::new(KEY_FILE)).unwrap();
        assert!(matches!(account, Document::Account(_)));
        for kind in ["external_account", "impersonated_service_account"] {
            let file = json!({"type": kind, "service_account_impersonation_url": IMPERSONATION});
            let Ok(Document::Delegated(delegate)) = parse(file) else { panic!("{kind}") };
            assert_eq!(delegate.client_email, "media@p.iam.gserviceaccount.com");
        }
        for (file, told) in [
            (json!("hunter2"), "not Google's credentials in JSON"),
            (json!({"type": "authorized_user"}), "are a person's, who can sign no URLs"),
            (json!({"type": "gdch_service_account"}), "only credentials of the types"),
            (json!({}), "only credentials of the types"),
            (json!({"type": "external_account"}), "name no service account"),
            (
                json!({
                    "type": "external_account",
                    "service_account_impersonation_url": "https://x/serviceAccounts/a/b@c:signBlob",
                }),
                "name no service account",
            ),
        ] {
            let error = parse(file).unwrap_err();
            assert!(error.contains(told), "{told}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
