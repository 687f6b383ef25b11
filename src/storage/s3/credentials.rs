//! Who we are: an access key of the app's own, or what the process has from its surroundings.
//!
//! The process's credentials are looked for where every AWS tool looks: environment, profile, web
//! identity, container, instance. They end, so a task of their own renews them in time. Whoever
//! signs takes what is there and waits for nobody.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::watch;

use super::errors::chain;
use super::sigv4::Presigner;
use super::transport::Transport;
use crate::domain::Secret;
use crate::storage::{StorageError, StorageErrorKind, renewal};
use crate::upstream::{Client, Timeouts};

/// How long before their end credentials are renewed. Amazon offers the next ones at least five
/// minutes before ("Retrieve security credentials from instance metadata", EC2 User Guide).
const LEAD: Duration = Duration::from_secs(5 * 60);

/// How often credentials without an end are read again: those of a profile may change on disk.
const REREAD: Duration = Duration::from_secs(5 * 60);

/// For finding credentials, with every place and every attempt.
const LOAD_LIMIT: Duration = Duration::from_secs(30);

/// For one answer of an endpoint of credentials, where the SDK sets no limit of its own.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(2), first_byte: Duration::from_secs(5) };

/// A long-term or temporary access key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// The token that temporary credentials come with.
    pub session_token: Option<Secret>,
}

/// Who a store is to its server.
#[derive(Debug, Clone)]
pub enum S3Credentials {
    /// The holder of this key, for as long as the store lives.
    Key(AccessKey),
    /// Whoever the process is.
    Process(ProcessCredentials),
}

/// The process's own credentials, renewed for as long as somebody holds this. Cheap to clone.
#[derive(Clone)]
pub struct ProcessCredentials(watch::Receiver<Option<Arc<Lease>>>);

/// Credentials and when they end.
#[derive(PartialEq, Eq)]
pub(super) struct Lease {
    key: AccessKey,
    /// `None`: never, as far as is known.
    ends: Option<SystemTime>,
}

/// Says nothing of itself: an id may be a secret that somebody wrote into the wrong line.
impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessKey(…)")
    }
}

impl AccessKey {
    pub(super) fn is_empty(&self) -> bool {
        self.access_key_id.is_empty() || self.secret_access_key.expose().is_empty()
    }

    fn for_sdk(
        &self,
        ends: Option<SystemTime>,
    ) -> Result<aws_credential_types::Credentials, String> {
        let secret = self.secret_access_key.expose_str().ok_or("the secret key is not text")?;
        let token = match &self.session_token {
            Some(token) => Some(token.expose_str().ok_or("the session token is not text")?),
            None => None,
        };
        let (id, token) = (self.access_key_id.as_str(), token.map(str::to_owned));
        Ok(aws_credential_types::Credentials::new(id, secret, token, ends, "safelight"))
    }
}

impl S3Credentials {
    /// The same for the SDK, which asks for them before every call.
    pub(super) fn for_sdk(&self) -> Result<SharedCredentialsProvider, String> {
        Ok(match self {
            Self::Key(key) => SharedCredentialsProvider::new(key.for_sdk(None)?),
            Self::Process(process) => SharedCredentialsProvider::new(process.clone()),
        })
    }
}

impl ProcessCredentials {
    /// Looks for the process's credentials, once, and goes on in the background: whether or not
    /// there were any, because what hands them out may be late or away for a while.
    ///
    /// # Errors
    /// A text for the operator, if the system has no certificate authorities.
    pub async fn start() -> Result<Self, String> {
        let transport = Transport::anywhere(Client::unrestricted()?, TIMEOUTS);
        let (sender, receiver) = watch::channel(None);
        let first = load(&transport).await;
        let wait = take(&sender, first, SystemTime::now());
        tokio::spawn(keep_fresh(sender, transport, wait));
        Ok(Self(receiver))
    }

    /// No credentials: for checking what would be built, without asking anybody.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(None).1)
    }

    /// What there is now, if it has not ended.
    fn current(&self, now: SystemTime) -> Result<Arc<Lease>, &'static str> {
        let lease = self.0.borrow().clone().ok_or("the process has found no credentials so far")?;
        match lease.ends {
            Some(ends) if ends <= now => Err("the process's credentials have ended"),
            _ => Ok(lease),
        }
    }
}

/// Says no secret.
impl std::fmt::Debug for ProcessCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessCredentials(…)")
    }
}

impl ProvideCredentials for ProcessCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let current = self.current(SystemTime::now()).map_err(CredentialsError::not_loaded);
        future::ProvideCredentials::ready(current.and_then(|lease| {
            lease.key.for_sdk(lease.ends).map_err(CredentialsError::invalid_configuration)
        }))
    }
}

