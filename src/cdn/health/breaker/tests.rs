//! Every transition of the breaker, and random histories.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::domain::FallbackReason;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A breaker, and what it has told of itself.
struct Bench {
    begun: Instant,
    breaker: Arc<Breaker>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl Bench {
    fn new() -> Self {
        let begun = Instant::now();
        let changes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&changes);
        let breaker = Breaker::new(begun, 1, move |change| heard.lock().unwrap().push(change));
        Self { begun, breaker, changes }
    }

    /// A breaker whose CDN has answered 100 times, in 10 ms each: requests are overdue at 50 ms.
    fn warm() -> Self {
        let bench = Self::new();
        (0..100).for_each(|_| bench.pass(0).answered(ms(10), bench.at(0)));
        bench
    }

    /// A breaker that has just opened; by 600 ms its first time is up.
    fn open() -> Self {
        let bench = Self::warm();
        (0..5).for_each(|_| bench.pass(0).failed(FallbackReason::Connect, bench.at(0)));
        assert_eq!(bench.told(), [(BreakerState::Open, Why::FailuresInARow)]);
        bench
    }

    fn at(&self, millis: u64) -> Instant {
        self.begun + ms(millis)
    }

    fn pass(&self, millis: u64) -> Ticket {
        match self.breaker.admit(self.at(millis)) {
            Admission::Pass(ticket) => ticket,
            other => panic!("{other:?} at {millis} ms"),
        }
    }

    fn probe(&self, millis: u64) -> Ticket {
        match self.breaker.admit(self.at(millis)) {
            Admission::Probe(ticket) => ticket,
            other => panic!("{other:?} at {millis} ms"),
        }
    }

    fn is_refused(&self, millis: u64) -> bool {
        matches!(self.breaker.admit(self.at(millis)), Admission::Refused)
    }

    /// The changes since the last look.
    fn told(&self) -> Vec<(BreakerState, Why)> {
        let changes = std::mem::take(&mut *self.changes.lock().unwrap());
        changes.iter().map(|change| (change.state, change.why)).collect()
    }
}

fn status(code: u16) -> Fault {
    let reason = match code {
        429 => FallbackReason::Status429,
        403 => FallbackReason::Status403,
        404 => FallbackReason::Status404,
        500..=599 => FallbackReason::Status5xx,
        _ => FallbackReason::StatusOther,
    };
    Fault { reason, status: Some(code), retry_after: None }
}

fn too_many(retry_after: u64) -> Fault {
    Fault { retry_after: Some(ms(retry_after)), ..status(429) }
}

#[test]
fn which_failures_in_a_row_open_it() {
    use FallbackReason::{Connect, Mismatch, Protocol, Redirect, Timeout, Tls};
    for (fault, opens) in [
        (Fault::from(Connect), true),
        (Fault::from(Tls), true),
        (Fault::from(Timeout), true),
        (Fault::from(Protocol), true),
        (status(502), true),
        (status(503), true),
        (status(504), true),
        (status(500), false),
        (status(403), false),
        (status(404), false),
        (status(400), false),
        (status(429), false),
        (Fault::from(Redirect), false),
        (Fault::from(Mismatch), false),
    ] {
        let bench = Bench::new();
        for _ in 0..4 {
            bench.pass(0).failed(fault, bench.at(0));
        }
        assert_eq!(bench.told(), [], "{fault:?}");
        bench.pass(0).failed(fault, bench.at(0));
        let expected = opens.then_some((BreakerState::Open, Why::FailuresInARow));
        assert_eq!(bench.told(), Vec::from_iter(expected), "{fault:?}");
        assert_eq!(bench.is_refused(0), opens);
    }
}

#[test]
fn half_of_twenty_failures_open_it() {
    let bench = Bench::new();
    for second in 0..9 {
        bench.pass(second * 1000).answered(ms(10), bench.at(second * 1000));
        bench.pass(second * 1000).failed(status(502), bench.at(second * 1000));
    }
    bench.pass(9000).answered(ms(10), bench.at(9000));
    assert_eq!(bench.told(), [], "nine of nineteen");
    bench.pass(9000).failed(status(502), bench.at(9000));
    assert_eq!(bench.told(), [(BreakerState::Open, Why::FailureRatio)]);
}

