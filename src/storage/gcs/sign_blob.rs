//! Signatures by Google, for accounts whose key is not here: `signBlob` of the IAM Service Account
//! Credentials API.
//!
//! It is a call for each URL by nature. It goes through the gateway's own client, because Google's
//! crate opens a connection for each signature, sets no limit in time for an answer, and tries for
//! up to a minute.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;

use super::config::GcsTimeouts;
use super::transport::Call;
use crate::storage::call::nonsense;
use crate::storage::call::printable;
use crate::storage::server::{Server, document};
use crate::storage::{StorageError, StorageErrorKind};
use crate::upstream::{Body, Client, Origin, Repeatable};

/// How long a signature is sure to be accepted: "the key used for signing will remain valid for at
/// least 12 hours after the blob is signed" (reference of `projects.serviceAccounts.signBlob`).
pub(super) const KEY_LIFE: Duration = Duration::from_secs(12 * 3600);

/// What a token must be good for to sign. The reference asks for this or `cloud-platform`.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// The API.
pub(super) struct SignBlob(Server);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    signed_blob: String,
}

/// The document of a failure.
#[derive(Deserialize, Default)]
struct Failure {
    #[serde(default)]
    error: Reason,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reason {
    status: String,
    message: String,
}

impl SignBlob {
    pub(super) fn new(client: Client, origin: Origin) -> Self {
        Self(Server::new(client, origin, GcsTimeouts::default().of_attempt()))
    }

    /// Has the account's key sign a text. The caller sets the limit in time.
    pub(super) async fn sign(
        &self,
        client_email: &str,
        bearer: HeaderValue,
        content: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        let target = format!("/v1/projects/-/serviceAccounts/{client_email}:signBlob");
        let payload = aws_smithy_types::base64::encode(content);
        let mut call = Call::new(Method::POST, target);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        call.body = Bytes::from(serde_json::json!({ "payload": payload }).to_string());
        let mut request = call.into_request(Some(bearer))?;
        // A second signature of the same text harms nobody, so a kept connection may be tried.
        request.extensions_mut().insert(Repeatable);
        let response = self.0.send(request).await?;
        if !response.status().is_success() {
            return Err(refusal(response, client_email).await);
        }
        let document = document(response.into_body()).await?;
        let signed: Signed = serde_json::from_slice(&document)
            .map_err(|_| nonsense("an answer of signBlob that holds no signature"))?;
        aws_smithy_types::base64::decode(signed.signed_blob)
            .map_err(|_| nonsense("a signature that is not base64"))
    }
}

/// What an answer means that is no success, and what to do about it.
async fn refusal(response: Response<Body>, client_email: &str) -> StorageError {
    let status = response.status();
    let document = document(response.into_body()).await.unwrap_or_default();
    let Failure { error } = serde_json::from_slice(&document).unwrap_or_default();
    let kind = meaning(status);
    let mut detail = format!(
        "signBlob for {client_email}: {} {}: {}",
        status.as_u16(),
        printable(&error.status),
        printable(&error.message)
    );
    if kind == StorageErrorKind::Credentials {
        detail.push_str(
            " (the account needs iam.serviceAccounts.signBlob on itself, as \
             roles/iam.serviceAccountTokenCreator has it, and the project the API \
             iamcredentials.googleapis.com)",
        );
    }
    StorageError::new(kind, detail)
}

/// A throttle, a 5xx and what makes no sense pass or do not; all else that is refused is a matter
/// of the account and its permissions.
fn meaning(status: StatusCode) -> StorageErrorKind {
    match status.as_u16() {
        408 | 504 => StorageErrorKind::Timeout,
        400..=428 | 430..=499 => StorageErrorKind::Credentials,
        _ => StorageErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_statuses_mean() {
        use StorageErrorKind as Kind;
        for (status, expected) in [
            (400, Kind::Credentials),
            (401, Kind::Credentials),
            (403, Kind::Credentials),
            (404, Kind::Credentials),
            (408, Kind::Timeout),
            (429, Kind::Unavailable),
            (302, Kind::Unavailable),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
            (504, Kind::Timeout),
        ] {
            assert_eq!(meaning(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }
}
