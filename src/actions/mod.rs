//! The use cases, one file each. They know apps, storage and records, and nothing of HTTP: no
//! request, no status, no header.

pub mod abandon;
mod begin;
mod clear;
pub mod delete;
pub mod finalize;
mod idempotency;
mod inspect;
pub mod known;
pub mod multipart;
pub mod presign;
pub mod read;
pub mod reconcile;
pub mod renew;
pub mod sign_read;
pub mod sweep;
pub mod upload;
pub mod verify;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Error, MintSecrets};
use crate::identity::{ReadSignatures, UploadTokens};
use crate::memory::MemoryCache;
use crate::records::{Records, RecordsError};

use known::Known;

/// What every action on uploads needs besides the app.
#[derive(Clone)]
pub struct Services {
    /// The record store.
    pub records: Arc<dyn Records>,
    /// What is known of it without asking.
    pub known: Arc<Known>,
    /// The small objects in memory; `None` where none are kept.
    pub memory: Option<Arc<MemoryCache>>,
    /// The secrets of key minting.
    pub mint_secrets: MintSecrets,
    /// The upload tokens.
    pub tokens: UploadTokens,
    /// The signatures of private images.
    pub read_signatures: ReadSignatures,
    /// How long after its end a signed URL may still be at work: what was begun in time goes on.
    pub grace: Duration,
}

/// What the caller is told when the record store fails; the cause goes to the log, here.
pub(crate) fn records_failed(error: &RecordsError) -> Error {
    match error {
        RecordsError::Conflict => Error::Conflict,
        RecordsError::Duplicate | RecordsError::InvalidTransition(_) => {
            tracing::error!(%error, "the record store was asked for the impossible");
            Error::Internal
        }
        RecordsError::InUse(_) | RecordsError::Unavailable(_) => {
            tracing::error!(%error, "the record store failed");
            Error::RecordsUnavailable
        }
    }
}
