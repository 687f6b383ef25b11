//! What an event leads to.

use std::sync::Arc;
use std::time::SystemTime;

use crate::actions::verify::{Finding, Occasion, verify};
use crate::actions::{Services, records_failed};
use crate::apps::LiveApps;
use crate::domain::{Error, EventOutcome, EventSource, Stored, UploadState};
use crate::metrics::EventMetrics;

use super::locate::locate;
use super::notice::{Kind, Malformed, ObjectNotice, parse};

/// Whether a document has done what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It need not come again.
    Acknowledge,
    /// Something failed that may work later.
    Retry(Error),
    /// It cannot be read, now or later.
    Malformed(Malformed),
}

/// Handles the events of one source.
#[derive(Clone)]
pub struct Handler {
    source: EventSource,
    apps: Arc<LiveApps>,
    services: Services,
    metrics: EventMetrics,
}

impl Handler {
    /// A handler for a source.
    #[must_use]
    pub const fn new(
        source: EventSource,
        apps: Arc<LiveApps>,
        services: Services,
        metrics: EventMetrics,
    ) -> Self {
        Self { source, apps, services, metrics }
    }

    /// The source.
    #[must_use]
    pub const fn source(&self) -> EventSource {
        self.source
    }

    /// The metrics of the source.
    #[must_use]
    pub const fn metrics(&self) -> &EventMetrics {
        &self.metrics
    }

    /// Handles a document, whatever it holds.
    pub async fn handle(&self, document: &[u8], now: SystemTime) -> Disposition {
        let notices = match parse(self.source, document) {
            Ok(notices) => notices,
            Err(malformed) => {
                self.metrics.count(EventOutcome::Malformed);
                return Disposition::Malformed(malformed);
            }
        };
        if notices.is_empty() {
            self.metrics.count(EventOutcome::Ignored);
        }
        let mut disposition = Disposition::Acknowledge;
        for notice in &notices {
            match self.follow(notice, now).await {
                Ok(outcome) => self.metrics.count(outcome),
                Err(error) => {
                    self.metrics.count(EventOutcome::Retry);
                    disposition = Disposition::Retry(error);
                }
            }
        }
        disposition
    }

    /// Follows one notice.
    ///
    /// # Errors
    /// Whatever kept the verdict from being given: storage or the record store failed, or others
    /// kept changing the record. Who knows the cause has logged it.
    async fn follow(&self, notice: &ObjectNotice, now: SystemTime) -> Result<EventOutcome, Error> {
        match notice.kind {
            Kind::Created => {}
            // A removal says nothing that storage would not say when it is asked for the image; and
            // it may be older than the object that is there now.
            Kind::Removed | Kind::Other => return Ok(EventOutcome::Ignored),
        }
        let secrets = &self.services.mint_secrets;
        let apps = self.apps.snapshot();
        let Some((app, key)) = locate(&apps, secrets, &notice.bucket, &notice.key) else {
            return Ok(EventOutcome::Unknown);
        };
        let record = self.services.records.get(&app.name, key.id()).await;
        let Some(record) = record.map_err(|error| records_failed(&error))? else {
            return Ok(EventOutcome::Unknown);
        };
        let is_done = record.state == UploadState::Ready
            && record.stored.is_some_and(|stored| is_recorded(&stored, notice));
        let outcome = if is_done {
            EventOutcome::Duplicate
        } else {
            match verify(app, &self.services, key.id(), Occasion::MayHaveChanged, now).await? {
                Finding::Settled(_) => EventOutcome::Verified,
                Finding::Missing(_) => EventOutcome::Missing,
            }
        };
        if let Some(happened) = notice.at {
            self.metrics.lag(happened, SystemTime::now());
        }
        let (app, id, sequencer) = (&app.name, key.id(), notice.sequencer.as_deref());
        tracing::debug!(%app, %id, sequencer, outcome = outcome.label(), "a storage event");
        Ok(outcome)
    }
}

/// Whether an event tells of exactly the object that the verdict was given for. The version decides
/// where both sides have one, and else the entity tag: what proves nothing is asked about.
fn is_recorded(stored: &Stored, notice: &ObjectNotice) -> bool {
    let same_size = notice.size.is_none_or(|size| size == stored.size);
    let same = match (&stored.version, &notice.version) {
        (Some(recorded), Some(told)) => recorded == told,
        _ => match (&stored.etag, &notice.etag) {
            (Some(recorded), Some(told)) => recorded.matches_strongly(told),
            _ => false,
        },
    };
    same && same_size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ETag;

    #[test]
    fn what_is_recorded_is_not_asked_about_again() {
        let stored = |etag: Option<&str>, version: Option<&str>| Stored {
            size: 7,
            content_type: None,
            etag: etag.and_then(ETag::parse),
            version: version.map(str::to_owned),
            dimensions: None,
        };
        let notice = |etag: Option<&str>, size, version: Option<&str>| ObjectNotice {
            bucket: "media".into(),
            key: "a".into(),
            kind: Kind::Created,
            etag: etag.and_then(ETag::parse),
            size,
            version: version.map(str::to_owned),
            sequencer: None,
            at: None,
        };
        let (a, one) = (Some("\"a\""), Some("1"));
        for (recorded, told, same) in [
            (stored(a, None), notice(Some("a"), Some(7), None), true),
            (stored(a, None), notice(Some("a"), None, None), true),
            (stored(a, None), notice(Some("b"), Some(7), None), false),
            (stored(a, None), notice(Some("a"), Some(8), None), false),
            (stored(a, None), notice(None, Some(7), None), false),
            (stored(None, None), notice(None, Some(7), None), false),
            (stored(Some("W/\"a\""), None), notice(Some("W/\"a\""), Some(7), None), false),
            (stored(a, one), notice(None, None, one), true),
            // The same bytes, perhaps under another type.
            (stored(a, one), notice(a, Some(7), Some("2")), false),
            (stored(a, one), notice(a, Some(7), None), true),
            (stored(a, None), notice(a, Some(7), one), true),
        ] {
            assert_eq!(is_recorded(&recorded, &told), same, "{recorded:?} {told:?}");
        }
    }
}
