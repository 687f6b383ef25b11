//! Reads in virtual time, through a blackout of the CDN and other bad days: the promise of the
//! whole, and the reference for how the parts are used together.
//!
//! Time is tokio's paused clock. It moves only when every task waits, so nothing here depends on
//! how fast the machine is.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{MaybeDone, maybe_done};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::super::*;
use crate::domain::EarnedBudget;
use crate::domain::{FallbackReason, HedgeAfter, Percentile};
use crate::limits::{ConcurrencyBounds, ConcurrencyLimit, Overloaded};

const P98: HedgeAfter = HedgeAfter::Percentile(Percentile::P98);

const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// ---------------------------------------------------------------------------------------------
// The reference: what an app has, and how a read uses it.

/// What belongs to an app, and outlives its reload.
struct Parts {
    breaker: Arc<Breaker>,
    hedge_after: HedgeAfter,
    hedges: EarnedBudget,
    share: OriginShare,
    storage_limit: ConcurrencyLimit,
    retries: EarnedBudget,
}

/// Who served a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Served {
    Cdn,
    /// Storage, by way of the origin share.
    Share,
    /// Storage, in place of the CDN.
    Fallback(FallbackReason),
}

/// Why nobody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// 503 with Retry-After.
    Overloaded,
    /// 502.
    StorageFailed,
}

/// Who came first.
enum Race {
    Cdn(Result<(), FallbackReason>),
    Storage,
    GivenUp,
}

/// A read.
async fn read(world: &Arc<World>) -> Result<Served, Refused> {
    let parts = &world.parts;
    parts.hedges.earn();
    if parts.share.takes_next() {
        return ask_storage(world).await.map(|()| Served::Share);
    }
    let ticket = match parts.breaker.admit(now()) {
        Admission::Pass(ticket) => ticket,
        Admission::Refused => return fall_back(world, FallbackReason::BreakerOpen).await,
        Admission::Probe(ticket) => {
            // Beside the read: its client need not wait for a CDN that was broken a moment ago, nor
            // can it cut the probe short by leaving. There is one at a time, and it ends with the
            // CDN's own time limits.
            tokio::spawn(probe(Arc::clone(world), ticket));
            return fall_back(world, FallbackReason::BreakerOpen).await;
        }
    };
    let began = now();
    // Not sent before it is polled. It is the hedge or the fallback, whichever is first to need it,
    // so that one read never asks storage twice.
    let mut storage = pin!(maybe_done(ask_storage(world)));
    // The CDN's request lives in this statement: it is cancelled when the race is over.
    let reason = match race(world, &ticket, pin!(world.cdn.ask()), storage.as_mut()).await {
        Race::Cdn(Ok(())) => {
            ticket.answered(now() - began, now());
            return Ok(Served::Cdn);
        }
        Race::Cdn(Err(reason)) => {
            ticket.failed(reason, now());
            reason
        }
        Race::Storage => {
            ticket.outrun(now());
            FallbackReason::Hedge
        }
        Race::GivenUp => {
            drop(ticket);
            FallbackReason::Timeout
        }
    };
    storage.as_mut().await;
    storage.take_output().expect("it has just ended").map(|()| Served::Fallback(reason))
}

/// The CDN against storage, which starts after the hedge's delay, if the budget allows.
async fn race<C, S>(
    world: &World,
    ticket: &Ticket,
    mut cdn: Pin<&mut C>,
    mut storage: Pin<&mut MaybeDone<S>>,
) -> Race
where
    C: Future<Output = Result<(), FallbackReason>>,
    S: Future<Output = Result<(), Refused>>,
{
    let mut given_up = pin!(ticket.given_up());
    let mut hedge = pin!(hedge(&world.parts));
    let (mut decided, mut hedged) = (false, false);
    loop {
        tokio::select! {
            biased;
            answer = &mut cdn => return Race::Cdn(answer),
            () = &mut storage, if hedged => {
                if storage.as_mut().output_mut().is_some_and(|answer| answer.is_ok()) {
                    return Race::Storage;
                }
                // The CDN is the only hope now, however long it takes.
                hedged = false;
            }
            () = &mut given_up => return Race::GivenUp,
            allowed = &mut hedge, if !decided => (decided, hedged) = (true, allowed),
        }
    }
}

