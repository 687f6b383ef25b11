//! Who a request is from: what it presents, in the one way that its app takes, and what that proves.
//!
//! It is asked before anything else of an upload: before a limit is touched, a body is read, a record
//! is looked for. A credential that is presented is checked, also where none is needed, and a wrong
//! one is refused. Why it is wrong only the metrics say.

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::apps::App;
use crate::domain::{Caller, Error, IdentityOutcome, OwnerId, TrustedProxies};
use crate::identity::{Identity, Proof};

use super::error::Problem;
use super::owner::{SPELLINGS, is_hop_by_hop, named_owner, owner_id};

/// A header that is there and cannot be read in one way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// Who the request is from, if it says so and the app has a way to prove it. An owner that it names
/// besides narrows what the caller may act on.
///
/// # Errors
/// [`Problem::InvalidCredential`]; [`Problem::IdentityUnavailable`]; [`Error::Forbidden`] if it names
/// an owner for whom the caller may not act; and what is wrong with a header that names an owner.
pub(super) async fn caller(
    app: &App,
    head: &Parts,
    peer: IpAddr,
    trusted: Option<&TrustedProxies>,
) -> Result<Option<Caller>, Problem> {
    let Some(identity) = &app.identity else { return Ok(None) };
    let is_proxy = trusted.is_some_and(|proxies| proxies.contains(peer));
    let asked = ask(app, identity, &head.headers, is_proxy).await;
    let outcome = match &asked {
        Ok(Some(_)) => IdentityOutcome::Proved,
        Ok(None) => IdentityOutcome::Absent,
        Err((outcome, _)) => *outcome,
    };
    app.metrics.identity(identity.method(), outcome);
    asked.map_err(|(_, problem)| problem)
}

/// The owner of what is about to be uploaded.
///
/// # Errors
/// [`Problem::Unauthenticated`] where a proof is needed and there is none, and those of
/// [`owner_id`].
pub(super) fn owner(
    app: &App,
    caller: Option<&Caller>,
    headers: &HeaderMap,
) -> Result<OwnerId, Problem> {
    match caller {
        Some(caller) => caller.acts_for().cloned().ok_or(Problem::MissingOwnerId),
        None if app.identity.is_some() && !app.allow_public_upload => Err(Problem::Unauthenticated),
        None => owner_id(headers),
    }
}

async fn ask(
    app: &App,
    identity: &Identity,
    headers: &HeaderMap,
    is_proxy: bool,
) -> Result<Option<Caller>, (IdentityOutcome, Problem)> {
    let presented = match identity {
        Identity::Jwt(_) | Identity::ApiKeys(_) => {
            let malformed = (IdentityOutcome::Malformed, Problem::InvalidCredential);
            bearer(headers).map_err(|Ambiguous| malformed)?
        }
        Identity::TrustedProxy(header) => of_proxy(header, headers, is_proxy)?,
    };
    let Some(presented) = presented else { return Ok(None) };
    let checked = identity.check(presented, SystemTime::now()).await;
    let Proof { caller, key_id } = checked.map_err(|outcome| {
        let problem = match (outcome, identity) {
            (IdentityOutcome::Unavailable, _) => Problem::IdentityUnavailable,
            (_, Identity::TrustedProxy(_)) => Problem::InvalidOwnerId,
            _ => Problem::InvalidCredential,
        };
        (outcome, problem)
    })?;
    if let Some(key_id) = key_id {
        app.metrics.api_key(key_id);
    }
    let named = named_owner(headers).map_err(|problem| (IdentityOutcome::Malformed, problem))?;
    match named {
        None => Ok(Some(caller)),
        Some(owner) => match caller.named(owner) {
            Some(caller) => Ok(Some(caller)),
            None => Err((IdentityOutcome::OtherOwner, Error::Forbidden.into())),
        },
    }
}

/// The credential of `Authorization: Bearer …`; `None` if there is no such header.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Ambiguous> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match (token, values.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(Ambiguous),
    }
}

