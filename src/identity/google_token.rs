//! The tokens with which Google's services prove who calls: `OpenID` Connect ID tokens, signed with
//! RS256 and nothing else.
//!
//! The algorithm is not a choice of the token's: what is not RS256 is refused before a key is looked
//! for, so neither `none` nor an HMAC keyed with a public key gets anywhere.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;

/// Who signs ("Validate an ID token", Google Identity documentation).
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// How far the clocks of signer and verifier may be apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// The longest token that is looked at, in bytes. Google's have about 1,000.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Public keys, by their ids.
#[derive(Debug, Clone, Default)]
pub struct PublicKeys(BTreeMap<String, RsaPublicKeyComponents<Vec<u8>>>);

/// Whose tokens are accepted, and for whom they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedToken {
    /// The audience.
    pub audience: String,
    /// The e-mail address of the service account.
    pub email: String,
}

/// Why a token proves nothing. The caller is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// It is not three parts of base64url with the JSON that belongs there.
    #[error("it is no token")]
    Malformed,
    /// It asks for another algorithm, or for an extension that must be understood.
    #[error("it is not signed with RS256")]
    Algorithm,
    /// Nobody knows the key that it names.
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
    /// It is another account's, or the address is not verified.
    #[error("its account is another one")]
    Account,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a verifier must understand (RFC 7515 §4.1.11). There are none here.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: u64,
    nbf: Option<u64>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl PublicKeys {
    /// Reads a JSON Web Key Set (RFC 7517). Keys of other kinds are left out.
    ///
    /// # Errors
    /// A text for the log, if it is none, or holds no usable key.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        let set: KeySet = serde_json::from_slice(document).map_err(|error| error.to_string())?;
        let keys: BTreeMap<_, _> = set.keys.into_iter().filter_map(Jwk::components).collect();
        if keys.is_empty() {
            Err("there is no RSA key for signatures".into())
        } else {
            Ok(Self(keys))
        }
    }

    /// Whether there is a key of this id.
    #[must_use]
    pub fn has(&self, key_id: &str) -> bool {
        self.0.contains_key(key_id)
    }
}

impl Jwk {
    fn components(self) -> Option<(String, RsaPublicKeyComponents<Vec<u8>>)> {
        let signs = self.kty == "RSA"
            && self.alg.as_deref().is_none_or(|alg| alg == "RS256")
            && self.r#use.as_deref().is_none_or(|usage| usage == "sig");
        let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let (n, e) = (number(self.n)?, number(self.e)?);
        signs.then_some((self.kid?, RsaPublicKeyComponents { n, e }))
    }
}

/// The id of the key that a token claims to be signed with: what is to be known before it can be
/// verified. Nothing of the token is proved by it.
///
/// # Errors
/// [`TokenRefusal::Malformed`], [`TokenRefusal::Algorithm`].
pub fn key_id(token: &str) -> Result<String, TokenRefusal> {
    let (signed, _) = split(token)?;
    let (header, _) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
    header_of(header)
}

/// Verifies a token: signature first, then what it claims.
///
/// # Errors
/// [`TokenRefusal`].
pub fn verify(
    token: &str,
    keys: &PublicKeys,
    expected: &ExpectedToken,
    now: SystemTime,
) -> Result<(), TokenRefusal> {
    let (signed, signature) = split(token)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
    let key = keys.0.get(&header_of(header)?).ok_or(TokenRefusal::UnknownKey)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenRefusal::Malformed)?;
    key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        .map_err(|_| TokenRefusal::Signature)?;
    let claims: Claims = json(claims)?;
    claims.check(expected, now)
}

impl Claims {
    fn check(&self, expected: &ExpectedToken, now: SystemTime) -> Result<(), TokenRefusal> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let from = |seconds: u64| Duration::from_secs(seconds);
        let is_over = from(self.exp).saturating_add(LEEWAY) <= now;
        let is_early = self.nbf.is_some_and(|nbf| from(nbf) > now.saturating_add(LEEWAY));
        if is_over || is_early {
            return Err(TokenRefusal::Time);
        }
        if !ISSUERS.contains(&self.iss.as_str()) {
            return Err(TokenRefusal::Issuer);
        }
        let is_for_us = match &self.aud {
            Audience::One(one) => *one == expected.audience,
            Audience::Several(several) => several.contains(&expected.audience),
        };
        if !is_for_us {
            return Err(TokenRefusal::Audience);
        }
        if !self.email_verified || self.email.as_ref() != Some(&expected.email) {
            return Err(TokenRefusal::Account);
        }
        Ok(())
    }
}

/// What is signed, and the signature.
fn split(token: &str) -> Result<(&str, &str), TokenRefusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRefusal::Malformed);
    }
    token.rsplit_once('.').ok_or(TokenRefusal::Malformed)
}

fn header_of(part: &str) -> Result<String, TokenRefusal> {
    let header: Header = json(part)?;
    if header.alg != "RS256" || header.crit.is_some() {
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