/// Waits until it is time to ask storage too, and says whether the budget allows it.
async fn hedge(parts: &Parts) -> bool {
    match hedge_delay(parts.hedge_after, parts.breaker.first_byte_times(), now()) {
        Some(delay) => {
            sleep(delay).await;
            parts.hedges.try_spend()
        }
        None => false,
    }
}

async fn fall_back(world: &World, reason: FallbackReason) -> Result<Served, Refused> {
    ask_storage(world).await.map(|()| Served::Fallback(reason))
}

async fn ask_storage(world: &World) -> Result<(), Refused> {
    let parts = &world.parts;
    parts.retries.earn();
    let mut retried = false;
    loop {
        let permit = parts.storage_limit.enter().await;
        let permit = permit.map_err(|_: Overloaded| Refused::Overloaded)?;
        let answer = world.storage.ask().await;
        // Until the head of the answer, so that slow clients do not use the places up.
        drop(permit);
        match answer {
            Ok(()) => return Ok(()),
            Err(()) if !retried && parts.retries.try_spend() => retried = true,
            Err(()) => return Err(Refused::StorageFailed),
        }
    }
}

async fn probe(world: Arc<World>, ticket: Ticket) {
    let began = now();
    match world.cdn.ask().await {
        Ok(()) => ticket.answered(now() - began, now()),
        Err(reason) => ticket.failed(reason, now()),
    }
}

// ---------------------------------------------------------------------------------------------
// The world around it.

struct World {
    parts: Parts,
    cdn: SimulatedCdn,
    storage: SimulatedStorage,
}

struct SimulatedCdn {
    /// An answer takes between these.
    answers_in: (Duration, Duration),
    /// When it answers nothing, and nothing that it was asked then will ever be answered.
    silent: (Instant, Instant),
    /// One answer in so many takes two seconds longer.
    one_slow_in: Option<u32>,
    random: Mutex<fastrand::Rng>,
    /// How often it was asked while it was silent.
    asked_in_vain: AtomicU64,
}

struct SimulatedStorage {
    answers_in: Duration,
    works: bool,
    out: AtomicU32,
    most_out: AtomicU32,
    requests: AtomicU64,
}

impl SimulatedCdn {
    async fn ask(&self) -> Result<(), FallbackReason> {
        timeout(FIRST_BYTE_TIMEOUT, self.answer()).await.map_err(|_| FallbackReason::Timeout)
    }

    async fn answer(&self) {
        let is_silent = || now() >= self.silent.0 && now() < self.silent.1;
        let takes = {
            let mut random = self.random.lock().unwrap();
            let (from, to) = self.answers_in;
            let slow = self.one_slow_in.is_some_and(|many| random.u32(0..many) == 0);
            from + (to - from).mul_f64(random.f64()) + if slow { secs(2) } else { secs(0) }
        };
        if is_silent() {
            self.asked_in_vain.fetch_add(1, Ordering::Relaxed);
            pending::<()>().await;
        }
        sleep(takes).await;
        if is_silent() {
            pending::<()>().await;
        }
    }
}

impl SimulatedStorage {
    async fn ask(&self) -> Result<(), ()> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let out = self.out.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_out.fetch_max(out, Ordering::Relaxed);
        sleep(self.answers_in).await;
        self.out.fetch_sub(1, Ordering::Relaxed);
        if self.works { Ok(()) } else { Err(()) }
    }
}

impl World {
    /// A CDN that answers in 4 to 20 ms, a storage that answers in 5, and the defaults of an app.
    fn new(seed: u64) -> Self {
        let parts = Parts {
            breaker: Breaker::new(now(), seed, |_| ()),
            hedge_after: P98,
            hedges: EarnedBudget::for_hedges(),
            share: OriginShare::new(0.01, seed).unwrap(),
            storage_limit: ConcurrencyLimit::new(ConcurrencyBounds::STORAGE),
            retries: EarnedBudget::for_retries(),
        };
        let cdn = SimulatedCdn {
            answers_in: (ms(4), ms(20)),
            silent: (now(), now()),
            one_slow_in: None,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            asked_in_vain: AtomicU64::new(0),
        };
        let storage = SimulatedStorage {
            answers_in: ms(5),
            works: true,
            out: AtomicU32::new(0),
            most_out: AtomicU32::new(0),
            requests: AtomicU64::new(0),
        };
        Self { parts, cdn, storage }
    }
}

/// What became of one read.
struct Seen {
    /// When it began, from the beginning of the simulation.
    at: Duration,
    took: Duration,
    outcome: Result<Served, Refused>,
}

