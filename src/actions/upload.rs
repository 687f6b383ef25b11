//! An existing upload, for whoever holds its token.

use crate::apps::App;
use crate::domain::{Error, UploadId, UploadRecord};

use super::{Services, records_failed};

/// Takes one call from the quota of an upload, and finds it.
///
/// # Errors
/// As [`find`], and [`Error::RateLimited`]. The quota is that of whoever holds the token: a wrong
/// one costs nobody anything.
pub async fn ask(
    app: &App,
    services: &Services,
    id: UploadId,
    token: &str,
) -> Result<UploadRecord, Error> {
    let record = find(app, services, id, token).await?;
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

/// Finds an upload that the token gives a right to.
///
/// # Errors
/// [`Error::UploadNotFound`] for an unknown upload and for a wrong token alike, so that nobody
/// learns which uploads exist; [`Error::RecordsUnavailable`].
pub async fn find(
    app: &App,
    services: &Services,
    id: UploadId,
    token: &str,
) -> Result<UploadRecord, Error> {
    let record = services.records.get(&app.name, id).await.map_err(|e| records_failed(&e))?;
    let holds = |record: &UploadRecord| {
        let owner = record.owner.as_ref();
        owner.is_some_and(|owner| services.tokens.verify(&app.name, id, owner, token))
    };
    record.filter(holds).ok_or(Error::UploadNotFound)
}
