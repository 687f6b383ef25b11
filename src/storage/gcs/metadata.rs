//! The metadata server of Google's machines, pods and Cloud Run services: it says which account the
//! process is, and hands out its tokens.
//!
//! Google's crate asks it too, but sets no limit in time, and its task ends for good at an answer
//! that it takes for final, such as the 404 of a pod whose account is not there yet.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::credentials::{STORAGE_SCOPE, is_address};
use super::identity::bearer;
use super::sign_blob;
use super::transport::Call;
use crate::storage::server::document;
use crate::upstream::{Client, Origin, Timeouts};

const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";

/// Must be in every request, so that no page can make a browser ask; the answer has it too.
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const GOOGLE: HeaderValue = HeaderValue::from_static("Google");

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(2), first_byte: Duration::from_secs(5) };

/// The server.
pub(super) struct MetadataServer {
    client: Client,
    origin: Origin,
}

/// A token for calls.
pub(super) struct Token {
    pub(super) bearer: HeaderValue,
    /// How long it still holds.
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct TokenDocument {
    access_token: String,
    /// In seconds.
    expires_in: u64,
}

impl MetadataServer {
    pub(super) fn new(client: Client, origin: Origin) -> Self {
        Self { client, origin }
    }

    /// The address of the process's account.
    pub(super) async fn email(&self) -> Result<String, String> {
        let text = self.get(format!("{ACCOUNT}/email")).await?;
        let email = std::str::from_utf8(&text).unwrap_or_default().trim();
        if is_address(email) {
            Ok(email.to_owned())
        } else {
            Err("the metadata server names no service account: the machine, pod or service needs \
                 one (on GKE: workload identity with a linked IAM service account)"
                .to_owned())
        }
    }

    /// A token for objects and signatures. A machine's token is good for what the machine was
    /// started with, whatever is asked for here.
    pub(super) async fn token(&self) -> Result<Token, String> {
        let scopes = [STORAGE_SCOPE, sign_blob::SCOPE].join(",");
        let answer = self.get(format!("{ACCOUNT}/token?scopes={scopes}")).await?;
        // The parser's own message could repeat a part of the token.
        let token: TokenDocument = serde_json::from_slice(&answer)
            .map_err(|_| "the metadata server's answer is no token")?;
        let bearer = bearer(&token.access_token).ok_or("the metadata server's token is not one")?;
        Ok(Token { bearer, life: Duration::from_secs(token.expires_in) })
    }

    async fn get(&self, target: String) -> Result<Bytes, String> {
        let mut call = Call::new(Method::GET, target);
        call.headers.insert(FLAVOR, GOOGLE);
        let request = call.into_request(None).map_err(|error| error.detail)?;
        let sent = self.client.send(&self.origin, request, &TIMEOUTS).await;
        let response = sent.map_err(|error| format!("the metadata server: {error}"))?;
        let status = response.status();
        if response.headers().get(FLAVOR) != Some(&GOOGLE) {
            return Err("what answers as the metadata server is not Google's".to_owned());
        }
        if status != StatusCode::OK {
            return Err(format!("the metadata server answers {status}"));
        }
        document(response.into_body()).await.map_err(|error| error.detail)
    }
}
