//! Who is asking, and what that proves.

pub mod google_token;
mod read_signature;
mod upload_token;

pub use read_signature::{ReadSignatures, SignedRead};
pub use upload_token::UploadTokens;
