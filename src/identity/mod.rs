//! Who is asking, and what that proves.

mod upload_token;

pub use upload_token::UploadTokens;
