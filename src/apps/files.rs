//! Where the files of apps are, and what is needed to read them again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::load::{Directory, LoadContext, read_directory};
use crate::config::ConfigError;
use crate::domain::{Grants, TrustedProxies, hex};
use crate::upstream::AddressPolicy;

/// The environment: the value of a variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the files of apps are, and what the process's settings say about them.
#[derive(Clone)]
pub struct AppFiles {
    /// The directory.
    pub dir: PathBuf,
    /// What tenants' URLs may lead to.
    pub address_policy: AddressPolicy,
    /// The longest life of an upload URL.
    pub max_url_expiry: Duration,
    /// The directory that has a directory of secrets for each app.
    pub secrets_dir: PathBuf,
    /// Which apps may use the process's own credentials, and where.
    pub grants: Grants,
    /// The proxies in front of the gateway, where the operator has named them.
    pub trusted_proxies: Option<TrustedProxies>,
    /// The environment.
    pub env: Environment,
    /// For how long an app goes on whose file is gone.
    pub removal_grace: Duration,
}

impl AppFiles {
    /// Reads all of them, each by itself.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn read(&self) -> Result<Directory, ConfigError> {
        let Self { address_policy, secrets_dir, grants, env, .. } = self;
        let context = LoadContext {
            address_policy,
            max_url_expiry: self.max_url_expiry,
            secrets_dir,
            env: &|name| env(name),
            grants,
            trusted_proxies: self.trusted_proxies.as_ref(),
        };
        read_directory(&self.dir, &context)
    }
}

/// What a file's text is known by: the first 16 digits of its SHA-256, as `sha256sum` prints it.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn the_fingerprint_is_the_beginning_of_the_sha256() {
        // `printf abc | sha256sum`
        assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea");
    }
}
