//! Who is asking, and what that proves.
//!
//! | file | whose proof |
//! |---|---|
//! | `verifier.rs` | an app's callers, in the one way that the app's file says |
//! | `jwt.rs`, `jwks.rs`, `remote_keys.rs` | tokens of an issuer, and its public keys |
//! | `api_keys.rs` | keys of which the app's file has the hashes |
//! | `google_token.rs` | Google's services |
//! | `upload_token.rs` | whoever began an upload |
//! | `read_signature.rs` | whoever was given the signed URL of a private image |

mod api_keys;
pub mod google_token;
mod jwks;
mod jwt;
mod read_signature;
mod remote_keys;
#[cfg(test)]
mod test_signer;
mod upload_token;
mod verifier;

pub use api_keys::{ApiKey, KEY_ENTROPY_BYTES, KeyHash, mint_api_key};
pub use jwks::{Algorithm, PublicKeys};
pub use jwt::TokenRefusal;
pub use read_signature::{ReadSignatures, SignedRead};
pub use remote_keys::RemoteKeys;
pub use upload_token::UploadTokens;
pub use verifier::{Identity, IdentityConfig, JwtConfig, KeySource, Proof};