/// Renews until nobody is left who would ask.
async fn keep_fresh(
    sender: watch::Sender<Option<Arc<Lease>>>,
    transport: Transport,
    mut wait: Duration,
) {
    while renewal::rest(&sender, wait).await {
        let loaded = load(&transport).await;
        wait = take(&sender, loaded, SystemTime::now());
    }
}

/// Looks for credentials. Everything is read again: files and variables may name other things now.
async fn load(transport: &Transport) -> Result<Lease, String> {
    let config = ProviderConfig::without_region().with_http_client(transport.clone());
    let found = tokio::time::timeout(LOAD_LIMIT, async {
        let chain = DefaultCredentialsChain::builder().configure(config).build().await;
        chain.provide_credentials().await
    });
    let found = found.await.map_err(|_| format!("no answer within {LOAD_LIMIT:?}"))?;
    let found = found.map_err(|error| chain(&error))?;
    Ok(Lease {
        key: AccessKey {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: Secret::new(found.secret_access_key()),
            session_token: found.session_token().map(Secret::new),
        },
        ends: found.expiry(),
    })
}

/// Puts what was found into use, or keeps what there is. Returns how long to wait before the next
/// look.
fn take(
    sender: &watch::Sender<Option<Arc<Lease>>>,
    loaded: Result<Lease, String>,
    now: SystemTime,
) -> Duration {
    let left = |lease: &Lease| lease.ends.map(|ends| ends.duration_since(now).unwrap_or_default());
    let failure = match loaded {
        Ok(lease) if left(&lease).is_some_and(|left| left.is_zero()) => {
            "those that were found have ended already".to_owned()
        }
        Ok(lease) => {
            let wait = next_look(left(&lease));
            sender.send_if_modified(|current| {
                let is_new = current.as_deref() != Some(&lease);
                if is_new {
                    tracing::info!(lifetime = ?left(&lease), "the process has new credentials");
                    *current = Some(Arc::new(lease));
                }
                is_new
            });
            return wait;
        }
        Err(failure) => failure,
    };
    let left = sender.borrow().as_deref().map(left);
    tracing::warn!(%failure, usable_for = ?left, "the process's credentials cannot be renewed");
    renewal::after_failure(left.flatten())
}

/// When to look again at credentials that end in so long, if they do.
fn next_look(left: Option<Duration>) -> Duration {
    left.map_or(REREAD, |left| renewal::before_end(left, LEAD))
}

/// Signs URLs with what credentials there are.
pub(super) enum Signer {
    Key(Presigner),
    Process {
        credentials: ProcessCredentials,
        region: String,
        /// For the credentials that were the last to sign.
        last: RwLock<Option<(Arc<Lease>, Arc<Presigner>)>>,
    },
}

/// A presigner that is lent for one URL.
pub(super) enum Lent<'a> {
    Own(&'a Presigner),
    Shared(Arc<Presigner>),
}

impl std::ops::Deref for Lent<'_> {
    type Target = Presigner;

    fn deref(&self) -> &Presigner {
        match self {
            Self::Own(presigner) => presigner,
            Self::Shared(presigner) => presigner,
        }
    }
}

impl Signer {
    pub(super) fn new(credentials: S3Credentials, region: String) -> Self {
        match credentials {
            S3Credentials::Key(key) => Self::Key(Presigner::new(key, region)),
            S3Credentials::Process(credentials) => {
                Self::Process { credentials, region, last: RwLock::new(None) }
            }
        }
    }

    /// What signs now, and how long a URL may live that is to live `expires_in`: no longer than the
    /// credentials.
    pub(super) fn presigner(
        &self,
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<(Lent<'_>, Duration), StorageError> {
        let (credentials, region, last) = match self {
            Self::Key(presigner) => return Ok((Lent::Own(presigner), expires_in)),
            Self::Process { credentials, region, last } => (credentials, region, last),
        };
        let broken = |detail: &str| StorageError::new(StorageErrorKind::Credentials, detail);
        let lease = credentials.current(now).map_err(broken)?;
        let expires_in = match lease.ends {
            None => expires_in,
            Some(ends) => expires_in.min(ends.duration_since(now).unwrap_or_default()),
        };
        if expires_in < Duration::from_secs(1) {
            return Err(broken("the process's credentials are about to end"));
        }
        let known = last.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, presigner)) = known.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &lease)) {
            return Ok((Lent::Shared(Arc::clone(presigner)), expires_in));
        }
        drop(known);
        let presigner = Arc::new(Presigner::new(lease.key.clone(), region.clone()));
        let signed_last = Some((lease, Arc::clone(&presigner)));
        *last.write().unwrap_or_else(PoisonError::into_inner) = signed_last;
        Ok((Lent::Shared(presigner), expires_in))
    }
}

#[cfg(test)]
mod tests;
