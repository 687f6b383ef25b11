//! The breaker: whether the CDN is asked at all.
//!
//! It differs from the breakers that crates offer (`recloser`, `failsafe`) in what it hears. Those
//! judge calls that have ended. A CDN that falls silent ends no call before the first-byte timeout,
//! and at 300 reads a second that second delays 300 readers. So here requests that are *out* count
//! as well, and those that wait are told when the breaker opens. Half-open is one probe at a time,
//! where those crates let as many through as their ring has places; and `now` is passed in.
//!
//! A read that may ask holds a [`Ticket`]. It ends in one of four ways: [`answered`],
//! [`failed`], [`outrun`] by storage, or dropped, which says nothing of the CDN. While it waits for
//! the answer it waits for [`Ticket::given_up`] as well: that is what looks at the clock, so that
//! there is no task behind the breaker.
//!
//! [`answered`]: Ticket::answered
//! [`failed`]: Ticket::failed
//! [`outrun`]: Ticket::outrun

mod backoff;
mod evidence;
mod machine;
mod outcomes;
mod silence;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::latency::FirstByteTimes;
use crate::alarm::{Alarms, Lent};
use crate::domain::Percentile;

pub use evidence::Fault;

use machine::{Decision, Machine, Slip};

/// What the breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Every read may ask the CDN.
    Closed,
    /// One read asks, the others go to storage.
    HalfOpen,
    /// All reads go to storage. It stays so until the time is up *and* a read comes.
    Open,
}

/// Why it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Five requests in a row failed.
    FailuresInARow,
    /// Half of the last ten seconds' requests, and at least ten, failed.
    FailureRatio,
    /// Five requests are overdue, and nobody was answered since they began.
    Silence,
    /// The CDN asked for it by `Retry-After`.
    RetryAfter,
    /// It was open for as long as it should be: a request probes.
    TimeIsUp,
    /// The probe failed.
    ProbeFailed,
    /// The probe was answered.
    ProbeAnswered,
}

/// A change of the breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The new state.
    pub state: BreakerState,
    /// The reason.
    pub why: Why,
}

/// The breaker of one CDN, with the first-byte times by which it judges. It is meant to outlive a
/// reload of the app: what was learnt of a CDN stays true.
pub struct Breaker {
    machine: Mutex<Machine>,
    times: FirstByteTimes,
    opened: Notify,
    /// For those who wait: nearly all are answered long before they ring.
    alarms: Alarms,
    on_change: Box<dyn Fn(Change) + Send + Sync>,
}

/// Whether a read may ask the CDN.
#[derive(Debug)]
pub enum Admission {
    /// It may.
    Pass(Ticket),
    /// It is the one that finds out whether the CDN is back.
    Probe(Ticket),
    /// It may not: storage answers.
    Refused,
}

/// The permission to send one request to the CDN. Dropped, it says nothing of the CDN; the place
/// of a probe is then free for the next read.
#[must_use = "a ticket that is dropped says nothing of the CDN"]
pub struct Ticket {
    breaker: Arc<Breaker>,
    slip: Slip,
    settled: bool,
}

impl BreakerState {
    /// The state in words, for the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    /// The value of `safelight_cdn_breaker_state`.
    #[must_use]
    pub const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

impl Why {
    /// The reason in words, for the log.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::FailuresInARow => "five requests in a row failed",
            Self::FailureRatio => "half of the last ten seconds' requests failed",
            Self::Silence => "requests are overdue and nothing is heard",
            Self::RetryAfter => "the CDN asked for a pause by Retry-After",
            Self::TimeIsUp => "the pause is over, a request probes",
            Self::ProbeFailed => "the probe failed",
            Self::ProbeAnswered => "the probe was answered",
        }
    }
}