#[test]
fn silence_opens_it_and_an_answer_prevents_that() {
    let bench = Bench::warm();
    let tickets: Vec<_> = (0..5).map(|place| bench.pass(1000 + place)).collect();
    for (place, ticket) in tickets.iter().enumerate() {
        assert_eq!(ticket.overdue_at(), bench.at(1050 + place as u64));
        assert_eq!(bench.told(), []);
        ticket.still_waiting(ticket.overdue_at() - ms(1));
        ticket.still_waiting(ticket.overdue_at());
    }
    assert_eq!(bench.told(), [(BreakerState::Open, Why::Silence)]);
    drop(tickets);

    let bench = Bench::warm();
    let mut tickets: Vec<_> = (0..6).map(|place| bench.pass(1000 + place)).collect();
    tickets.pop().unwrap().failed(status(404), bench.at(1006));
    tickets.iter().for_each(|ticket| ticket.still_waiting(bench.at(3000)));
    assert_eq!(bench.told(), [], "a 404 is an answer as well");
}

#[test]
fn clients_that_leave_say_nothing() {
    let bench = Bench::warm();
    (0..1000).for_each(|_| drop(bench.pass(1000)));
    bench.pass(1000).still_waiting(bench.at(5000));
    assert_eq!(bench.told(), []);
    let four: Vec<_> = (0..4).map(|_| bench.pass(1000)).collect();
    four.iter().for_each(|ticket| ticket.still_waiting(bench.at(5000)));
    assert_eq!(bench.told(), []);
}

#[test]
fn hedged_requests_that_were_outrun_are_still_unanswered() {
    let bench = Bench::warm();
    (0..4).for_each(|place| bench.pass(1000 + place).outrun(bench.at(1015)));
    let last = bench.pass(1010);
    last.still_waiting(bench.at(1060));
    assert_eq!(bench.told(), [(BreakerState::Open, Why::Silence)]);

    // Where each read is hedged, the sixth finds five that are overdue.
    let bench = Bench::warm();
    for read in 1..=5 {
        bench.pass(read * 1000).outrun(bench.at(read * 1000 + 15));
        assert_eq!(bench.told(), []);
    }
    bench.pass(6000).outrun(bench.at(6015));
    assert_eq!(bench.told(), [(BreakerState::Open, Why::Silence)]);
}

#[test]
fn what_was_outrun_keeps_the_percentiles_up() {
    let bench = Bench::new();
    let p95 = || bench.breaker.first_byte_times().percentile(Percentile::P95, bench.at(0));
    (0..90).for_each(|_| bench.pass(0).answered(ms(10), bench.at(0)));
    for _ in 0..10 {
        let Admission::Pass(ticket) = bench.breaker.admit(bench.at(0)) else { panic!("closed") };
        ticket.outrun(bench.at(200));
    }
    assert!(p95().unwrap() > ms(185), "{:?}", p95());
}

#[test]
fn retry_after_opens_it_for_as_long_but_not_longer_than_five_seconds() {
    for (retry_after, refused_until, admitted_at) in
        [(3000, 2999, 3000), (60_000, 4999, 5000), (100, 374, 500)]
    {
        let bench = Bench::warm();
        bench.pass(0).failed(too_many(retry_after), bench.at(0));
        assert_eq!(bench.told(), [(BreakerState::Open, Why::RetryAfter)]);
        assert!(bench.is_refused(refused_until), "{retry_after}");
        drop(bench.probe(admitted_at));
    }
    let bench = Bench::warm();
    (0..100).for_each(|_| bench.pass(0).failed(too_many(0), bench.at(0)));
    assert_eq!(bench.told(), []);
}

#[test]
fn what_a_probe_decides() {
    use FallbackReason::{Connect, Timeout};
    for (fault, why, state) in [
        (None, Why::ProbeAnswered, BreakerState::Closed),
        (Some(status(404)), Why::ProbeAnswered, BreakerState::Closed),
        (Some(status(500)), Why::ProbeAnswered, BreakerState::Closed),
        (Some(status(503)), Why::ProbeFailed, BreakerState::Open),
        (Some(Fault::from(Connect)), Why::ProbeFailed, BreakerState::Open),
        (Some(Fault::from(Timeout)), Why::ProbeFailed, BreakerState::Open),
        (Some(status(429)), Why::RetryAfter, BreakerState::Open),
        (Some(too_many(4000)), Why::RetryAfter, BreakerState::Open),
    ] {
        let bench = Bench::open();
        let probe = bench.probe(600);
        assert_eq!(bench.told(), [(BreakerState::HalfOpen, Why::TimeIsUp)]);
        assert!(bench.is_refused(600), "one probe at a time");
        match fault {
            None => probe.answered(ms(10), bench.at(610)),
            Some(fault) => probe.failed(fault, bench.at(610)),
        }
        assert_eq!(bench.told(), [(state, why)], "{fault:?}");
        assert_eq!(bench.breaker.state(), state);
        assert_eq!(bench.is_refused(610), state == BreakerState::Open);
    }
}

