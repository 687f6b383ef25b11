//! Whether reading from an app's storage is known to work.
//!
//! S3 answers 403 for a missing object to whoever may not list the bucket, and 403 as well to
//! whoever may not read at all. The two are told apart by another object: one that could be read a
//! moment ago.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::StoragePath;

/// For how long a read that worked proves that reading works. Permissions are changed by people,
/// and take about as long to reach every server of a store.
const PROVES_FOR: Duration = Duration::from_secs(60);

/// How long after a probe that failed the next one may follow.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The last object that storage is known to have delivered.
#[derive(Debug, Default)]
pub struct ReadProof(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What was read, and when it last worked.
    worked: Option<(StoragePath, Instant)>,
    /// When the last probe failed.
    failed: Option<Instant>,
}

/// What is known of an app's reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// They work.
    Work,
    /// They worked once: reading this again would tell.
    Probe(StoragePath),
    /// Nothing, or that they failed a moment ago.
    Unknown,
}

impl ReadProof {
    /// Notes that an object was read.
    pub fn worked(&self, path: &StoragePath, now: Instant) {
        let mut known = self.lock();
        known.failed = None;
        match &mut known.worked {
            // The path is only a place to look again; the first one is as good as the last.
            Some((_, at)) => *at = now,
            none => *none = Some((path.clone(), now)),
        }
    }

    /// Notes that a probe failed. If the object itself is gone, another one must prove it next time.
    pub fn failed(&self, gone: bool, now: Instant) {
        let mut known = self.lock();
        known.failed = Some(now);
        if gone {
            known.worked = None;
        }
    }

    /// What is known now.
    #[must_use]
    pub fn reads(&self, now: Instant) -> Reads {
        let known = self.lock();
        let recent = |at: Instant, span| now.saturating_duration_since(at) < span;
        match (&known.worked, known.failed) {
            (_, Some(failed)) if recent(failed, PROBE_EVERY) => Reads::Unknown,
            (Some((_, at)), None) if recent(*at, PROVES_FOR) => Reads::Work,
            (Some((path, _)), _) => Reads::Probe(path.clone()),
            (None, _) => Reads::Unknown,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_proves_for_a_while_and_then_leads_to_a_probe() {
        let (proof, begun) = (ReadProof::default(), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        let path = StoragePath::from_listing("images/a.jpg");
        assert_eq!(proof.reads(at(0)), Reads::Unknown);
        proof.worked(&path, at(0));
        assert_eq!(proof.reads(at(59_999)), Reads::Work);
        assert_eq!(proof.reads(at(60_000)), Reads::Probe(path.clone()));

        proof.failed(false, at(60_000));
        assert_eq!(proof.reads(at(60_999)), Reads::Unknown);
        assert_eq!(proof.reads(at(61_000)), Reads::Probe(path.clone()));
        proof.worked(&path, at(61_000));
        assert_eq!(proof.reads(at(61_001)), Reads::Work);

        proof.failed(true, at(200_000));
        assert_eq!(proof.reads(at(300_000)), Reads::Unknown);
    }
}
