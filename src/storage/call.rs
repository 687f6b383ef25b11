//! What the calls of all providers have in common.

use std::time::Duration;

use super::{StorageError, StorageErrorKind};

/// How much of a provider's text goes into a log line, in characters.
pub(super) const MAX_MESSAGE_CHARS: usize = 200;

/// Runs a call within the time that it may take, with all its attempts.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        let detail = format!("no answer within {limit:?}, with all attempts");
        Err(StorageError::new(StorageErrorKind::Timeout, detail))
    })
}

/// A text of a provider's in a form that is fit for a log line.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_MESSAGE_CHARS).map(clean).collect()
}
