//! The tokens with which Google's services prove who calls: `OpenID` Connect ID tokens, signed with
//! RS256 and nothing else.

use std::time::SystemTime;

use super::jwks::{Algorithm, PublicKeys};
use super::jwt::{self, Expected, TokenRefusal};

/// What Google signs with.
pub const ALGORITHM: Algorithm = Algorithm::Rs256;

/// Who signs ("Validate an ID token", Google Identity documentation).
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Whose tokens are accepted, and for whom they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedToken {
    /// The audience.
    pub audience: String,
    /// The e-mail address of the service account.
    pub email: String,
}

/// The id of the key that a token claims to be signed with. Nothing of the token is proved by it.
///
/// # Errors
/// [`TokenRefusal::Malformed`], [`TokenRefusal::Algorithm`], [`TokenRefusal::UnknownKey`].
pub fn key_id(token: &str) -> Result<String, TokenRefusal> {
    jwt::key_id(token, ALGORITHM)
}

/// Verifies a token: what every token must be, then whose account it is.
///
/// # Errors
/// [`TokenRefusal`].
pub fn verify(
    token: &str,
    keys: &PublicKeys,
    expected: &ExpectedToken,
    now: SystemTime,
) -> Result<(), TokenRefusal> {
    let ExpectedToken { audience, email } = expected;
    let expected = Expected { algorithm: ALGORITHM, issuers: &ISSUERS, audience };
    let claims = jwt::verify(token, keys, &expected, now)?;
    let is_verified = claims.flag("email_verified")? == Some(true);
    if is_verified && claims.text("email")? == Some(email) {
        Ok(())
    } else {
        Err(TokenRefusal::Account)
    }
}

#[cfg(test)]
mod tests;
