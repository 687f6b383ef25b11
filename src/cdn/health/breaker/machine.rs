//! The breaker's rules, as a machine of plain values: no lock, no clock, no task.
//!
//! ```text
//!            five failures in a row, half of twenty, silence, Retry-After
//!   closed ────────────────────────────────────────────────────────────────▶ open
//!     ▲                                                                      │  ▲
//!     │ the probe is answered        the time is up, and a read comes        │  │ the probe fails
//!     └────────────────────────── half-open ◀────────────────────────────────┘  │
//!                                     └─────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use super::super::latency;
use super::backoff::{Backoff, LONGEST};
use super::evidence::Evidence;
use super::outcomes::Outcomes;
use super::silence::{Silence, patience};
use super::{BreakerState, Change, Why};

/// How old the patience may be by which new requests are judged. Percentiles of a minute do not
/// change much in a tenth of a second, and need not be taken anew for each of ten thousand reads.
const PATIENCE_HOLDS_FOR: Duration = Duration::from_millis(100);

/// A request to the CDN, as the machine knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slip {
    number: u64,
    /// How often the breaker had opened when it began. Whatever a request says of a time before the
    /// breaker opened last is not news.
    epoch: u64,
    is_probe: bool,
    /// When its silence becomes evidence.
    pub(super) overdue_at: Instant,
    pub(super) began: Instant,
}

/// Whether a read may ask the CDN.
#[derive(Debug)]
pub(super) enum Decision {
    Pass(Slip),
    Probe(Slip),
    Refuse,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { probe: Option<u64> },
}

#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    epoch: u64,
    next_number: u64,
    silence: Silence,
    outcomes: Outcomes,
    backoff: Backoff,
    patience: Option<(Instant, Duration)>,
    /// When the last probe was answered, and how long that took.
    last_probe: Option<(Instant, Duration)>,
}

