//! What records said of uploads, remembered so that reads need not ask again: a verdict of `ready`
//! until it is forgotten, everything else for a second.
//!
//! However many readers want the same record, it is asked for once. What a question brings is
//! remembered only if nothing was forgotten of that upload meanwhile: a question that was on its way
//! while the record changed tells those who asked before the change, and nobody after it.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use moka::sync::Cache;
use tokio::time::timeout;

use crate::domain::{AppName, OwnerId, Stored, UploadId, UploadRecord, UploadState};
use crate::log::of_this_request;
use crate::records::{Look, Records, RecordsError};

/// How much memory verdicts of `ready` may take, in bytes as [`Ready::weight`] counts them: some
/// hundred thousand of them. Those that are read least are forgotten first.
const MAX_READY_BYTES: u64 = 64 << 20;

/// What the cache adds to an entry of its own, in bytes: measured with a million of them.
const ENTRY_BYTES: usize = 400;

/// For how long it is remembered that an upload is not ready. Other nodes make uploads ready too,
/// and nobody tells this one.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// How many uploads are remembered not to be ready.
const MAX_REFUSED: u64 = 16_384;

/// How long a record may be waited for. A store that takes longer is as good as gone.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What a record says of an upload.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Its object was verified, and this is what was found.
    Ready(Arc<Ready>),
    /// It was deleted.
    Deleted,
    /// Anything else; also that there is no record.
    NotReady,
}

/// What a verdict of `ready` was given for.
#[derive(Debug)]
pub struct Ready {
    /// The object. Its tag is there: without one nothing could be held against it.
    pub stored: Stored,
    /// The revision of the record that says so.
    pub revision: u32,
    /// Whose it is; `None` where nobody knows any more.
    pub owner: Option<OwnerId>,
}

/// The record store did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// What a question to the record store brought.
pub(super) type Answer = Result<Verdict, NoAnswer>;

/// A question that whoever has the same one waits for.
type Question = Shared<BoxFuture<'static, Answer>>;

pub(super) struct Verdicts {
    records: Arc<dyn Records>,
    ready: Cache<UploadId, Arc<Ready>>,
    refused: Cache<UploadId, Verdict>,
    /// Held also while something is remembered or forgotten, never while anybody is waited for.
    asked: Mutex<Asked>,
}

/// The questions that are on their way.
#[derive(Default)]
struct Asked {
    by_upload: HashMap<UploadId, OnItsWay>,
    /// The number of the next question.
    next: u64,
}

struct OnItsWay {
    number: u64,
    /// Whether storage has contradicted the verdict: then the same verdict is not good any more.
    doubts: bool,
    question: Question,
}

