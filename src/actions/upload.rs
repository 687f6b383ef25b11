//! An existing upload, for whoever holds its token.

use crate::apps::App;
use crate::domain::{Error, UploadId, UploadRecord};

use super::{Services, records_failed};

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
    record
        .filter(|record| services.tokens.verify(&app.name, id, &record.owner, token))
        .ok_or(Error::UploadNotFound)
}
