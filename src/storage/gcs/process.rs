//! The process's own credentials: found where every tool of Google's finds them, and renewed
//! without a restart.
//!
//! A task of their own looks again: at a file whether it has changed and its tokens still come, at
//! the metadata server before its token ends. Whoever calls or signs takes what is there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::adc::{Delegate, Document, GcsSurroundings};
use super::identity::{Identity, Tokens, prepare_cryptography};
use super::metadata::MetadataServer;
use super::sign_blob::SignBlob;
use crate::domain::Secret;
use crate::storage::{StorageError, StorageErrorKind, renewal};
use crate::upstream::{Client, Origin};

/// How long before its end the metadata server's token is renewed. It hands out the next one five
/// minutes before, and four on Cloud Run (says Google's crate).
const LEAD: Duration = Duration::from_secs(4 * 60);

/// How often a file is looked at, and whether its tokens still come.
const REREAD: Duration = Duration::from_secs(30);

/// For one look, with every place that has to be asked.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// The process's own credentials, renewed for as long as somebody holds this. Cheap to clone.
#[derive(Clone)]
pub struct GcsProcessCredentials(watch::Receiver<Option<Arc<Identity>>>);

impl GcsProcessCredentials {
    /// Looks for the process's credentials, once, and goes on in the background: whether or not
    /// there were any, because what hands them out may be late or away for a while.
    ///
    /// # Errors
    /// A text for the operator, if there is a file that cannot be used, or the system has no
    /// certificate authorities.
    pub async fn start(surroundings: GcsSurroundings) -> Result<Self, String> {
        prepare_cryptography();
        let client = Client::unrestricted()?;
        let metadata = Origin::from_url(&surroundings.metadata)?;
        let iam = Origin::from_url(&surroundings.iam_credentials)?;
        let mut finder = Finder {
            surroundings,
            metadata: MetadataServer::new(client.clone(), metadata),
            sign_blob: Arc::new(SignBlob::new(client, iam)),
            document: None,
        };
        let (sender, receiver) = watch::channel(None);
        let found = finder.look(None).await;
        if let Err(NotFound::Unusable(why)) = &found {
            return Err(format!("the process's own Google credentials: {why}"));
        }
        let wait = take(&sender, found, SystemTime::now());
        tokio::spawn(keep_fresh(sender, finder, wait));
        Ok(Self(receiver))
    }

    /// No credentials: for checking what would be built, without asking anybody.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(None).1)
    }

    /// Who the process is now.
    pub(super) fn current(&self) -> Result<Arc<Identity>, StorageError> {
        self.0.borrow().clone().ok_or_else(|| {
            let detail = "the process has found no Google credentials so far";
            StorageError::new(StorageErrorKind::Credentials, detail)
        })
    }
}

/// Says no secret.
impl std::fmt::Debug for GcsProcessCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GcsProcessCredentials(…)")
    }
}

/// Renews until nobody is left who would ask.
async fn keep_fresh(
    sender: watch::Sender<Option<Arc<Identity>>>,
    mut finder: Finder,
    mut wait: Duration,
) {
    while renewal::rest(&sender, wait).await {
        let current = sender.borrow().clone();
        let found = finder.look(current).await;
        wait = take(&sender, found, SystemTime::now());
    }
}

/// Puts what was found into use, or keeps what there is. Returns how long to wait before the next
/// look.
fn take(
    sender: &watch::Sender<Option<Arc<Identity>>>,
    found: Result<Arc<Identity>, NotFound>,
    now: SystemTime,
) -> Duration {
    let left = |identity: &Arc<Identity>| {
        identity.ends().map(|ends| ends.duration_since(now).unwrap_or_default())
    };
    match found {
        Ok(identity) => {
            let left = left(&identity);
            sender.send_if_modified(|current| {
                let is_new = !current.as_ref().is_some_and(|known| Arc::ptr_eq(known, &identity));
                if is_new {
                    let account = identity.client_email();
                    tracing::info!(account, lifetime = ?left, "the process has new Google credentials");
                    *current = Some(identity);
                }
                is_new
            });
            left.map_or(REREAD, |left| renewal::before_end(left, LEAD))
        }
        Err(NotFound::Unusable(failure) | NotFound::Away(failure)) => {
            let left = sender.borrow().as_ref().and_then(left);
            tracing::warn!(
                %failure,
                usable_for = ?left,
                "the process's Google credentials cannot be renewed"
            );
            renewal::after_failure(left)
        }
    }
}

/// Why a look found nothing.
enum NotFound {
    /// What is there is no good, and will not become so by itself.
    Unusable(String),
    /// What would be asked does not answer, or not as it should.
    Away(String),
}

/// Looks for credentials.
struct Finder {
    surroundings: GcsSurroundings,
    metadata: MetadataServer,
    sign_blob: Arc<SignBlob>,
    /// The file that the current identity was made of.
    document: Option<Secret>,
}

impl Finder {
    async fn look(&mut self, current: Option<Arc<Identity>>) -> Result<Arc<Identity>, NotFound> {
        tokio::time::timeout(LOOK_LIMIT, self.find(current)).await.unwrap_or_else(|_| {
            Err(NotFound::Away(format!("no credentials within {LOOK_LIMIT:?}")))
        })
    }

    async fn find(&mut self, current: Option<Arc<Identity>>) -> Result<Arc<Identity>, NotFound> {
        let document = self.surroundings.document().await.map_err(NotFound::Unusable)?;
        let Some(document) = document else {
            let found = self.ask_metadata_server().await.map_err(NotFound::Away)?;
            self.document = None;
            return Ok(Arc::new(found));
        };
        if let Some(current) = current
            && self.document.as_ref() == Some(&document)
            && current.bearer().await.is_ok()
        {
            return Ok(current);
        }
        // Also where the file is the same: the crate gives up at some failures, for good.
        let identity = match Document::parse(document.clone()).map_err(NotFound::Unusable)? {
            Document::Account(account) => Identity::of_account(&account),
            Document::Delegated(delegate) => self.delegated(delegate),
        };
        let identity = identity.map_err(NotFound::Unusable)?;
        identity.bearer().await.map_err(|error| NotFound::Away(error.detail))?;
        self.document = Some(document);
        Ok(Arc::new(identity))
    }

    fn delegated(&self, delegate: Delegate) -> Result<Identity, String> {
        let tokens = Tokens::Kept(delegate.tokens()?);
        Ok(Identity::without_key(delegate.client_email, tokens, Arc::clone(&self.sign_blob)))
    }

    async fn ask_metadata_server(&self) -> Result<Identity, String> {
        let client_email = self.metadata.email().await?;
        let token = self.metadata.token().await?;
        let ends = SystemTime::now() + token.life;
        let tokens = Tokens::Held { bearer: token.bearer, ends };
        Ok(Identity::without_key(client_email, tokens, Arc::clone(&self.sign_blob)))
    }
}

#[cfg(test)]
mod tests;
