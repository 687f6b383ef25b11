//! Requests that are made again under the same `Idempotency-Key`: the upload that the first one
//! began is found, and no second one is.

use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{Error, IdempotencyClaim, UploadRecord};

use super::{Services, records_failed};

/// The upload that was begun under a claim before, if there is one.
///
/// # Errors
/// [`Error::IdempotencyConflict`] if that was another request, [`Error::RecordsUnavailable`].
pub(super) async fn earlier(
    app: &App,
    services: &Services,
    claim: Option<&IdempotencyClaim>,
    now: SystemTime,
) -> Result<Option<UploadRecord>, Error> {
    let Some(claim) = claim else { return Ok(None) };
    let records = &services.records;
    let claimed = records.claimed(claim.scope, now).await.map_err(|e| records_failed(&e))?;
    let Some(claimed) = claimed else { return Ok(None) };
    if claimed.request != claim.request {
        return Err(Error::IdempotencyConflict);
    }
    records.get(&app.name, claimed.id).await.map_err(|error| records_failed(&error))
}
