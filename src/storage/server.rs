//! A server of a provider's: requests to it, and again where that may help.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};

use super::StorageError;
use super::call::{nonsense, unanswered};
use super::retries::{Retries, chance, may_connect, may_pass};
use crate::upstream::{Body, Client, Origin, Timeouts};

/// The largest answer that is read into memory: far above a full page of a listing (1,000 names of
/// up to 1,024 bytes, escaped, with their metadata). Objects are streamed and have no such limit.
pub(super) const MAX_DOCUMENT_BYTES: usize = 8 << 20;

/// A server, and what it may cost to ask it again.
pub(super) struct Server {
    client: Client,
    origin: Origin,
    timeouts: Timeouts,
    retries: Retries,
}

impl Server {
    pub(super) fn new(client: Client, origin: Origin, timeouts: Timeouts) -> Self {
        Self { client, origin, timeouts, retries: Retries::new() }
    }

    /// Sends a request that may be repeated, again where that may help. The answer is the last
    /// one, a success or not. The caller sets the limit in time.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, StorageError> {
        self.retries.called();
        let mut failed = 0;
        loop {
            let sent = self.client.send(&self.origin, request.clone(), &self.timeouts).await;
            let again = match &sent {
                Ok(response) => may_pass(response.status()),
                Err(error) => may_connect(error),
            };
            failed += 1;
            let pause = if again { self.retries.pause(failed, chance()) } else { None };
            let Some(pause) = pause else { return sent.map_err(|error| unanswered(&error)) };
            let why = match sent {
                Err(error) => error.to_string(),
                Ok(answer) => {
                    let status = answer.status().to_string();
                    answer.into_body().discard();
                    status
                }
            };
            tracing::debug!(%why, attempt = failed, "storage is asked again");
            tokio::time::sleep(pause).await;
        }
    }
}

/// Reads an answer that is not an object.
pub(super) async fn document(body: Body) -> Result<Bytes, StorageError> {
    let read = Limited::new(body, MAX_DOCUMENT_BYTES).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| nonsense(&format!("a document that cannot be read: {error}")))
}
