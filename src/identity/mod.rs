//! Who is asking, and what that proves.

pub mod google_token;
mod upload_token;

pub use upload_token::UploadTokens;
