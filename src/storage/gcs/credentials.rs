//! A service account with its key, as Google gives it out.

use std::sync::Arc;

use google_cloud_auth::credentials::AccessTokenCredentials;
use google_cloud_auth::credentials::service_account::{AccessSpecifier, Builder};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use crate::domain::Secret;

/// What tokens are good for: objects of the buckets that the account may use, and no settings.
pub(super) const STORAGE_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// The one universe whose servers this store knows.
const UNIVERSE: &str = "googleapis.com";

/// A service account with its key, usable by construction.
#[derive(Clone)]
pub struct ServiceAccount {
    client_email: String,
    key: Key,
    /// The whole key file, as Google's crate wants it.
    document: Secret,
}

/// What is looked at of a key file.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    universe_domain: Option<String>,
}

impl ServiceAccount {
    /// Takes a key file as Google gives it out.
    ///
    /// Other kinds of credentials are refused. They name URLs, and some of them programs, that would
    /// be asked for a token, and a tenant's file must not make the process ask.
    ///
    /// # Errors
    /// A text for the author of the settings, which tells nothing secret.
    pub fn parse(document: Secret) -> Result<Self, String> {
        // The parser's own message could repeat a part of the key.
        let file: KeyFile = serde_json::from_slice(document.expose()).map_err(|_| {
            "this is not the JSON key file of a service account: make one with \
             `gcloud iam service-accounts keys create`"
        })?;
        match file.kind.as_deref() {
            Some("service_account") => {}
            Some(
                kind @ ("external_account" | "impersonated_service_account" | "authorized_user"),
            ) => {
                return Err(format!(
                    "credentials of the type {kind} name places to ask for a token, and no app's \
                     file may send the gateway anywhere: use the key file of a service account, or \
                     let the operator grant the app the process's own credentials"
                ));
            }
            _ => return Err("only key files of the type service_account can be used".into()),
        }
        if file.universe_domain.is_some_and(|universe| universe != UNIVERSE) {
            return Err(format!("only accounts of the universe_domain {UNIVERSE} can be used"));
        }
        let client_email = file.client_email.filter(|email| is_address(email));
        let client_email = client_email.ok_or("the key file has no client_email")?;
        let key = Key::parse(&file.private_key.ok_or("the key file has no private_key")?)?;
        // The crate reads the same document; what it may miss besides, it says now.
        let value = serde_json::from_slice(document.expose()).map_err(|_| "not JSON")?;
        Builder::new(value)
            .build_signer()
            .map_err(|_| "the key file lacks private_key_id or project_id")?;
        Ok(Self { client_email, key, document })
    }

    /// Its address, by which permissions are given to it.
    #[must_use]
    pub fn client_email(&self) -> &str {
        &self.client_email
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Its tokens: signed by the key itself (a self-signed JWT), so that no token server is ever
    /// asked. The crate keeps one, and a task of its own renews it before it ends.
    pub(super) fn tokens(&self) -> Result<AccessTokenCredentials, String> {
        let document = serde_json::from_slice(self.document.expose())
            .map_err(|_| "the credentials are not JSON")?;
        Builder::new(document)
            .with_access_specifier(AccessSpecifier::from_scopes([STORAGE_SCOPE]))
            .build_access_token_credentials()
            .map_err(|_| "the credentials are not a service account's".to_owned())
    }
}

/// Whether a text is an account's address, which is a part of every URL that it signs.
pub(super) fn is_address(email: &str) -> bool {
    let graphic = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'?' | b'#' | b'%' | b':');
    email.contains('@') && email.bytes().all(graphic)
}

/// Everything of an account comes from its key file.
impl PartialEq for ServiceAccount {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

impl Eq for ServiceAccount {}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("client_email", &self.client_email)
            .finish_non_exhaustive()
    }
}

/// An RSA key, read once: Google's own signer reads the PEM anew for each signature, which adds a
/// good quarter to the time of the signature itself.
#[derive(Clone)]
pub(super) struct Key(Arc<dyn rustls::sign::Signer>);

impl Key {
    fn parse(pem: &str) -> Result<Self, String> {
        let wrong = "the private_key is not an RSA key in PEM (\"BEGIN PRIVATE KEY\")";
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong)?;
        // The one form that the crate takes for its tokens.
        if !matches!(key, PrivateKeyDer::Pkcs8(_)) {
            return Err(wrong.into());
        }
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| wrong)?;
        let scheme = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or(wrong)?;
        Ok(Self(scheme.into()))
    }

    /// Signs by RSA PKCS #1 v1.5 with SHA-256: up to a millisecond of a processor's work.
    pub(super) fn sign(&self, content: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(content)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY_FILE: &str = include_str!("../../../tests/keys/service-account.json");

    fn changed(field: &str, value: Value) -> String {
        let mut file: Value = serde_json::from_str(KEY_FILE).unwrap();
        file[field] = value;
        file.to_string()
    }

    #[test]
    fn a_key_file_is_a_service_account() {
        let account = ServiceAccount::parse(Secret::new(KEY_FILE)).unwrap();
        assert_eq!(account.client_email(), "gateway@safelight-tests.iam.gserviceaccount.com");
        let printed = format!("{account:?}");
        assert!(!printed.contains("PRIVATE") && !printed.contains("private_key"), "{printed}");
    }

    #[test]
    fn what_is_none_is_told() {
        let key = serde_json::from_str::<Value>(KEY_FILE).unwrap()["private_key"].clone();
        let half: String = key.as_str().unwrap().chars().take(800).collect();
        for (file, told) in [
            ("hunter2".to_owned(), "this is not the JSON key file of a service account"),
            (changed("type", json!("external_account")), "the type external_account name places"),
            (
                changed("type", json!("impersonated_service_account")),
                "impersonated_service_account",
            ),
            (changed("type", json!("authorized_user")), "the type authorized_user name places"),
            (changed("type", json!("gdch_service_account")), "only key files of the type"),
            (changed("type", Value::Null), "only key files of the type service_account"),
            (changed("universe_domain", json!("example.com")), "only accounts of the universe"),
            (changed("client_email", json!("")), "has no client_email"),
            (changed("client_email", json!("a@b/../c")), "has no client_email"),
            (changed("private_key", Value::Null), "has no private_key"),
            (changed("private_key", json!(half)), "is not an RSA key in PEM"),
            (changed("private_key", json!("hunter2")), "is not an RSA key in PEM"),
            (changed("project_id", Value::Null), "lacks private_key_id or project_id"),
        ] {
            let error = ServiceAccount::parse(Secret::new(file)).unwrap_err();
            assert!(error.contains(told), "{told}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