impl Breaker {
    /// A closed breaker. `seed` is any number that differs from process to process: it spreads the
    /// probes of many gateways. `on_change` is called with every change, in order; it must be quick
    /// (set a gauge, log a line) and must not call the breaker.
    #[must_use]
    pub fn new(
        now: Instant,
        seed: u64,
        on_change: impl Fn(Change) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            machine: Mutex::new(Machine::new(now, seed)),
            times: FirstByteTimes::new(now),
            opened: Notify::new(),
            alarms: Alarms::default(),
            on_change: Box::new(on_change),
        })
    }

    /// Asks whether a read may ask the CDN.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Admission {
        let p95 = || self.times.percentile(Percentile::P95, now);
        let mut machine = self.lock();
        let (decision, change) = machine.admit(now, p95);
        self.tell(machine, change);
        let ticket = |slip| Ticket { breaker: Arc::clone(self), slip, settled: false };
        match decision {
            Decision::Pass(slip) => Admission::Pass(ticket(slip)),
            Decision::Probe(slip) => Admission::Probe(ticket(slip)),
            Decision::Refuse => Admission::Refused,
        }
    }

    /// What the breaker does now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.lock().state()
    }

    /// The first-byte times of the CDN's usable answers.
    #[must_use]
    pub const fn first_byte_times(&self) -> &FirstByteTimes {
        &self.times
    }

    /// An alarm, for a wait that ends with the CDN's answer.
    pub(crate) fn alarm(&self) -> Lent<'_> {
        self.alarms.lend()
    }

    /// Tells of a change: the callback under the lock, so that the order is right, and then those
    /// who wait.
    fn tell(&self, machine: MutexGuard<'_, Machine>, change: Option<Change>) {
        let Some(change) = change else { return };
        (self.on_change)(change);
        drop(machine);
        if change.state == BreakerState::Open {
            self.opened.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // The machine panics nowhere between two writes that belong together.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The CDN gave a usable answer: its head came after this time.
    pub fn answered(mut self, first_byte_after: Duration, now: Instant) {
        self.settled = true;
        let mut machine = self.breaker.lock();
        if !machine.is_stale(&self.slip) {
            self.breaker.times.record(first_byte_after, now);
        }
        let change = machine.answered(&self.slip, first_byte_after, now);
        self.breaker.tell(machine, change);
    }

    /// The CDN gave no usable answer.
    pub fn failed(mut self, fault: impl Into<Fault>, now: Instant) {
        self.settled = true;
        let mut machine = self.breaker.lock();
        let change = machine.failed(&self.slip, fault.into().weigh(), now);
        self.breaker.tell(machine, change);
    }

    /// Storage answered a hedged read first, and the request to the CDN is given up.
    ///
    /// The time until now is noted as if it were the CDN's: the true one is longer. Without it the
    /// slowest answers would be missing in the percentiles, these would sink, and with them the
    /// time after which reads are hedged.
    pub fn outrun(mut self, now: Instant) {
        self.settled = true;
        let mut machine = self.breaker.lock();
        if !machine.is_stale(&self.slip) {
            let elapsed = now.saturating_duration_since(self.slip.began);
            self.breaker.times.record(elapsed, now);
        }
        let change = machine.outrun(&self.slip, now);
        self.breaker.tell(machine, change);
    }

    /// When the silence of this request becomes evidence.
    #[must_use]
    pub const fn overdue_at(&self) -> Instant {
        self.slip.overdue_at
    }

    /// Says that there is no answer yet. Where enough requests are overdue, that opens the breaker.
    pub fn still_waiting(&self, now: Instant) {
        let mut machine = self.breaker.lock();
        let change = machine.still_waiting(&self.slip, now);
        self.breaker.tell(machine, change);
    }

    /// Waits until the breaker has opened, and looks meanwhile whether the CDN has fallen silent.
    /// Whoever waits for the CDN waits for this too, and then goes to storage.
    ///
    /// Poll the answer first (`select! { biased; … }`): after a pause of the whole process answers
    /// and clocks are ready together, and an answer that is there is no silence.
    pub async fn given_up(&self) {
        // Made before the look at the machine: it is told of every opening after that.
        let mut opened = pin!(self.breaker.opened.notified());
        let mut alarm = self.breaker.alarm();
        let first_look = self.breaker.lock().first_look(&self.slip);
        for look in [first_look, self.slip.overdue_at] {
            if self.is_stale() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut opened => return,
                () = alarm.wait(look.into()) => {}
            }
            self.still_waiting(tokio::time::Instant::now().into_std());
        }
        if !self.is_stale() {
            opened.await;
        }
    }

    fn is_stale(&self) -> bool {
        self.breaker.lock().is_stale(&self.slip)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.lock().withdrawn(&self.slip);
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("slip", &self.slip).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
