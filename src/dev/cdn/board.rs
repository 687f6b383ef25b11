//! Which faults are ordered, and what became of every request.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::fault::{Fault, Order};
use super::reads;

/// What became of a request for an object. Each request has one outcome, when its head is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered from memory.
    Hit,
    /// Answered from the origin.
    Miss,
    /// The origin has no such object.
    Missing,
    /// The origin refused.
    Denied,
    /// The origin failed.
    OriginFailed,
    /// Not a request for an object.
    Refused,
    /// Hit by a fault.
    Fault,
}

/// How many requests came, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// All that arrived, those that are still waiting included.
    seen: u64,
    hit: u64,
    miss: u64,
    missing: u64,
    denied: u64,
    origin_failed: u64,
    refused: u64,
    fault: u64,
}

/// What `GET /_faults` shows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    faults: Vec<Ordered>,
    requests: Counts,
}

#[derive(Debug, Clone, Serialize)]
struct Ordered {
    #[serde(flatten)]
    fault: Fault,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    path_prefix: String,
    /// How many requests it hit. One that hit its `count` stays on the board until it is cleared.
    fired: u64,
}

/// The faults and the counts.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Ordered>,
    requests: Counts,
}

impl Board {
    /// Adds a fault behind the others.
    pub(super) fn order(&self, order: Order) {
        let Order { fault, count, path_prefix } = order;
        self.lock().faults.push(Ordered { fault, count, path_prefix, fired: 0 });
    }

    /// Removes all faults. The counts go on.
    pub(super) fn clear(&self) {
        self.lock().faults.clear();
    }

    /// Everything on the board.
    pub(super) fn report(&self) -> Report {
        let state = self.lock();
        Report { faults: state.faults.clone(), requests: state.requests }
    }

    /// Counts a request, and says which fault hits it: the first that is for it and not used up.
    pub(super) fn arrived(&self, method: &Method, path: &str) -> Option<Fault> {
        let name = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8_lossy();
        let mut state = self.lock();
        state.requests.seen += 1;
        let hit = state.faults.iter_mut().find(|ordered| {
            ordered.count.is_none_or(|count| ordered.fired < count)
                && name.starts_with(&*ordered.path_prefix)
                && reads(method)
                && (method == Method::GET || !ordered.fault.is_of_body())
        })?;
        hit.fired += 1;
        Some(hit.fault.clone())
    }

    /// Counts what became of a request.
    pub(super) fn answered(&self, outcome: Outcome) {
        let mut state = self.lock();
        let counts = &mut state.requests;
        let counter = match outcome {
            Outcome::Hit => &mut counts.hit,
            Outcome::Miss => &mut counts.miss,
            Outcome::Missing => &mut counts.missing,
            Outcome::Denied => &mut counts.denied,
            Outcome::OriginFailed => &mut counts.origin_failed,
            Outcome::Refused => &mut counts.refused,
            Outcome::Fault => &mut counts.fault,
        };
        *counter += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters have no half-made state that a panic could leave.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