#[test]
fn a_probe_that_is_dropped_makes_way_for_the_next() {
    let bench = Bench::open();
    drop(bench.probe(600));
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    bench.probe(601).outrun(bench.at(602));
    bench.probe(603).failed(FallbackReason::Hedge, bench.at(604));
    bench.probe(605).answered(ms(10), bench.at(606));
    assert_eq!(
        bench.told(),
        [(BreakerState::HalfOpen, Why::TimeIsUp), (BreakerState::Closed, Why::ProbeAnswered)]
    );
}

#[test]
fn a_silent_probe_may_be_given_up_as_well() {
    let bench = Bench::open();
    let probe = bench.probe(600);
    probe.still_waiting(probe.overdue_at() - ms(1));
    assert_eq!(bench.breaker.state(), BreakerState::HalfOpen);
    probe.still_waiting(probe.overdue_at());
    assert_eq!(bench.breaker.state(), BreakerState::Open);
    drop(probe);
    assert_eq!(bench.breaker.state(), BreakerState::Open);
}

#[test]
fn requests_from_before_it_opened_are_no_news() {
    let bench = Bench::warm();
    let mut old: Vec<_> = (0..12).map(|_| bench.pass(0)).collect();
    (0..5).for_each(|_| bench.pass(0).failed(FallbackReason::Connect, bench.at(0)));
    bench.told();
    old.pop().unwrap().answered(ms(400), bench.at(400));
    old.pop().unwrap().failed(too_many(5000), bench.at(400));
    bench.probe(600).answered(ms(10), bench.at(610));
    bench.told();
    old.pop().unwrap().still_waiting(bench.at(9000));
    old.into_iter().for_each(|ticket| ticket.failed(FallbackReason::Timeout, bench.at(9000)));
    assert_eq!(bench.told(), [], "nine failures and a Retry-After of another time");
}