/// What the header of a trusted proxy says. From anybody else a header that only proxies have any
/// business with is refused; where it is the owner's own, anybody may send it and it proves nothing.
fn of_proxy<'a>(
    header: &HeaderName,
    headers: &'a HeaderMap,
    is_proxy: bool,
) -> Result<Option<&'a str>, (IdentityOutcome, Problem)> {
    if !is_proxy {
        return match headers.contains_key(header) && !SPELLINGS.contains(&header.as_str()) {
            true => Err((IdentityOutcome::Untrusted, Problem::InvalidCredential)),
            false => Ok(None),
        };
    }
    let ambiguous = || (IdentityOutcome::Malformed, Problem::AmbiguousOwnerId);
    let mut values: Vec<&HeaderValue> = headers.get_all(header).iter().collect();
    let has_other_spelling = headers.keys().any(|name| is_other_spelling(name, header));
    if values.len() > 1 || has_other_spelling || is_hop_by_hop(headers, &[header.as_str()]) {
        return Err(ambiguous());
    }
    let Some(value) = values.pop() else { return Ok(None) };
    let text = value.to_str();
    text.map(Some).map_err(|_| (IdentityOutcome::Malformed, Problem::InvalidOwnerId))
}

/// Whether two names are one to servers that take `_` for `-`, as CGI does: a proxy that sets or
/// strips the one lets the client's other one through.
fn is_other_spelling(name: &HeaderName, header: &HeaderName) -> bool {
    let same = |(a, b): (u8, u8)| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'));
    let (name, header) = (name.as_str(), header.as_str());
    name != header && name.len() == header.len() && name.bytes().zip(header.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    #[test]
    fn one_bearer_or_none() {
        let token = ("authorization", "Bearer token");
        for (list, expected) in [
            (vec![], Ok(None)),
            (vec![token], Ok(Some("token"))),
            (vec![("authorization", "bearer  token ")], Ok(Some("token"))),
            (vec![("authorization", "Bearer ")], Ok(Some(""))),
            (vec![("authorization", "Bearer")], Err(Ambiguous)),
            (vec![("authorization", "Basic dTpw")], Err(Ambiguous)),
            (vec![("authorization", "")], Err(Ambiguous)),
            (vec![("authorization", "Bearer töken")], Err(Ambiguous)),
            (vec![token, token], Err(Ambiguous)),
            (vec![token, ("authorization", "Basic dTpw")], Err(Ambiguous)),
        ] {
            assert_eq!(bearer(&headers(&list)), expected, "{list:?}");
        }
    }

    #[test]
    fn the_header_of_a_proxy() {
        let own = HeaderName::from_static("x-owner-id");
        let other = HeaderName::from_static("x-auth-user");
        let (malformed, untrusted) = (IdentityOutcome::Malformed, IdentityOutcome::Untrusted);
        let said = |(header, list, is_proxy): &(&HeaderName, Vec<(&str, &str)>, bool)| {
            let map = headers(list);
            of_proxy(header, &map, *is_proxy).map(|said| said.map(str::to_owned)).map_err(|e| e.0)
        };
        for (case, expected) in [
            ((&own, vec![("x-owner-id", "u1")], true), Ok(Some("u1"))),
            ((&own, vec![], true), Ok(None)),
            ((&own, vec![("x_owner_id", "u1")], true), Err(malformed)),
            ((&own, vec![("x-owner-id", "u1"), ("x_owner_id", "u1")], true), Err(malformed)),
            ((&own, vec![("x-owner-id", "u1"), ("x-owner_id", "u1")], true), Err(malformed)),
            ((&own, vec![("x-owner-id", "u1"), ("x-owner-id", "u1")], true), Err(malformed)),
            (
                (&own, vec![("x-owner-id", "u1"), ("connection", "X-Owner-Id")], true),
                Err(malformed),
            ),
            // What anybody says of itself is no proof.
            ((&own, vec![("x-owner-id", "u1")], false), Ok(None)),
            ((&own, vec![("x_owner_id", "u1")], false), Ok(None)),
            ((&other, vec![("x-auth-user", "u1")], true), Ok(Some("u1"))),
            ((&other, vec![("x-auth-user", "u1"), ("x_owner_id", "u1")], true), Ok(Some("u1"))),
            ((&other, vec![("x_auth-user", "u1")], true), Err(malformed)),
            ((&other, vec![("x-auth-user", "u1")], false), Err(untrusted)),
            ((&other, vec![("x_owner_id", "u1")], false), Ok(None)),
        ] {
            assert_eq!(
                said(&case).as_ref().map(Option::as_deref),
                expected.as_ref().map(|o| *o),
                "{case:?}"
            );
        }
    }
}
