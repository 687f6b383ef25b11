//! What apps are built with, for as long as the gateway runs.

use std::sync::Arc;

use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::apps::{App, AppConfig, AppFiles, Apps, Environment, Reading, Workshop};
use crate::domain::hex;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::storage::{GcsProcessCredentials, GcsSurroundings, ProcessCredentials, S3Access};
use crate::upstream::Client;

/// What apps are built with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Builder {
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
    pub(super) public_base_url: url::Url,
    pub(super) loop_token: HeaderValue,
    pub(super) embedded: Option<S3Access>,
    /// The process's own credentials for S3, from when the first app needs them.
    pub(super) process: Option<ProcessCredentials>,
    /// The same for Google Cloud Storage.
    pub(super) google: Option<GcsProcessCredentials>,
}

impl Builder {
    /// A builder without credentials of the process's own.
    pub(super) fn new(settings: &Settings, embedded: Option<S3Access>) -> Result<Self, String> {
        Ok(Self {
            client: Client::new(settings.server.address_policy.clone())?,
            metrics: Metrics::new(),
            public_base_url: settings.server.public_base_url.clone(),
            loop_token: loop_token(settings),
            embedded,
            process: None,
            google: None,
        })
    }

    /// What so many apps are built with.
    pub(super) fn workshop(&self, apps: usize) -> Workshop<'_> {
        Workshop {
            client: &self.client,
            metrics: &self.metrics,
            public_base_url: &self.public_base_url,
            loop_token: &self.loop_token,
            embedded: self.embedded.as_ref(),
            process: self.process.as_ref(),
            google: self.google.as_ref(),
            apps,
        }
    }

    /// Looks for the process's own AWS credentials, unless that was done.
    pub(super) async fn find_aws_credentials(&mut self) -> Result<(), String> {
        if self.process.is_none() {
            self.process = Some(ProcessCredentials::start().await?);
        }
        Ok(())
    }

    /// The same for those of Google.
    pub(super) async fn find_google_credentials(&mut self) -> Result<(), String> {
        if self.google.is_none() {
            let surroundings = GcsSurroundings::from_environment()?;
            self.google = Some(GcsProcessCredentials::start(surroundings).await?);
        }
        Ok(())
    }

    /// Looks for the credentials that newly read files need; refuses those files if there can be none.
    pub(super) async fn find_credentials_for(&mut self, reading: &mut Reading) {
        let aws = AppConfig::uses_aws_process_credentials;
        let google = AppConfig::uses_google_process_credentials;
        if reading.any(aws)
            && let Err(why) = self.find_aws_credentials().await
        {
            reading.refuse(aws, &why);
        }
        if reading.any(google)
            && let Err(why) = self.find_google_credentials().await
        {
            reading.refuse(google, &why);
        }
    }

    /// Builds apps.
    ///
    /// # Errors
    /// A text for each app that cannot be built.
    pub(super) fn build(&self, configs: &[AppConfig]) -> Result<Apps, Vec<String>> {
        let workshop = self.workshop(configs.len());
        let (mut built, mut errors) = (Vec::new(), Vec::new());
        for config in configs {
            match App::build(config.clone(), &workshop) {
                Ok(app) => built.push(app),
                Err(error) => errors.push(format!("app {}: {error}", config.name)),
            }
        }
        if errors.is_empty() { Ok(built.into_iter().collect()) } else { Err(errors) }
    }
}

/// Where the files of apps are, and what the settings say about them.
#[must_use]
pub fn app_files(settings: &Settings, env: Environment) -> AppFiles {
    let server = &settings.server;
    AppFiles {
        dir: server.apps_dir.clone(),
        address_policy: server.address_policy.clone(),
        max_url_expiry: server.max_url_expiry,
        secrets_dir: server.secrets_dir.clone(),
        grants: settings.grants.clone(),
        trusted_proxies: server.trusted_proxies.clone(),
        env,
        removal_grace: server.removal_grace,
    }
}

/// The mark of this deployment: the same on all of its nodes, another one for another deployment
/// that may rightly stand behind it.
fn loop_token(settings: &Settings) -> HeaderValue {
    let digest = Sha256::digest(settings.server.public_base_url.as_str());
    let mark = hex(&digest[..4]);
    HeaderValue::try_from(format!("safelight-{mark}")).expect("hexadecimal digits are ASCII")
}
