//! Storage whose calls are counted and timed, whichever provider it is.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::{
    MediaType, MultipartId, ObjectMeta, Source, StorageOperation, StorageOutcome, StoragePath,
};
use crate::metrics::AppMetrics;
use crate::storage::{
    GetOptions, ListPage, ObjectRead, ObjectStore, PartGrant, PutGrant, SignedRequest,
    StorageError, StorageErrorKind, UploadedPart,
};
use crate::traces::{Kind, Name, Span, Value};

/// A store and the metrics of the app whose it is.
pub(super) struct ObservedStore {
    store: Arc<dyn ObjectStore>,
    metrics: AppMetrics,
}

impl ObservedStore {
    pub(super) fn new(store: Arc<dyn ObjectStore>, metrics: AppMetrics) -> Self {
        Self { store, metrics }
    }

    async fn observe<T>(
        &self,
        operation: StorageOperation,
        call: impl Future<Output = Result<T, StorageError>> + Unpin,
    ) -> Result<T, StorageError> {
        self.observe_head(operation, call).await.map(|(answer, _)| answer)
    }

    /// The same for a call whose bytes are still to come, with the span that they belong to.
    async fn observe_head<T>(
        &self,
        operation: StorageOperation,
        call: impl Future<Output = Result<T, StorageError>> + Unpin,
    ) -> Result<(T, Span), StorageError> {
        let mut counted = Counted { metrics: &self.metrics, operation, ended: None };
        let mut span = self.span(operation);
        let begun = Instant::now();
        let answer = span.follow(call).await;
        let outcome = match &answer {
            Ok(_) => StorageOutcome::Ok,
            Err(error) => outcome_of(error.kind),
        };
        counted.ended = Some((outcome, begun));
        match is_failure(outcome) {
            true => span.failed(outcome.label()),
            false => span.came_to(outcome.label()),
        }
        answer.map(|answer| (answer, span))
    }

    fn span(&self, operation: StorageOperation) -> Span {
        let kind = match operation {
            StorageOperation::Sign => Kind::Internal,
            _ => Kind::Client,
        };
        let mut span = Span::begin(kind, Name("storage", Some(operation.label())));
        if span.is_recorded() {
            span.set("peer.service", Value::Word(self.store.source().label()));
            span.set("safelight.app", Value::App(self.metrics.app().clone()));
        }
        span
    }
}

/// Counts a call once, also one that is dropped in the middle.
struct Counted<'a> {
    metrics: &'a AppMetrics,
    operation: StorageOperation,
    /// What it came to, and when it began.
    ended: Option<(StorageOutcome, Instant)>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        match self.ended {
            Some((outcome, begun)) => {
                self.metrics.storage_called(self.operation, outcome, Some(begun.elapsed()));
            }
            None => {
                self.metrics.storage_called(self.operation, StorageOutcome::Cancelled, None);
            }
        }
    }
}

/// Whether storage did not do what it should have.
const fn is_failure(outcome: StorageOutcome) -> bool {
    match outcome {
        StorageOutcome::Ok
        | StorageOutcome::NotFound
        | StorageOutcome::NotModified
        | StorageOutcome::PreconditionFailed
        | StorageOutcome::RangeNotSatisfiable
        | StorageOutcome::NoSuchUpload
        | StorageOutcome::Cancelled => false,
        StorageOutcome::AccessDenied
        | StorageOutcome::Credentials
        | StorageOutcome::WrongParts
        | StorageOutcome::Unsupported
        | StorageOutcome::Timeout
        | StorageOutcome::Overloaded
        | StorageOutcome::Unavailable => true,
    }
}

const fn outcome_of(kind: StorageErrorKind) -> StorageOutcome {
    match kind {
        StorageErrorKind::NotFound => StorageOutcome::NotFound,
        StorageErrorKind::NotModified => StorageOutcome::NotModified,
        StorageErrorKind::PreconditionFailed => StorageOutcome::PreconditionFailed,
        StorageErrorKind::RangeNotSatisfiable { .. } => StorageOutcome::RangeNotSatisfiable,
        StorageErrorKind::AccessDenied => StorageOutcome::AccessDenied,
        StorageErrorKind::Credentials => StorageOutcome::Credentials,
        StorageErrorKind::WrongParts => StorageOutcome::WrongParts,
        StorageErrorKind::NoSuchUpload => StorageOutcome::NoSuchUpload,
        StorageErrorKind::Unsupported => StorageOutcome::Unsupported,
        StorageErrorKind::Timeout => StorageOutcome::Timeout,
        StorageErrorKind::Overloaded => StorageOutcome::Overloaded,
        StorageErrorKind::Unavailable => StorageOutcome::Unavailable,
    }
}

#[async_trait]
impl ObjectStore for ObservedStore {
    fn source(&self) -> Source {
        self.store.source()
    }

    async fn sign_put(
        &self,
        grant: &PutGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.observe(StorageOperation::Sign, self.store.sign_put(grant, now)).await
    }

    async fn sign_get(
        &self,
        path: &StoragePath,
        expires_in: std::time::Duration,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.observe(StorageOperation::Sign, self.store.sign_get(path, expires_in, now)).await
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, StorageError> {
        self.observe(StorageOperation::Head, self.store.head(path)).await
    }

    async fn get(
        &self,
        path: &StoragePath,
        options: &GetOptions,
    ) -> Result<ObjectRead, StorageError> {
        let call = self.store.get(path, options);
        let (mut read, span) = self.observe_head(StorageOperation::Get, call).await?;
        read.body = read.body.within(span);
        Ok(read)
    }

    async fn put(
        &self,
        path: &StoragePath,
        content_type: &str,
        body: Bytes,
    ) -> Result<ObjectMeta, StorageError> {
        self.observe(StorageOperation::Put, self.store.put(path, content_type, body)).await
    }

    async fn delete(
        &self,
        path: &StoragePath,
        only: Option<&ObjectMeta>,
    ) -> Result<(), StorageError> {
        self.observe(StorageOperation::Delete, self.store.delete(path, only)).await
    }

    async fn list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<ListPage, StorageError> {
        self.observe(StorageOperation::List, self.store.list(prefix, from, limit)).await
    }

    async fn create_multipart(
        &self,
        path: &StoragePath,
        media_type: MediaType,
        checksums: bool,
    ) -> Result<MultipartId, StorageError> {
        let call = self.store.create_multipart(path, media_type, checksums);
        self.observe(StorageOperation::CreateMultipart, call).await
    }

    async fn sign_part(
        &self,
        grant: &PartGrant<'_>,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        self.observe(StorageOperation::Sign, self.store.sign_part(grant, now)).await
    }

    async fn list_parts(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<Vec<UploadedPart>, StorageError> {
        self.observe(StorageOperation::ListParts, self.store.list_parts(path, upload)).await
    }

    async fn complete_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
        parts: &[UploadedPart],
    ) -> Result<(), StorageError> {
        let call = self.store.complete_multipart(path, upload, parts);
        self.observe(StorageOperation::CompleteMultipart, call).await
    }

    async fn abort_multipart(
        &self,
        path: &StoragePath,
        upload: &MultipartId,
    ) -> Result<(), StorageError> {
        let call = self.store.abort_multipart(path, upload);
        self.observe(StorageOperation::AbortMultipart, call).await
    }
}
