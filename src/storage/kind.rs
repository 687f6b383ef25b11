//! Which providers there are: the one list of them. What a file says of each is read, and opened, in
//! the provider's own folder.

use std::sync::Arc;

use super::ObjectStore;
use super::gcs::{GcsAccess, GcsAccount, GcsProcessCredentials};
use super::s3::{ProcessCredentials, Provider, S3Access};
use crate::config::{Section, nearest};
use crate::domain::{AppName, Grants, Secret, Source};
use crate::upstream::{AddressPolicy, Client};

/// A provider, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Amazon S3, or something that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// The store that is built into this program, for development.
    Embedded,
}

/// A provider, and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageKind {
    /// Amazon S3, or something that speaks its protocol.
    S3(S3Access),
    /// Google Cloud Storage.
    Gcs(GcsAccess),
    /// The store that is built into this program, for development.
    Embedded,
}

/// What bounds the file of an app while it is read.
pub struct FileContext<'a> {
    /// The app.
    pub app: &'a AppName,
    /// What its URLs may lead to.
    pub policy: &'a AddressPolicy,
    /// Which apps may use the process's own credentials, and where.
    pub grants: &'a Grants,
    /// The credential that a value stands for.
    pub secret: &'a dyn Fn(&str) -> Result<Secret, String>,
    /// What the app's file of secrets with this name holds.
    pub document: &'a dyn Fn(&str) -> Result<Secret, String>,
}

/// What the process gives an app to open its storage with.
pub struct Means<'a> {
    /// The client of every upstream.
    pub client: &'a Client,
    /// The process's own credentials for S3, where an app has none of its own.
    pub process: Option<&'a ProcessCredentials>,
    /// The same for Google Cloud Storage.
    pub google: Option<&'a GcsProcessCredentials>,
    /// How to get at the embedded store, in a process that has one.
    pub embedded: Option<&'a S3Access>,
}

impl Kind {
    /// Every kind.
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Embedded];

    /// How a file names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Embedded => "embedded",
        }
    }

    /// The kind of that name.
    ///
    /// # Errors
    /// A text for the author of the file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| match nearest(text, Self::ALL.map(Self::name)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write \"s3\", \"gcs\" or \"embedded\"".to_owned(),
        })
    }
}

impl StorageKind {
    /// Reads the keys of a kind. What is wrong is noted in the section.
    #[must_use]
    pub fn read(
        kind: Kind,
        section: &mut Section<'_>,
        bucket: Option<&str>,
        context: &FileContext<'_>,
    ) -> Option<Self> {
        Some(match kind {
            Kind::S3 => Self::S3(S3Access::read(section, bucket, context)?),
            Kind::Gcs => Self::Gcs(GcsAccess::read(section, bucket, context)?),
            Kind::Embedded => Self::Embedded,
        })
    }

    /// Opens a bucket. Nothing is asked of the server.
    ///
    /// # Errors
    /// A text for the tenant.
    pub fn open(&self, bucket: &str, means: &Means<'_>) -> Result<Arc<dyn ObjectStore>, String> {
        Ok(match self {
            Self::S3(access) => Arc::new(access.open(bucket, Source::S3, means)?),
            Self::Gcs(access) => Arc::new(access.open(bucket, means)?),
            Self::Embedded => {
                let access = means.embedded.ok_or(
                    "Storage.Kind = \"embedded\" is the store inside `safelight dev`: use \"s3\" \
                     here",
                )?;
                Arc::new(access.open(bucket, Source::Embedded, means)?)
            }
        })
    }

    /// Whether it is Google's, reached with the process's own credentials.
    #[must_use]
    pub const fn uses_google_process_credentials(&self) -> bool {
        match self {
            Self::Gcs(access) => matches!(access.account, GcsAccount::Process),
            Self::S3(_) | Self::Embedded => false,
        }
    }

    /// Whether it is S3, reached with the process's own credentials.
    #[must_use]
    pub const fn uses_aws_process_credentials(&self) -> bool {
        match self {
            Self::S3(access) => access.key.is_none(),
            Self::Gcs(_) | Self::Embedded => false,
        }
    }

    /// Whether an upload URL can be made to keep what exists; else why not, for the tenant.
    ///
    /// # Errors
    /// What to write instead.
    pub fn check_keeps_what_exists(&self) -> Result<(), String> {
        match self {
            Self::S3(access) if !access.provider.keeps_what_exists() => Err(format!(
                "{} is not known to obey If-None-Match on a PUT, so an upload URL could be used \
                 more than once: write false, or use other storage",
                access.provider.title()
            )),
            Self::S3(_) | Self::Gcs(_) | Self::Embedded => Ok(()),
        }
    }

    /// Which store a bucket's name belongs to. The names of Amazon's buckets are unique among all
    /// regions, and those of Google's among all, so all endpoints of each are one store. Google's
    /// speak S3's protocol as well.
    #[must_use]
    pub fn namespace(&self) -> String {
        let (endpoint, own) = match self {
            Self::S3(access) => (&access.endpoint, "amazon"),
            Self::Gcs(access) => (&access.endpoint, "google"),
            Self::Embedded => return "embedded".to_owned(),
        };
        let Some(endpoint) = endpoint else { return own.to_owned() };
        let host = endpoint.host_str().unwrap_or_default().trim_end_matches('.');
        if Provider::of_host(host) == Some(Provider::Aws) {
            return "amazon".to_owned();
        }
        if host.ends_with(".googleapis.com") {
            return "google".to_owned();
        }
        format!("{host}:{}", endpoint.port_or_known_default().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_store_has_one_name() {
        let url =
            |endpoint: &str| (!endpoint.is_empty()).then(|| url::Url::parse(endpoint).unwrap());
        let s3 = |endpoint: &str| {
            let access = S3Access {
                provider: Provider::Other,
                region: "us-east-1".to_owned(),
                endpoint: url(endpoint),
                path_style: true,
                key: None,
            };
            StorageKind::S3(access).namespace()
        };
        let gcs = |endpoint: &str| {
            let access = GcsAccess { endpoint: url(endpoint), account: GcsAccount::Nobody };
            StorageKind::Gcs(access).namespace()
        };
        for (one, other, same) in [
            (gcs(""), gcs("https://private.googleapis.com"), true),
            (gcs(""), gcs("https://storage.googleapis.com."), true),
            // The same bucket in the other protocol.
            (gcs(""), s3("https://storage.googleapis.com"), true),
            (gcs("http://127.0.0.1:4443"), s3("http://127.0.0.1:4443"), true),
            (gcs(""), gcs("http://127.0.0.1:4443"), false),
            (gcs(""), gcs("https://notgoogleapis.com"), false),
            (gcs(""), s3(""), false),
            (s3(""), s3("https://s3.eu-central-1.amazonaws.com"), true),
            (s3(""), s3("https://s3.cn-north-1.amazonaws.com.cn"), true),
            (s3(""), s3("https://evil-amazonaws.com"), false),
            (s3("https://r2.example"), s3("https://r2.example:443"), true),
        ] {
            assert_eq!(one == other, same, "{one} {other}");
        }
    }
}