/// Lets reads come in at a rate, each a task of its own.
async fn run(world: &Arc<World>, per_second: u32, span: Duration) -> Vec<Seen> {
    let begun = tokio::time::Instant::now();
    let mut reads = JoinSet::new();
    let mut next = Duration::ZERO;
    while next < span {
        sleep_until(begun + next).await;
        let world = Arc::clone(world);
        reads.spawn(async move {
            let at = tokio::time::Instant::now();
            let outcome = read(&world).await;
            Seen { at: at - begun, took: at.elapsed(), outcome }
        });
        next += secs(1) / per_second;
    }
    let mut seen = reads.join_all().await;
    seen.sort_by_key(|read| read.at);
    seen
}

fn between(seen: &[Seen], from: Duration, to: Duration) -> Vec<&Seen> {
    seen.iter().filter(|read| read.at >= from && read.at < to).collect()
}

fn quantile(seen: &[&Seen], quantile: f64) -> Duration {
    let mut times: Vec<_> = seen.iter().map(|read| read.took).collect();
    times.sort_unstable();
    times[((times.len() - 1) as f64 * quantile).round() as usize]
}

// ---------------------------------------------------------------------------------------------
// The promises.

const WARM: Duration = secs(20);
const DARK: Duration = secs(30);

/// One blackout: whole, and counted.
async fn blackout(seed: u64, per_second: u32, hedge_after: HedgeAfter) -> (Arc<World>, Vec<Seen>) {
    let mut world = World::new(seed);
    world.parts.hedge_after = hedge_after;
    // At any moment: also in the middle of a millisecond's worth of answers.
    let dark_from = now() + WARM + Duration::from_micros(seed * 379 % 10_000);
    world.cdn.silent = (dark_from, dark_from + DARK);
    let world = Arc::new(world);
    let seen = run(&world, per_second, WARM + DARK + secs(20)).await;
    (world, seen)
}

/// Slower than any undisturbed read: the CDN's slowest answer, and two ticks of the timer.
const DELAYED: Duration = ms(22);