impl Ready {
    /// What the verdict takes in memory, in bytes.
    fn weight(&self) -> u32 {
        let Stored { content_type, etag, version, .. } = &self.stored;
        let texts = [
            content_type.as_ref().map_or(0, String::capacity),
            etag.as_ref().map_or(0, |etag| etag.as_str().len()),
            version.as_ref().map_or(0, String::capacity),
            self.owner.as_ref().map_or(0, |owner| owner.as_str().len()),
        ];
        let bytes = mem::size_of::<Self>() + ENTRY_BYTES + texts.iter().sum::<usize>();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Verdict {
    fn of(record: Option<UploadRecord>) -> Self {
        match record {
            Some(UploadRecord { state: UploadState::Deleted, .. }) => Self::Deleted,
            Some(UploadRecord {
                state: UploadState::Ready,
                stored: Some(stored),
                revision,
                owner,
                ..
            }) if stored.etag.is_some() => Self::Ready(Arc::new(Ready { stored, revision, owner })),
            _ => Self::NotReady,
        }
    }
}

impl Verdicts {
    pub(super) fn new(records: Arc<dyn Records>) -> Self {
        let ready = Cache::builder()
            .max_capacity(MAX_READY_BYTES)
            .weigher(|_, ready: &Arc<Ready>| ready.weight())
            .build();
        let refused = Cache::builder().max_capacity(MAX_REFUSED).time_to_live(REFUSED_FOR).build();
        Self { records, ready, refused, asked: Mutex::default() }
    }

    /// What is remembered of an upload.
    pub(super) fn recall(&self, id: UploadId) -> Option<Verdict> {
        self.ready.get(&id).map(Verdict::Ready).or_else(|| self.refused.get(&id))
    }

    /// Forgets an upload: its record has changed.
    pub(super) fn forget(&self, id: UploadId) {
        let mut asked = self.asked();
        asked.by_upload.remove(&id);
        self.ready.invalidate(&id);
        self.refused.invalidate(&id);
    }

    /// Asks the record, unless somebody does already.
    pub(super) fn ask(self: &Arc<Self>, app: &AppName, id: UploadId) -> Question {
        let mut asked = self.asked();
        if let Some(verdict) = self.recall(id) {
            return settled(verdict);
        }
        match asked.by_upload.get(&id) {
            Some(on_its_way) => on_its_way.question.clone(),
            None => self.begin(&mut asked, app, id, None),
        }
    }

    /// Asks the record again, because storage has another object than the verdict of this revision
    /// was given for. If that verdict still stands, the upload is not ready, and is to be looked at.
    pub(super) fn doubt(self: &Arc<Self>, app: &AppName, id: UploadId, revision: u32) -> Question {
        let mut asked = self.asked();
        match self.recall(id) {
            Some(Verdict::Ready(ready)) if ready.revision == revision => self.ready.invalidate(&id),
            Some(newer) => return settled(newer),
            None => {}
        }
        match asked.by_upload.get(&id) {
            Some(on_its_way) if on_its_way.doubts => on_its_way.question.clone(),
            _ => self.begin(&mut asked, app, id, Some(revision)),
        }
    }

    /// How many verdicts of `ready` are remembered.
    pub(super) fn len(&self) -> u64 {
        self.ready.run_pending_tasks();
        self.ready.entry_count()
    }

    fn begin(
        self: &Arc<Self>,
        asked: &mut Asked,
        app: &AppName,
        id: UploadId,
        doubted: Option<u32>,
    ) -> Question {
        let number = asked.next;
        asked.next += 1;
        let mut landing = Landing { verdicts: Arc::clone(self), id, number, answer: Err(NoAnswer) };
        let app = app.clone();
        // In a task of its own: whoever asked first may leave, and others wait for the answer.
        let task = tokio::spawn(of_this_request(async move {
            let verdicts = Arc::clone(&landing.verdicts);
            let asking = verdicts.question(&app, id, doubted);
            landing.answer = timeout(ANSWER_LIMIT, asking).await.unwrap_or_else(|_| {
                tracing::error!(%app, %id, "the record store does not answer");
                Err(NoAnswer)
            });
            landing.answer.clone()
        }));
        let question = task.map(|ended| ended.unwrap_or(Err(NoAnswer))).boxed().shared();
        let on_its_way = OnItsWay { number, doubts: doubted.is_some(), question: question.clone() };
        asked.by_upload.insert(id, on_its_way);
        question
    }

    async fn question(&self, app: &AppName, id: UploadId, doubted: Option<u32>) -> Answer {
        let verdict = self.look(app, id).await?;
        let revision = match &verdict {
            Verdict::Ready(ready) if Some(ready.revision) == doubted => ready.revision,
            _ => return Ok(verdict),
        };
        let look = Look { app: app.clone(), id, revision, look_at: Some(SystemTime::now()) };
        match self.records.look_again(look).await {
            Ok(()) => tracing::warn!(%app, %id, "an object changed after it was verified"),
            Err(RecordsError::Conflict) => return self.look(app, id).await,
            // Whoever reads it next tries again.
            Err(error) => tracing::error!(%app, %id, %error, "a changed object is not looked at"),
        }
        Ok(Verdict::NotReady)
    }

    async fn look(&self, app: &AppName, id: UploadId) -> Answer {
        match self.records.get(app, id).await {
            Ok(record) => Ok(Verdict::of(record)),
            Err(error) => {
                tracing::error!(%app, %error, "a record could not be read");
                Err(NoAnswer)
            }
        }
    }

    /// Remembers an answer, if its question is still the one that is waited for.
    fn land(&self, id: UploadId, number: u64, answer: &Answer) {
        let mut asked = self.asked();
        if asked.by_upload.get(&id).is_none_or(|on_its_way| on_its_way.number != number) {
            return;
        }
        asked.by_upload.remove(&id);
        match answer {
            Ok(Verdict::Ready(ready)) => self.ready.insert(id, Arc::clone(ready)),
            Ok(verdict) => self.refused.insert(id, verdict.clone()),
            Err(NoAnswer) => {}
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a question off the list, however it ends.
struct Landing {
    verdicts: Arc<Verdicts>,
    id: UploadId,
    number: u64,
    answer: Answer,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.verdicts.land(self.id, self.number, &self.answer);
    }
}

fn settled(verdict: Verdict) -> Question {
    std::future::ready(Ok(verdict)).boxed().shared()
}

#[cfg(test)]
mod tests;
