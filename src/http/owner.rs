//! Who the upload is for: the `X_Owner_Id` header.
//!
//! A header name with an underscore is dropped or rewritten by some proxies, and two spellings
//! invite smuggling one past a proxy that checks the other. So: one value, however spelled.

use http::HeaderMap;
use http::header::CONNECTION;

use crate::domain::OwnerId;

use super::error::Problem;

/// Both spellings of the header.
pub const SPELLINGS: [&str; 2] = ["x_owner_id", "x-owner-id"];

/// Reads the owner, who must be named.
///
/// # Errors
/// [`Problem::MissingOwnerId`], and those of [`named_owner`].
pub fn owner_id(headers: &HeaderMap) -> Result<OwnerId, Problem> {
    named_owner(headers)?.ok_or(Problem::MissingOwnerId)
}

/// Reads the owner, if one is named.
///
/// # Errors
/// [`Problem::AmbiguousOwnerId`] if either spelling is repeated, the two differ, or one is named in
/// `Connection` and so may be dropped on the way; [`Problem::InvalidOwnerId`].
pub fn named_owner(headers: &HeaderMap) -> Result<Option<OwnerId>, Problem> {
    let [underscore, dash] = SPELLINGS.map(|name| headers.get_all(name).iter().collect::<Vec<_>>());
    if underscore.len() > 1 || dash.len() > 1 || is_hop_by_hop(headers, &SPELLINGS) {
        return Err(Problem::AmbiguousOwnerId);
    }
    let value = match (underscore.first(), dash.first()) {
        (None, None) => return Ok(None),
        (Some(one), Some(other)) if one != other => return Err(Problem::AmbiguousOwnerId),
        (Some(value), _) | (None, Some(value)) => value,
    };
    OwnerId::parse(value.as_bytes()).map(Some).map_err(|_| Problem::InvalidOwnerId)
}

/// Whether one of these headers is named in `Connection`.
pub(super) fn is_hop_by_hop(headers: &HeaderMap, names: &[&str]) -> bool {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    named
        .flat_map(|value| value.split(','))
        .any(|name| names.iter().any(|spelling| name.trim().eq_ignore_ascii_case(spelling)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// The headers of a request, and the owner that they name.
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<&'a str, Problem>);

    #[test]
    fn one_owner_however_spelled() {
        let long = "x".repeat(129);
        let rows: &[Row<'_>] = &[
            (&[("x_owner_id", "u1")], Ok("u1")),
            (&[("x-owner-id", "u1")], Ok("u1")),
            (&[("x_owner_id", "u1"), ("x-owner-id", "u1")], Ok("u1")),
            (&[], Err(Problem::MissingOwnerId)),
            (&[("x_owner_id", "u1"), ("x_owner_id", "u1")], Err(Problem::AmbiguousOwnerId)),
            (&[("x_owner_id", "u1"), ("x_owner_id", "u2")], Err(Problem::AmbiguousOwnerId)),
            (&[("x_owner_id", "u1"), ("x-owner-id", "u2")], Err(Problem::AmbiguousOwnerId)),
            (
                &[("x_owner_id", "u1"), ("connection", "close, X_Owner_Id")],
                Err(Problem::AmbiguousOwnerId),
            ),
            (&[("x_owner_id", "u1"), ("connection", "x-owner-id")], Err(Problem::AmbiguousOwnerId)),
            (&[("x_owner_id", "")], Err(Problem::InvalidOwnerId)),
            (&[("x_owner_id", "a b")], Err(Problem::InvalidOwnerId)),
            (&[("x_owner_id", &long)], Err(Problem::InvalidOwnerId)),
        ];
        for (headers, expected) in rows {
            let mut map = HeaderMap::new();
            for (name, value) in *headers {
                map.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            let owner = owner_id(&map);
            assert_eq!(
                owner.as_ref().map(OwnerId::as_str).map_err(Clone::clone),
                *expected,
                "{headers:?}"
            );
        }
    }
}
