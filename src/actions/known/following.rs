//! Reading the deleted keys at start-up, and following the deletions of other nodes.

use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;

use crate::records::RecordsError;

use super::Known;

/// How often other nodes' deletions are asked for. They are to be known here within 5 s.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// How far back each look reaches. The time of a deletion is that of its beginning, on the clock of
/// the node that made it; it shows when it is committed. This covers both the time in between and
/// clocks that differ.
const OVERLAP: Duration = Duration::from_secs(120);

/// How many deletions are asked for at once.
const PAGE: u32 = 10_000;

impl Known {
    /// Follows the deletions of other nodes, for ever.
    pub async fn follow(&self) {
        let mut ticks = tokio::time::interval(FOLLOW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reached = self.begun;
        let mut fails = false;
        loop {
            ticks.tick().await;
            let begun = SystemTime::now();
            let since = reached.checked_sub(OVERLAP).unwrap_or(SystemTime::UNIX_EPOCH);
            let outcome = match self.catch_up(since.max(SystemTime::UNIX_EPOCH)).await {
                Ok(()) => {
                    reached = begun;
                    fails = false;
                    "ok"
                }
                Err(error) => {
                    if !fails {
                        tracing::error!(%error, "deletions of other nodes are not seen");
                    }
                    fails = true;
                    "failed"
                }
            };
            self.metrics.deletions_followed.with_label_values(&[outcome]).inc();
        }
    }

    /// Learns of every deletion since a time.
    pub(super) async fn catch_up(&self, since: SystemTime) -> Result<(), RecordsError> {
        let (mut since, mut limit) = (since, PAGE);
        loop {
            let page = self.records.deleted_since(since, limit).await?;
            for (id, _) in &page {
                self.deleted(*id);
            }
            self.show_sizes();
            match page.last() {
                Some((_, last)) if page.len() >= limit as usize => {
                    // More than a page at one time: the next page would be the same one.
                    limit = if *last == since { limit.saturating_mul(2) } else { PAGE };
                    since = *last;
                }
                _ => return Ok(()),
            }
        }
    }

    fn show_sizes(&self) {
        let deleted = i64::try_from(self.deleted.len()).unwrap_or(i64::MAX);
        self.metrics.deleted_keys.set(deleted);
        self.metrics.ready_verdicts.set(i64::try_from(self.verdicts.len()).unwrap_or(i64::MAX));
    }
}
