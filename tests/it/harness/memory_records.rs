//! A record store in memory, which does what the trait says and writes down every change. Each call
//! gives way once before and once after, so that a test decides who goes on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use safelight::domain::{
    AppName, Declared, IdempotencyClaim, MediaType, MintedKey, OwnerId, UploadId, UploadRecord,
    UploadState,
};
use safelight::records::{Claimed, Due, Look, Records, RecordsError, Renewal, Transition};
use tokio::task::yield_now;

/// The store.
#[derive(Default)]
pub struct MemoryRecords {
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    uploads: HashMap<UploadId, UploadRecord>,
    claims: HashMap<[u8; 32], (IdempotencyClaim, UploadId)>,
    changes: Vec<Transition>,
}

impl MemoryRecords {
    /// Every change of state that was made, in order.
    pub fn changes(&self) -> Vec<Transition> {
        self.contents().changes.clone()
    }

    /// The record of an upload, at once.
    pub fn now(&self, id: UploadId) -> UploadRecord {
        self.contents().uploads[&id].clone()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test panics while it holds the store")
    }

    /// One call: what it does, it does at once.
    async fn call<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        yield_now().await;
        let done = act(&mut self.contents());
        yield_now().await;
        done
    }
}

impl Contents {
    fn find(&mut self, app: &AppName, id: UploadId) -> Result<&mut UploadRecord, RecordsError> {
        let found = self.uploads.get_mut(&id).filter(|record| record.app == *app);
        found.ok_or(RecordsError::Conflict)
    }

    /// The record, if it is still of that revision.
    fn expect(
        &mut self,
        app: &AppName,
        id: UploadId,
        revision: u32,
    ) -> Result<&mut UploadRecord, RecordsError> {
        let record = self.find(app, id)?;
        if record.revision == revision { Ok(record) } else { Err(RecordsError::Conflict) }
    }
}

#[async_trait]
impl Records for MemoryRecords {
    async fn insert(
        &self,
        record: UploadRecord,
        claim: Option<IdempotencyClaim>,
    ) -> Result<(), RecordsError> {
        self.call(|contents| {
            let id = record.key.id();
            let taken = claim.is_some_and(|claim| {
                let known = contents.claims.get(&claim.scope);
                known.is_some_and(|(known, _)| known.expires_at > record.created_at)
            });
            if taken || contents.uploads.contains_key(&id) {
                return Err(RecordsError::Duplicate);
            }
            contents.claims.extend(claim.map(|claim| (claim.scope, (claim, id))));
            contents.uploads.insert(id, record);
            Ok(())
        })
        .await
    }

    async fn claimed(
        &self,
        scope: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<Claimed>, RecordsError> {
        self.call(|contents| {
            let known = contents.claims.get(&scope).filter(|(claim, _)| claim.expires_at > now);
            Ok(known.map(|(claim, id)| Claimed { request: claim.request, id: *id }))
        })
        .await
    }

    async fn get(&self, app: &AppName, id: UploadId) -> Result<Option<UploadRecord>, RecordsError> {
        self.call(|contents| Ok(contents.find(app, id).ok().cloned())).await
    }

    async fn transition(&self, change: Transition) -> Result<(), RecordsError> {
        change.from.transition(change.to)?;
        self.call(|contents| {
            let record = contents.expect(&change.app, change.id, change.revision)?;
            if record.state != change.from {
                return Err(RecordsError::Conflict);
            }
            record.state = change.to;
            record.reason = change.reason;
            if change.stored.is_some() {
                record.stored.clone_from(&change.stored);
            }
            record.look_at = change.look_at;
            record.updated_at = change.at;
            record.revision += 1;
            contents.changes.push(change);
            Ok(())
        })
        .await
    }

    async fn renew(&self, renewal: Renewal) -> Result<(), RecordsError> {
        self.call(|contents| {
            let record = contents.find(&renewal.app, renewal.id)?;
            if record.state != UploadState::Pending {
                return Err(RecordsError::Conflict);
            }
            record.url_expires_at = record.url_expires_at.max(renewal.url_expires_at);
            record.updated_at = renewal.at;
            record.revision += 1;
            Ok(())
        })
        .await
    }

    async fn look_again(&self, look: Look) -> Result<(), RecordsError> {
        self.call(|contents| {
            let record = contents.expect(&look.app, look.id, look.revision)?;
            record.look_at = look.look_at;
            Ok(())
        })
        .await
    }

    async fn due(
        &self,
        now: SystemTime,
        limit: usize,
    ) -> Result<HashMap<AppName, Due>, RecordsError> {
        self.call(|contents| {
            let times = contents.uploads.values().filter_map(|r| Some((r.look_at?, r)));
            let mut due: Vec<_> = times.filter(|(at, _)| *at <= now).collect();
            due.sort_by_key(|(at, _)| *at);
            let mut apps = HashMap::new();
            for (since, record) in due {
                let new = || Due { since, uploads: Vec::new() };
                let uploads = &mut apps.entry(record.app.clone()).or_insert_with(new).uploads;
                if uploads.len() < limit {
                    uploads.push(record.key.id());
                }
            }
            Ok(apps)
        })
        .await
    }

    async fn still_due(
        &self,
        app: &AppName,
        uploads: &[UploadId],
        now: SystemTime,
    ) -> Result<Vec<UploadRecord>, RecordsError> {
        self.call(|contents| {
            let records = uploads.iter().filter_map(|id| contents.find(app, *id).ok().cloned());
            Ok(records.filter(|record| record.look_at.is_some_and(|at| at <= now)).collect())
        })
        .await
    }

    async fn deleted_since(
        &self,
        since: SystemTime,
        limit: u32,
    ) -> Result<Vec<(UploadId, SystemTime)>, RecordsError> {
        self.call(|contents| {
            let deleted = contents.uploads.values().filter(|r| r.state == UploadState::Deleted);
            let mut deleted: Vec<_> = deleted.map(|r| (r.key.id(), r.updated_at)).collect();
            deleted.retain(|(_, at)| *at >= since);
            deleted.sort_by_key(|(_, at)| *at);
            deleted.truncate(limit as usize);
            Ok(deleted)
        })
        .await
    }

    async fn forget_claims(&self, now: SystemTime, limit: u32) -> Result<u32, RecordsError> {
        self.call(|contents| {
            let expired = contents.claims.iter().filter(|(_, (claim, _))| claim.expires_at <= now);
            let expired: Vec<_> = expired.map(|(scope, _)| *scope).take(limit as usize).collect();
            for scope in &expired {
                contents.claims.remove(scope);
            }
            Ok(u32::try_from(expired.len()).expect("they are at most the limit"))
        })
        .await
    }

    async fn close(&self) {}
}

/// The record of an upload by `ann` that is due for a look now.
pub fn pending(app: &AppName, key: MintedKey, now: SystemTime) -> UploadRecord {
    UploadRecord {
        app: app.clone(),
        owner: OwnerId::parse(b"ann").ok(),
        key,
        state: UploadState::Pending,
        reason: None,
        declared: Declared { media_type: MediaType::Jpeg, size: None, sha256: None },
        stored: None,
        multipart: None,
        created_at: now,
        url_expires_at: now + Duration::from_secs(900),
        session_expires_at: now + Duration::from_secs(86_400),
        updated_at: now,
        revision: 0,
        look_at: Some(now),
    }
}
