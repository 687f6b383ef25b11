//! Requests about a whole bucket, which the gateway never makes, signed with the field's own signer.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::{Method, Request};
use safelight::storage::S3Config;

use super::plain_client::{Answer, Plain};
use super::seaweed::key_of;

/// Sends a PUT to a bucket: without a subresource it makes the bucket.
pub async fn put_bucket(storage: &S3Config, subresource: &str, body: &str) -> Answer {
    let endpoint = storage.endpoint.as_ref().expect("the tests' stores have endpoints").as_str();
    let query = if subresource.is_empty() { String::new() } else { format!("?{subresource}=") };
    let url = format!("{}/{}{query}", endpoint.trim_end_matches('/'), storage.bucket);
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(60));
    let key = key_of(storage);
    let secret = key.secret_access_key.expose_str().unwrap();
    let identity = Credentials::from_keys(&key.access_key_id, secret, None).into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&storage.region)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let mut request = Request::put(&url).body(()).unwrap();
    let payload = SignableBody::UnsignedPayload;
    let signable = SignableRequest::new("PUT", &url, std::iter::empty(), payload).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Plain::new(Method::PUT, request.uri().to_string()).with_body(body.to_owned()).send().await
}
