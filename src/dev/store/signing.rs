//! Who may do what: whoever signed the request with the one key pair, and signed all of it.

use std::io;

use http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use subtle::ConstantTimeEq as _;

use super::invalid;
use crate::domain::Secret;

/// The longest life of a presigned URL that S3 accepts, in seconds: 7 days.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
const MAX_EXPIRES: u32 = 604_800;

/// The only key pair of the store.
pub(super) struct OneKeyPair {
    access_key: String,
    secret_key: SecretKey,
}

impl OneKeyPair {
    pub(super) fn new(access_key: String, secret_key: &Secret) -> io::Result<Self> {
        let secret = secret_key.expose_str().filter(|text| !text.is_empty() && text.is_ascii());
        let secret =
            secret.ok_or_else(|| invalid("the secret key must be ASCII text".to_owned()))?;
        // A `/` would end the access key in the credential scope.
        if access_key.is_empty() || !access_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(invalid("the access key must be letters and digits".to_owned()));
        }
        Ok(Self { access_key, secret_key: secret.into() })
    }
}

#[async_trait::async_trait]
impl S3Auth for OneKeyPair {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if bool::from(access_key.as_bytes().ct_eq(self.access_key.as_bytes())) {
            return Ok(self.secret_key.clone());
        }
        Err(s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ))
    }
}

/// Refuses, after the signature was verified, what S3 refuses and `s3s` lets through: anonymous
/// requests, the retired signature version 2, a presigned URL that outlives 7 days, and `Host` or
/// `x-amz-*` header fields that the signature does not cover.
pub(super) struct SignedThroughout;

#[async_trait::async_trait]
impl S3Access for SignedThroughout {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let query = cx.uri().query().unwrap_or_default();
        let Some(signed) = signed_headers(cx.headers(), query) else {
            return Err(s3_error!(
                InvalidRequest,
                "The authorization mechanism you have provided is not supported. \
                 Please use AWS4-HMAC-SHA256."
            ));
        };
        let covered = |name: &str| signed.split(';').any(|n| n.eq_ignore_ascii_case(name));
        let must_be_signed = |name: &str| name == "host" || name.starts_with("x-amz-");
        let names = cx.headers().keys().map(http::HeaderName::as_str);
        if let Some(bare) = names.into_iter().find(|name| must_be_signed(name) && !covered(name)) {
            return Err(s3_error!(
                AccessDenied,
                "There were headers present in the request which were not signed: {bare}"
            ));
        }
        match query_value(query, "X-Amz-Expires").map(|text| text.parse::<u32>()) {
            None | Some(Ok(1..=MAX_EXPIRES)) => Ok(()),
            Some(_) => Err(s3_error!(
                AuthorizationQueryParametersError,
                "X-Amz-Expires must be between 1 and 604800 seconds"
            )),
        }
    }
}

/// The `;`-separated names that a signature of version 4 covers; `None` for any other signature.
fn signed_headers(headers: &HeaderMap, query: &str) -> Option<String> {
    if let Some(names) = query_value(query, "X-Amz-SignedHeaders") {
        return Some(names);
    }
    let field = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let parameters = field.strip_prefix("AWS4-HMAC-SHA256")?;
    parameters
        .split(',')
        .find_map(|parameter| parameter.trim().strip_prefix("SignedHeaders="))
        .map(str::to_owned)
}

fn query_value(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}
