//! A record store whose calls are spans in the traces of the requests that make them.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Claimed, Due, Look, Records, RecordsError, Renewal, Transition};
use crate::domain::{AppName, IdempotencyClaim, UploadId, UploadRecord};
use crate::traces::{Kind, Name, Span};

/// A store, and spans of its calls. Calls that no request makes have none.
pub struct TracedRecords(Arc<dyn Records>);

impl TracedRecords {
    /// Traces the calls of a store.
    #[must_use]
    pub const fn new(records: Arc<dyn Records>) -> Self {
        Self(records)
    }
}

async fn traced<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, RecordsError>>,
) -> Result<T, RecordsError> {
    let mut span = Span::begin(Kind::Internal, Name("record", Some(operation)));
    let answer = span.follow(pin!(call)).await;
    match &answer {
        Ok(_) => span.came_to("ok"),
        Err(RecordsError::Duplicate) => span.came_to("duplicate"),
        Err(RecordsError::Conflict) => span.came_to("conflict"),
        Err(RecordsError::InvalidTransition(_)) => span.failed("invalid_transition"),
        Err(RecordsError::InUse(_)) => span.failed("in_use"),
        Err(RecordsError::Unavailable(_)) => span.failed("unavailable"),
    }
    answer
}

#[async_trait]
impl Records for TracedRecords {
    fn waiting_writes(&self) -> usize {
        self.0.waiting_writes()
    }

    async fn insert(
        &self,
        record: UploadRecord,
        claim: Option<IdempotencyClaim>,
    ) -> Result<(), RecordsError> {
        traced("insert", self.0.insert(record, claim)).await
    }

    async fn claimed(
        &self,
        scope: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<Claimed>, RecordsError> {
        traced("claimed", self.0.claimed(scope, now)).await
    }

    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError> {
        traced("get", self.0.get(app, id)).await
    }

    async fn transition(&self, change: Transition) -> Result<(), RecordsError> {
        traced("transition", self.0.transition(change)).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<(), RecordsError> {
        traced("renew", self.0.renew(renewal)).await
    }

    async fn look_again(&self, look: Look) -> Result<(), RecordsError> {
        traced("look_again", self.0.look_again(look)).await
    }

    async fn due(
        &self,
        now: SystemTime,
        limit: usize,
    ) -> Result<HashMap<AppName, Due>, RecordsError> {
        traced("due", self.0.due(now, limit)).await
    }

    async fn still_due(
        &self,
        app: &AppName,
        uploads: &[UploadId],
        now: SystemTime,
    ) -> Result<Vec<UploadRecord>, RecordsError> {
        traced("still_due", self.0.still_due(app, uploads, now)).await
    }

    async fn deleted_since(
        &self,
        since: SystemTime,
        limit: u32,
    ) -> Result<Vec<(UploadId, SystemTime)>, RecordsError> {
        traced("deleted_since", self.0.deleted_since(since, limit)).await
    }

    async fn forget_claims(&self, now: SystemTime, limit: u32) -> Result<u32, RecordsError> {
        traced("forget_claims", self.0.forget_claims(now, limit)).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