#[tokio::test(start_paused = true)]
async fn a_blackout_delays_few_and_none_for_long() {
    for (seed, hedge_after) in [(1, P98), (2, P98), (3, HedgeAfter::Off)] {
        let (world, seen) = blackout(seed, 300, hedge_after).await;
        let refused: Vec<_> = seen.iter().filter_map(|read| read.outcome.err()).collect();
        assert_eq!(refused, [], "no client sees an error");

        let delayed: Vec<_> = seen.iter().filter(|read| read.took > DELAYED).collect();
        let worst = delayed.iter().map(|read| read.took).max().unwrap_or_default();
        assert!(delayed.len() <= 35, "seed {seed}: {} reads delayed", delayed.len());
        assert!(worst <= ms(350), "seed {seed}: one by {worst:?}");

        // Once it is open, reads are as fast as storage alone.
        let open = between(&seen, WARM + ms(200), WARM + DARK);
        assert!(quantile(&open, 0.99) <= world.storage.answers_in + ms(5));
        let slowest = open.iter().map(|read| read.took).max().unwrap();
        assert!(slowest <= DELAYED, "probes delay nobody: {slowest:?}");

        let back = between(&seen, WARM + DARK + secs(10), WARM + DARK + secs(20));
        let by_cdn = back.iter().filter(|read| read.outcome == Ok(Served::Cdn)).count();
        assert!(by_cdn * 100 >= back.len() * 94, "seed {seed}: {by_cdn} of {}", back.len());
        assert_eq!(world.parts.breaker.state(), BreakerState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blackout_multiplies_no_load() {
    let (world, seen) = blackout(1, 300, P98).await;
    let reads = seen.len() as u64;
    let not_by_cdn = seen.iter().filter(|read| read.outcome != Ok(Served::Cdn)).count() as u64;
    let storage = world.storage.requests.load(Ordering::Relaxed);
    // Those that storage serves ask it once; the others are hedges that lost.
    assert!(storage >= not_by_cdn);
    assert!(storage - not_by_cdn <= reads / 20, "{storage} for {not_by_cdn} of {reads}");
    // The reads that noticed it, and a probe for every opening.
    let asked_in_vain = world.cdn.asked_in_vain.load(Ordering::Relaxed);
    assert!(asked_in_vain <= 35 + 10, "the CDN was asked {asked_in_vain} times");

    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for read in &seen {
        if let Ok(Served::Fallback(reason)) = read.outcome {
            *reasons.entry(reason.label()).or_default() += 1;
        }
    }
    assert!(reasons["breaker_open"] > 8500, "{reasons:?}");
}

/// Where five requests are not out at the same time, hedges bridge the gap and are the evidence.
#[tokio::test(start_paused = true)]
async fn a_quiet_app_gets_through_a_blackout_as_well() {
    for (seed, per_second) in [(1, 1), (2, 3), (3, 10), (4, 30), (5, 100)] {
        let (world, seen) = blackout(seed, per_second, P98).await;
        assert!(seen.iter().all(|read| read.outcome.is_ok()));
        let delayed = seen.iter().filter(|read| read.took > DELAYED).count();
        let worst = seen.iter().map(|read| read.took).max().unwrap();
        // Five, the one that notices, and a tenth of a second's worth.
        let most = 6 + per_second as usize / 10;
        assert!(delayed <= most, "{delayed} reads were delayed at {per_second} a second");
        assert!(worst <= ms(350), "{worst:?} at {per_second} a second");
        assert_eq!(world.parts.breaker.state(), BreakerState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn hedges_catch_the_one_in_a_hundred_that_is_slow() {
    let mut world = World::new(3);
    world.cdn.one_slow_in = Some(100);
    let world = Arc::new(world);
    let seen = run(&world, 300, secs(120)).await;
    // Before the percentiles are known there is only a guess.
    let seen = between(&seen, secs(1), secs(120));
    let p999 = quantile(&seen, 0.999);
    assert!(p999 < ms(150), "{p999:?}");
    let asked = world.storage.requests.load(Ordering::Relaxed);
    // One in a hundred goes to storage in any case.
    assert!(asked * 100 <= (seen.len() as u64) * 6, "{asked} for {} reads", seen.len());
    assert_eq!(world.parts.breaker.state(), BreakerState::Closed);
    let opened =
        seen.iter().any(|read| read.outcome == Ok(Served::Fallback(FallbackReason::BreakerOpen)));
    assert!(!opened, "one in a hundred is no reason to open");
}

/// From one second to the next all answers take ten times as long. The breaker may open; but it
/// learns from its probe and then leaves the CDN in use.
#[tokio::test(start_paused = true)]
async fn a_cdn_that_got_slow_as_a_whole_stays_in_use() {
    let mut world = World::new(5);
    world.cdn.answers_in = (ms(4), ms(20));
    let world = Arc::new(world);
    run(&world, 300, secs(20)).await;
    let mut slow = World::new(6);
    slow.parts.breaker = Arc::clone(&world.parts.breaker);
    slow.cdn.answers_in = (ms(150), ms(200));
    let slow = Arc::new(slow);
    let seen = run(&slow, 300, secs(60)).await;
    let settled = between(&seen, secs(10), secs(60));
    let by_cdn = settled.iter().filter(|read| read.outcome == Ok(Served::Cdn)).count();
    assert!(by_cdn * 100 >= settled.len() * 90, "{by_cdn} of {}", settled.len());
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_cannot_take_it_is_not_sent_more() {
    let mut world = World::new(7);
    world.cdn.silent = (now(), now() + secs(1000));
    world.storage.answers_in = ms(500);
    let world = Arc::new(world);
    let seen = run(&world, 2000, secs(10)).await;
    assert!(world.storage.most_out.load(Ordering::Relaxed) <= 256);
    let refused: Vec<_> =
        seen.iter().filter(|read| read.outcome == Err(Refused::Overloaded)).collect();
    assert!(!refused.is_empty());
    let quick = refused.iter().filter(|read| read.at > secs(2)).all(|read| read.took <= ms(102));
    assert!(quick, "whoever is refused is told soon");
    let served = seen.iter().filter(|read| read.outcome.is_ok()).count();
    assert!(served >= 256 * 2 * 9, "storage is used as far as it goes: {served}");
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_is_not_asked_twice_as_often() {
    let mut world = World::new(8);
    world.cdn.silent = (now(), now() + secs(1000));
    world.storage.works = false;
    let world = Arc::new(world);
    let seen = run(&world, 300, secs(20)).await;
    let asked = world.storage.requests.load(Ordering::Relaxed);
    let reads = seen.len() as u64;
    assert!(asked <= reads + reads / 10 + 10, "{asked} requests for {reads} reads");
    assert!(seen.iter().all(|read| read.outcome == Err(Refused::StorageFailed)));
}
