//! JSON Web Tokens (RFC 7519), signed with one algorithm that is settled beforehand (RFC 8725 §3.1).
//!
//! The algorithm is not a choice of the token's: what is not signed with the expected one is refused
//! before a key is looked for, so neither `none` nor an HMAC keyed with a public key gets anywhere.
//! Nothing of the claims is read before the signature is verified.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::jwks::{Algorithm, PublicKeys};
use crate::domain::IdentityOutcome;

/// How far the clocks of signer and verifier may be apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// The longest token that is looked at, in bytes. Google's have about 1,000; those that list groups
/// have some thousands.
pub(super) const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Whose tokens are accepted, and for whom they must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// What they are signed with.
    pub algorithm: Algorithm,
    /// The issuer, in any of these spellings.
    pub issuers: &'a [&'a str],
    /// The audience, or one of several that the token names.
    pub audience: &'a str,
}

/// Why a token proves nothing. The caller is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is not three parts of base64url with the JSON that belongs there.
    #[error("it is no token")]
    Malformed,
    /// It asks for another algorithm, or for an extension that must be understood.
    #[error("it is not signed with the expected algorithm")]
    Algorithm,
    /// Nobody knows the key that it names, or it names none.
    #[error("its key is unknown")]
    UnknownKey,
    /// The signature is not one of that key.
    #[error("its signature is wrong")]
    Signature,
    /// It ended, or begins later.
    #[error("it is not valid at this time")]
    Time,
    /// Somebody else issued it.
    #[error("its issuer is another one")]
    Issuer,
    /// It is for somebody else.
    #[error("its audience is another one")]
    Audience,
    /// It is another account's, or one that cannot be used.
    #[error("its account is another one")]
    Account,
}

impl From<TokenRefusal> for IdentityOutcome {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Malformed => Self::Malformed,
            TokenRefusal::Algorithm => Self::Algorithm,
            TokenRefusal::UnknownKey => Self::UnknownKey,
            TokenRefusal::Signature => Self::Signature,
            TokenRefusal::Time => Self::Time,
            TokenRefusal::Issuer => Self::Issuer,
            TokenRefusal::Audience => Self::Audience,
            TokenRefusal::Account => Self::Account,
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a verifier must understand (RFC 7515 §4.1.11). There are none here.
    crit: Option<IgnoredAny>,
}

/// The claims of a token whose signature was verified. A name that comes twice makes a token
/// malformed: which of the two counts, readers differ about.
pub struct Claims(BTreeMap<String, Value>);

/// The id of the key that a token claims to be signed with: what is to be known before it can be
/// verified. Nothing of the token is proved by it.
///
/// # Errors
/// [`TokenRefusal::Malformed`], [`TokenRefusal::Algorithm`], [`TokenRefusal::UnknownKey`].
pub fn key_id(token: &str, algorithm: Algorithm) -> Result<String, TokenRefusal> {
    let (signed, _) = split(token)?;
    let (header, _) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
    header_of(header, algorithm)
}

/// Verifies a token: signature first, then for when it is, whose and for whom.
///
/// # Errors
/// [`TokenRefusal`].
pub fn verify(
    token: &str,
    keys: &PublicKeys,
    expected: &Expected<'_>,
    now: SystemTime,
) -> Result<Claims, TokenRefusal> {
    let (signed, signature) = split(token)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
    let key_id = header_of(header, expected.algorithm)?;
    if !keys.has(&key_id) {
        return Err(TokenRefusal::UnknownKey);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenRefusal::Malformed)?;
    if !keys.verify(&key_id, signed.as_bytes(), &signature) {
        return Err(TokenRefusal::Signature);
    }
    let claims: Claims = json(claims)?;
    claims.check(expected, now)?;
    Ok(claims)
}

impl Claims {
    /// A claim that is text, if it is there.
    ///
    /// # Errors
    /// [`TokenRefusal::Malformed`] if it is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, TokenRefusal> {
        self.read(name, Value::as_str)
    }

    /// A claim that is true or false, if it is there.
    ///
    /// # Errors
    /// [`TokenRefusal::Malformed`] if it is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, TokenRefusal> {
        self.read(name, Value::as_bool)
    }

    /// A time since 1970, if it is there (`NumericDate`, which may have a fraction).
    fn time(&self, name: &str) -> Result<Option<Duration>, TokenRefusal> {
        let seconds = |value: &Value| match value.as_u64() {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => Duration::try_from_secs_f64(value.as_f64()?).ok(),
        };
        self.read(name, seconds)
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TokenRefusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or(TokenRefusal::Malformed),
        }
    }

    fn check(&self, expected: &Expected<'_>, now: SystemTime) -> Result<(), TokenRefusal> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let exp = self.time("exp")?.ok_or(TokenRefusal::Malformed)?;
        let is_over = exp.saturating_add(LEEWAY) <= now;
        let is_early = self.time("nbf")?.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY));
        if is_over || is_early {
            return Err(TokenRefusal::Time);
        }
        let issuer = self.text("iss")?.ok_or(TokenRefusal::Malformed)?;
        if !expected.issuers.contains(&issuer) {
            return Err(TokenRefusal::Issuer);
        }
        if self.is_for(expected.audience)? { Ok(()) } else { Err(TokenRefusal::Audience) }
    }

    /// Whether the token is for this audience; `aud` is one, or a list (RFC 7519 §4.1.3).
    fn is_for(&self, audience: &str) -> Result<bool, TokenRefusal> {
        match self.0.get("aud") {
            Some(Value::String(one)) => Ok(one == audience),
            Some(Value::Array(several)) if several.iter().all(Value::is_string) => {
                Ok(several.iter().any(|one| one == audience))
            }
            _ => Err(TokenRefusal::Malformed),
        }
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;
        impl<'de> Visitor<'de> for Distinct {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose names are distinct")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    match claims.entry(name) {
                        Entry::Vacant(entry) => drop(entry.insert(value)),
                        Entry::Occupied(_) => return Err(A::Error::custom("a name comes twice")),
                    }
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(Distinct)
    }
}

/// What is signed, and the signature.
fn split(token: &str) -> Result<(&str, &str), TokenRefusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRefusal::Malformed);
    }
    token.rsplit_once('.').ok_or(TokenRefusal::Malformed)
}

fn header_of(part: &str, algorithm: Algorithm) -> Result<String, TokenRefusal> {
    let header: Header = json(part)?;
    if !algorithm.is_called(&header.alg) || header.crit.is_some() {
        return Err(TokenRefusal::Algorithm);
    }
    header.kid.ok_or(TokenRefusal::UnknownKey)
}

fn json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenRefusal::Malformed)
}

#[cfg(test)]
mod tests;