impl Machine {
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        Self {
            phase: Phase::Closed,
            epoch: 0,
            next_number: 0,
            silence: Silence::default(),
            outcomes: Outcomes::new(now),
            backoff: Backoff::new(seed),
            patience: None,
            last_probe: None,
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
            Phase::Open { .. } => BreakerState::Open,
        }
    }

    /// Whether the breaker has opened since the request began.
    pub(super) fn is_stale(&self, slip: &Slip) -> bool {
        slip.epoch != self.epoch
    }

    /// Decides whether a read may ask the CDN. `p95` is asked for where it is needed.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        p95: impl FnOnce() -> Option<Duration>,
    ) -> (Decision, Option<Change>) {
        let change = match self.phase {
            Phase::Closed => {
                let slip = self.issue(now, false, p95);
                self.silence.sent(slip.number, now, slip.overdue_at);
                return (Decision::Pass(slip), None);
            }
            Phase::Open { until } if now < until => return (Decision::Refuse, None),
            Phase::HalfOpen { probe: Some(_) } => return (Decision::Refuse, None),
            Phase::Open { .. } => {
                Some(Change { state: BreakerState::HalfOpen, why: Why::TimeIsUp })
            }
            Phase::HalfOpen { probe: None } => None,
        };
        let slip = self.issue(now, true, p95);
        self.phase = Phase::HalfOpen { probe: Some(slip.number) };
        (Decision::Probe(slip), change)
    }

    /// The CDN gave a usable answer.
    pub(super) fn answered(
        &mut self,
        slip: &Slip,
        first_byte_after: Duration,
        now: Instant,
    ) -> Option<Change> {
        if self.is_stale(slip) {
            return None;
        }
        if slip.is_probe {
            self.last_probe = Some((now, first_byte_after));
            return Some(self.close(now));
        }
        self.silence.heard();
        self.outcomes.succeeded(now);
        None
    }

    /// The CDN gave none.
    pub(super) fn failed(
        &mut self,
        slip: &Slip,
        evidence: Evidence,
        now: Instant,
    ) -> Option<Change> {
        if self.is_stale(slip) {
            return None;
        }
        if slip.is_probe {
            return self.probe_failed(slip, evidence, now);
        }
        match evidence {
            Evidence::Unreachable => {
                self.silence.withdrawn(slip.number);
                self.outcomes.failed(now);
            }
            Evidence::Broken => {
                self.silence.heard();
                self.outcomes.failed(now);
            }
            Evidence::LeaveAlone(Some(wait)) if !wait.is_zero() => {
                return Some(self.open(Why::RetryAfter, wait, now));
            }
            Evidence::LeaveAlone(_) | Evidence::Alive => {
                self.silence.heard();
                self.outcomes.succeeded(now);
            }
            Evidence::Nothing => self.silence.withdrawn(slip.number),
        }
        if self.outcomes.too_many_in_a_row() {
            Some(self.open(Why::FailuresInARow, Duration::ZERO, now))
        } else if self.outcomes.too_many_of_all(now) {
            Some(self.open(Why::FailureRatio, Duration::ZERO, now))
        } else {
            None
        }
    }

    /// Nobody waits for the answer any more, and nothing is to be concluded from that.
    pub(super) fn withdrawn(&mut self, slip: &Slip) {
        if !self.is_stale(slip) {
            self.silence.withdrawn(slip.number);
            self.free_probe(slip);
        }
    }

    /// Nobody waits for the answer any more, because storage was faster.
    pub(super) fn outrun(&mut self, slip: &Slip, now: Instant) -> Option<Change> {
        if self.is_stale(slip) {
            return None;
        }
        if slip.is_probe {
            self.free_probe(slip);
            return None;
        }
        self.silence.outrun(slip.number);
        // At a quiet app nobody may be waiting by the time that enough of these are overdue.
        self.silence.is_complete(now).then(|| self.open(Why::Silence, Duration::ZERO, now))
    }

    /// When somebody who waits should look first whether the CDN is silent. The last look is when
    /// the own request is overdue.
    pub(super) fn first_look(&self, slip: &Slip) -> Instant {
        let of_all = self.silence.may_be_complete_at().filter(|_| !slip.is_probe);
        of_all.map_or(slip.overdue_at, |at| at.min(slip.overdue_at))
    }

    /// A request has no answer yet: looks whether that makes enough of them.
    pub(super) fn still_waiting(&mut self, slip: &Slip, now: Instant) -> Option<Change> {
        if self.is_stale(slip) {
            None
        } else if slip.is_probe {
            let overdue = now >= slip.overdue_at;
            overdue.then(|| self.open(Why::ProbeFailed, Duration::ZERO, now))
        } else {
            self.silence.is_complete(now).then(|| self.open(Why::Silence, Duration::ZERO, now))
        }
    }

    fn probe_failed(&mut self, slip: &Slip, evidence: Evidence, now: Instant) -> Option<Change> {
        match evidence {
            Evidence::Unreachable | Evidence::Broken => {
                Some(self.open(Why::ProbeFailed, Duration::ZERO, now))
            }
            Evidence::LeaveAlone(wait) => {
                Some(self.open(Why::RetryAfter, wait.unwrap_or_default(), now))
            }
            Evidence::Alive => Some(self.close(now)),
            Evidence::Nothing => {
                self.free_probe(slip);
                None
            }
        }
    }

    /// The next read may probe instead.
    fn free_probe(&mut self, slip: &Slip) {
        if slip.is_probe {
            self.phase = Phase::HalfOpen { probe: None };
        }
    }

    /// Opens for the time that the backoff says, or that the CDN asked for, if that is longer.
    fn open(&mut self, why: Why, asked_for: Duration, now: Instant) -> Change {
        let time = self.backoff.opened(now).max(asked_for.min(LONGEST));
        self.phase = Phase::Open { until: now + time };
        self.epoch += 1;
        self.silence.heard();
        self.outcomes.clear();
        Change { state: BreakerState::Open, why }
    }

    fn close(&mut self, now: Instant) -> Change {
        self.phase = Phase::Closed;
        self.backoff.closed(now);
        // What the probe has taught holds from the first request on.
        self.patience = None;
        Change { state: BreakerState::Closed, why: Why::ProbeAnswered }
    }

    fn issue(
        &mut self,
        now: Instant,
        is_probe: bool,
        p95: impl FnOnce() -> Option<Duration>,
    ) -> Slip {
        let overdue_at = now + self.patience(now, p95);
        let number = self.next_number;
        self.next_number += 1;
        Slip { number, epoch: self.epoch, is_probe, overdue_at, began: now }
    }

    fn patience(&mut self, now: Instant, p95: impl FnOnce() -> Option<Duration>) -> Duration {
        let recent = |at: Instant, span| now.saturating_duration_since(at) < span;
        if let Some((taken, patience)) = self.patience
            && recent(taken, PATIENCE_HOLDS_FOR)
        {
            return patience;
        }
        // Beyond the window of the percentiles they have forgotten that time too.
        let probe = self.last_probe.filter(|(at, _)| recent(*at, latency::WINDOW));
        let patience = patience(p95(), probe.map(|(_, took)| took));
        self.patience = Some((now, patience));
        patience
    }
}
