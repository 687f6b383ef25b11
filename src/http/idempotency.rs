//! The header under which a request may be repeated.

use http::HeaderMap;

use crate::domain::{Error, IdempotencyKey};

use super::error::Problem;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The request's `Idempotency-Key`, if it has one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let refused = |what: &str| Problem::from(Error::InvalidRequest(what.to_owned()));
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("Idempotency-Key is sent twice: send one"));
    }
    let key = IdempotencyKey::parse(value.as_bytes());
    let wanted = "Idempotency-Key takes 1 to 255 visible ASCII characters, such as a UUID";
    key.map(Some).ok_or_else(|| refused(wanted))
}
