//! How an app's callers prove who they are: what the app's file says of it, and what verifies it.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;
use url::Url;

use super::api_keys::{self, ApiKey};
use super::jwks::{Algorithm, PublicKeys};
use super::jwt::{self, Expected, TokenRefusal};
use super::remote_keys::RemoteKeys;
use crate::domain::{AppName, Caller, IdentityMethod, IdentityOutcome, OwnerId};
use crate::upstream::Client;

/// `[Identity]` of an app's file: exactly one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityConfig {
    /// Tokens of an issuer.
    Jwt(JwtConfig),
    /// Keys; at least one, ids and hashes distinct.
    ApiKeys(Vec<ApiKey>),
    /// The header in which a proxy in front names the owner.
    TrustedProxy(HeaderName),
}

/// Which tokens prove what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// Who signs them.
    pub issuer: String,
    /// For whom they must be.
    pub audience: String,
    /// What they are signed with.
    pub algorithm: Algorithm,
    /// The claim that names the owner.
    pub owner_claim: String,
    /// Where the issuer's public keys are.
    pub keys: KeySource,
}

/// Where public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// They are published there, and change.
    Url(Url),
    /// They were in a file.
    Here(PublicKeys),
}

/// What verifies the callers of an app. It keeps what it has fetched: an app whose `[Identity]` has
/// not changed goes on with the one that it has.
pub enum Identity {
    /// By tokens.
    Jwt(JwtVerifier),
    /// By keys.
    ApiKeys(Vec<ApiKey>),
    /// By a header, of a peer that is trusted.
    TrustedProxy(HeaderName),
}

/// Verifies tokens.
pub struct JwtVerifier {
    issuer: String,
    audience: String,
    algorithm: Algorithm,
    owner_claim: String,
    keys: Keys,
}

enum Keys {
    Here(Arc<PublicKeys>),
    Remote(RemoteKeys),
}

/// A credential that was found to be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof<'a> {
    /// Who presented it.
    pub caller: Caller,
    /// The name of the API key, if it is one.
    pub key_id: Option<&'a str>,
}

impl Identity {
    /// Makes the verifier of an app. Nothing is asked of anybody.
    ///
    /// # Errors
    /// A text for the tenant.
    pub fn open(config: IdentityConfig, app: &AppName, client: &Client) -> Result<Self, String> {
        Ok(match config {
            IdentityConfig::ApiKeys(keys) => Self::ApiKeys(keys),
            IdentityConfig::TrustedProxy(header) => Self::TrustedProxy(header),
            IdentityConfig::Jwt(config) => {
                let JwtConfig { issuer, audience, algorithm, owner_claim, keys } = config;
                let keys = match keys {
                    KeySource::Here(keys) => Keys::Here(Arc::new(keys)),
                    KeySource::Url(url) => {
                        let whose = format!("app {app}");
                        Keys::Remote(RemoteKeys::new(whose, &url, algorithm, client.clone())?)
                    }
                };
                Self::Jwt(JwtVerifier { issuer, audience, algorithm, owner_claim, keys })
            }
        })
    }

    /// The way.
    #[must_use]
    pub const fn method(&self) -> IdentityMethod {
        match self {
            Self::Jwt(_) => IdentityMethod::Jwt,
            Self::ApiKeys(_) => IdentityMethod::ApiKey,
            Self::TrustedProxy(_) => IdentityMethod::TrustedProxy,
        }
    }

    /// The names of the API keys, where there are some.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        let keys: &[ApiKey] = match self {
            Self::ApiKeys(keys) => keys,
            Self::Jwt(_) | Self::TrustedProxy(_) => &[],
        };
        keys.iter().map(|key| key.id.as_str())
    }

    /// Who presents this: a token, a key, or what the header of a trusted peer says.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub async fn check(
        &self,
        presented: &str,
        now: SystemTime,
    ) -> Result<Proof<'_>, IdentityOutcome> {
        let (caller, key_id) = match self {
            Self::Jwt(verifier) => (Caller::owner(verifier.owner(presented, now).await?), None),
            Self::ApiKeys(keys) => {
                let key = api_keys::find(keys, presented).ok_or(IdentityOutcome::UnknownKey)?;
                (key.caller.clone(), Some(key.id.as_str()))
            }
            Self::TrustedProxy(_) => {
                let owner = OwnerId::parse(presented.as_bytes());
                (Caller::owner(owner.map_err(|_| IdentityOutcome::Malformed)?), None)
            }
        };
        Ok(Proof { caller, key_id })
    }
}

impl JwtVerifier {
    /// The owner that a token names.
    async fn owner(&self, token: &str, now: SystemTime) -> Result<OwnerId, IdentityOutcome> {
        let Self { issuer, audience, algorithm, owner_claim, keys } = self;
        let key_id = jwt::key_id(token, *algorithm)?;
        let keys = match keys {
            Keys::Here(keys) => Arc::clone(keys),
            Keys::Remote(remote) => remote.with(&key_id, now).await,
        };
        if keys.is_empty() {
            return Err(IdentityOutcome::Unavailable);
        }
        let expected = Expected { algorithm: *algorithm, issuers: &[issuer], audience };
        let claims = jwt::verify(token, &keys, &expected, now)?;
        let owner = claims.text(owner_claim)?.ok_or(TokenRefusal::Account)?;
        Ok(OwnerId::parse(owner.as_bytes()).map_err(|_| TokenRefusal::Account)?)
    }
}

#[cfg(test)]
mod tests;