#[test]
fn a_cdn_that_got_slow_is_learnt_from_its_probe() {
    let bench = Bench::open();
    bench.probe(600).answered(ms(200), bench.at(800));
    let ticket = bench.pass(800);
    assert_eq!(ticket.overdue_at(), bench.at(1600), "four times the probe's 200 ms");
    drop(ticket);
    let later = 800 + 60_001;
    assert_eq!(bench.pass(later).overdue_at(), bench.at(later + 250), "all is forgotten");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_told_at_once() {
    let begun = tokio::time::Instant::now();
    let now = || tokio::time::Instant::now().into_std();
    let breaker = Breaker::new(now(), 1, |_| ());
    let pass = || match breaker.admit(now()) {
        Admission::Pass(ticket) => ticket,
        other => panic!("{other:?}"),
    };
    let waiting = pass();
    let given_up = waiting.given_up();
    tokio::pin!(given_up);
    assert!(given_up.as_mut().now_or_never().is_none());
    for _ in 0..5 {
        pass().failed(FallbackReason::Connect, now());
    }
    given_up.now_or_never().expect("it has just opened");
    waiting.given_up().now_or_never().expect("it has opened since the request began");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_notice_silence_by_themselves() {
    let now = || tokio::time::Instant::now().into_std();
    let begun = now();
    let breaker = Breaker::new(begun, 1, |_| ());
    let mut waiters = tokio::task::JoinSet::new();
    for place in 0..8 {
        let breaker = Arc::clone(&breaker);
        waiters.spawn(async move {
            tokio::time::sleep(ms(place * 10)).await;
            let Admission::Pass(ticket) = breaker.admit(now()) else { panic!("it is closed") };
            let told = tokio::time::timeout(ms(1000), ticket.given_up()).await;
            told.expect("it is noticed long before a first-byte timeout");
            now()
        });
    }
    for told in waiters.join_all().await {
        let after = told - begun;
        assert!(after >= ms(290) && after < ms(293), "the fifth is overdue at 290: {after:?}");
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

/// A step of a random history.
#[derive(Debug, Clone)]
enum Event {
    Wait(u64),
    Admit,
    Answer(usize),
    Fail(usize, usize),
    Outrun(usize),
    Drop(usize),
    Waiting(usize),
}

const FAULTS: [fn() -> Fault; 6] = [
    || FallbackReason::Timeout.into(),
    || status(502),
    || status(404),
    || too_many(3_600_000),
    || status(429),
    || FallbackReason::Hedge.into(),
];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (0..400_u64).prop_map(Event::Wait),
        1 => (0..9000_u64).prop_map(Event::Wait),
        8 => Just(Event::Admit),
        2 => any::<usize>().prop_map(Event::Answer),
        6 => (any::<usize>(), 0..FAULTS.len()).prop_map(|(ticket, fault)| Event::Fail(ticket, fault)),
        1 => any::<usize>().prop_map(Event::Outrun),
        1 => any::<usize>().prop_map(Event::Drop),
        3 => any::<usize>().prop_map(Event::Waiting),
    ];
    prop::collection::vec(event, 1..300)
}

/// What is known of a breaker from outside.
struct Model {
    bench: Bench,
    now: u64,
    out: Vec<(Ticket, bool)>,
    opened_at: Arc<AtomicU64>,
}

impl Model {
    fn new() -> Self {
        let bench = Bench::new();
        Self { bench, now: 0, out: Vec::new(), opened_at: Arc::default() }
    }

    fn step(&mut self, event: Event) -> Result<(), TestCaseError> {
        let at = self.bench.at(self.now);
        match event {
            Event::Wait(millis) => self.now += millis,
            Event::Admit => return self.admit(),
            Event::Answer(which) => {
                if let Some(ticket) = self.take(which) {
                    ticket.answered(ms(which as u64 % 500), at);
                }
            }
            Event::Fail(which, fault) => {
                if let Some(ticket) = self.take(which) {
                    ticket.failed(FAULTS[fault](), at);
                }
            }
            Event::Outrun(which) => {
                if let Some(ticket) = self.take(which) {
                    ticket.outrun(at);
                }
            }
            Event::Drop(which) => drop(self.take(which)),
            Event::Waiting(which) => {
                if !self.out.is_empty() {
                    self.out[which % self.out.len()].0.still_waiting(at);
                }
            }
        }
        self.note_openings()
    }

    fn take(&mut self, which: usize) -> Option<Ticket> {
        let count = self.out.len();
        (count > 0).then(|| self.out.swap_remove(which % count).0)
    }

    /// Changes follow each other as the picture says; remembers when it opened.
    fn note_openings(&self) -> Result<(), TestCaseError> {
        for (state, why) in self.bench.told() {
            let fits = match state {
                BreakerState::Open => !matches!(why, Why::TimeIsUp | Why::ProbeAnswered),
                BreakerState::HalfOpen => why == Why::TimeIsUp,
                BreakerState::Closed => why == Why::ProbeAnswered,
            };
            prop_assert!(fits, "{state:?} because of {why:?}");
            if state == BreakerState::Open {
                self.opened_at.store(self.now, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn admit(&mut self) -> Result<(), TestCaseError> {
        let before = self.bench.breaker.state();
        let open_for = self.now - self.opened_at.load(Ordering::Relaxed);
        // A probe that was reported overdue has already failed, though its ticket is still held.
        let probing = self.out.iter().any(|(ticket, probe)| *probe && !ticket.is_stale());
        match self.bench.breaker.admit(self.bench.at(self.now)) {
            Admission::Pass(ticket) => {
                prop_assert_eq!(before, BreakerState::Closed);
                self.out.push((ticket, false));
            }
            Admission::Probe(ticket) => {
                prop_assert!(before != BreakerState::Closed);
                prop_assert!(!(probing && before == BreakerState::HalfOpen), "two probes at once");
                let reopened = before == BreakerState::Open;
                prop_assert!(!reopened || open_for >= 375, "open for {open_for} ms only");
                self.out.push((ticket, true));
            }
            Admission::Refused => match before {
                BreakerState::Closed => prop_assert!(false, "refused though closed"),
                BreakerState::HalfOpen => prop_assert!(probing, "stuck in half-open"),
                BreakerState::Open => prop_assert!(open_for < 5000, "open for {open_for} ms"),
            },
        }
        self.note_openings()
    }
}

proptest! {
    #[test]
    fn random_histories_keep_the_rules(events in events()) {
        let mut model = Model::new();
        for event in events {
            model.step(event)?;
        }
        // Whatever has happened: once all have left, the next read after five seconds gets through,
        // and an answer to it closes the breaker.
        model.out.clear();
        model.now += 5000;
        let now = model.bench.at(model.now);
        match model.bench.breaker.admit(now) {
            Admission::Pass(ticket) | Admission::Probe(ticket) => ticket.answered(ms(10), now),
            Admission::Refused => prop_assert!(false, "nobody ever gets through again"),
        }
        prop_assert_eq!(model.bench.breaker.state(), BreakerState::Closed);
    }
}
