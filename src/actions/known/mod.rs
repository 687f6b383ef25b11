//! What this process knows of the records without asking them, for reads: which keys were deleted,
//! and which objects were found good.
//!
//! It learns of its own changes at once (`verify::change_state` tells it), and of other nodes'
//! deletions by asking for them every few seconds. Other nodes' verdicts it is not told: a `ready`
//! that is out of date shows when storage does not have that object, and the record is asked again.

mod deleted;
mod following;
mod verdicts;

use std::sync::Arc;
use std::time::SystemTime;

use crate::apps::App;
use crate::domain::{MintedKey, UploadId};
use crate::metrics::Metrics;
use crate::records::{Records, RecordsError};

pub use verdicts::{NoAnswer, Ready, Verdict};

use deleted::DeletedKeys;
use verdicts::{Answer, Verdicts};

/// What is known of the records.
pub struct Known {
    records: Arc<dyn Records>,
    deleted: DeletedKeys,
    verdicts: Arc<Verdicts>,
    metrics: Arc<Metrics>,
    /// When reading the deleted keys began.
    begun: SystemTime,
}

impl Known {
    /// Reads which keys were deleted.
    ///
    /// # Errors
    /// [`RecordsError::Unavailable`].
    pub async fn load(
        records: Arc<dyn Records>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RecordsError> {
        let this = Self {
            deleted: DeletedKeys::new(),
            verdicts: Arc::new(Verdicts::new(Arc::clone(&records))),
            records,
            metrics,
            begun: SystemTime::now(),
        };
        this.catch_up(SystemTime::UNIX_EPOCH).await?;
        Ok(this)
    }

    /// Whether a key may have been deleted: its record knows. One look into memory.
    #[must_use]
    pub fn may_be_deleted(&self, key: &MintedKey) -> bool {
        self.deleted.contains(key.id())
    }

    /// What the record of an upload says, or said the last time.
    ///
    /// # Errors
    /// [`NoAnswer`] if that is not known and the record store does not answer.
    pub async fn verdict(&self, app: &App, key: &MintedKey) -> Result<Verdict, NoAnswer> {
        if let Some(verdict) = self.verdicts.recall(key.id()) {
            app.metrics.record_lookup("hit");
            return Ok(verdict);
        }
        let answer = self.verdicts.ask(&app.name, key.id()).await;
        self.counted(app, answer)
    }

    /// What the record says now, because storage has another object than the verdict of this
    /// revision was given for. If the verdict still stands, the answer is [`Verdict::NotReady`], and
    /// the object is to be verified again.
    ///
    /// # Errors
    /// [`NoAnswer`] if the record store does not answer.
    pub async fn doubted(
        &self,
        app: &App,
        key: &MintedKey,
        revision: u32,
    ) -> Result<Verdict, NoAnswer> {
        let answer = self.verdicts.doubt(&app.name, key.id(), revision).await;
        self.counted(app, answer)
    }

    /// Forgets what a record said: it has changed, or may have.
    pub fn forget(&self, id: UploadId) {
        self.verdicts.forget(id);
    }

    /// Learns of a deletion.
    pub fn deleted(&self, id: UploadId) {
        if self.deleted.insert(id) {
            self.verdicts.forget(id);
        }
    }

    fn counted(&self, app: &App, answer: Answer) -> Answer {
        app.metrics.record_lookup(if answer.is_ok() { "miss" } else { "failed" });
        answer
    }
}

#[cfg(test)]
mod tests;
