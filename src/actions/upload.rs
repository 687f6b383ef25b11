//! An existing upload, for whoever has a right to it.

use std::fmt;

use crate::apps::App;
use crate::domain::{Caller, Error, UploadId, UploadRecord};

use super::{Services, records_failed};

/// What a request has to show for an upload. Either is enough.
#[derive(Clone, Default)]
pub struct Right {
    /// What may be the upload's token.
    pub token: Option<String>,
    /// Who is asking, where that was proved.
    pub caller: Option<Caller>,
}

impl Right {
    /// The right of whoever holds a token.
    #[must_use]
    pub fn of_token(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), caller: None }
    }

    /// Whether there is anything that could be a right to some upload.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.token.is_some() || self.caller.is_some()
    }

    fn covers(&self, app: &App, services: &Services, record: &UploadRecord) -> bool {
        let owner = record.owner.as_ref();
        let by_token = self.token.as_ref().zip(owner).is_some_and(|(token, owner)| {
            services.tokens.verify(&app.name, record.key.id(), owner, token)
        });
        by_token || self.caller.as_ref().is_some_and(|caller| caller.may_act_for(owner))
    }
}

/// A token is a secret, for as long as its upload lasts.
impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Right").field("token", &token).field("caller", &self.caller).finish()
    }
}

/// Takes one call from the quota of an upload, and finds it.
///
/// # Errors
/// As [`find`], and [`Error::RateLimited`]. The quota is that of whoever has a right to the upload:
/// a wrong one costs nobody anything.
pub async fn ask(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
) -> Result<UploadRecord, Error> {
    let record = find(app, services, id, right).await?;
    take_call(app, id)?;
    Ok(record)
}

/// Takes one call from the quota of an upload, for whoever has shown a right to it.
///
/// # Errors
/// [`Error::RateLimited`].
pub(super) fn take_call(app: &App, id: UploadId) -> Result<(), Error> {
    app.upload_limit.check(&id).map(drop).map_err(|verdict| {
        app.metrics.rate_limited(verdict.limit);
        Error::RateLimited(verdict)
    })
}

/// Finds an upload that there is a right to.
///
/// # Errors
/// [`Error::UploadNotFound`] for an unknown upload, a wrong token and another's upload alike, so that
/// nobody learns which uploads exist; [`Error::RecordsUnavailable`].
pub async fn find(
    app: &App,
    services: &Services,
    id: UploadId,
    right: &Right,
) -> Result<UploadRecord, Error> {
    let record = services.records.get(&app.name, id).await.map_err(|e| records_failed(&e))?;
    record.filter(|record| right.covers(app, services, record)).ok_or(Error::UploadNotFound)
}
