//! Asking the CDN, and storage beside it when the CDN keeps a read waiting.
//!
//! The breaker decides whether the CDN is asked at all. While it is asked, two things can end the
//! wait besides its answer: the hedge, when storage was asked too and was faster, and the breaker,
//! when it opens because the CDN has fallen silent. Whoever loses is cancelled, and the reason is
//! counted with the fallback. `cdn/health/tests/simulation.rs` holds the same play to its promise in
//! a simulated blackout.

use std::future::pending;
use std::pin::{Pin, pin};
use std::time::Instant;

use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use tokio::time::timeout_at;

use crate::alarm::after;
use crate::apps::{App, GuardedCdn};
use crate::cdn::health::{Admission, Ticket, hedge_delay};
use crate::cdn::{Cdn, CdnFailure};
use crate::domain::{FallbackReason, HedgeWinner, StoragePath, Stored};
use crate::log::of_this_request;
use crate::metrics::AppMetrics;

use super::counted::CountedFallback;
use super::plan::StorageSeen;
use super::settle::Question;
use super::{ReadRequest, SOURCE_LIMIT, Settlement, ask, sources};

/// What became of a read that began at the CDN.
pub(super) enum Raced<'a> {
    /// The CDN answered.
    Cdn(Settlement),
    /// It did not. Storage may have been asked meanwhile; then this is what it said.
    Fallback(CountedFallback<'a>, Option<Result<Settlement, StorageSeen>>),
}

/// Who came first.
enum First {
    Cdn(Result<Settlement, CdnFailure>),
    Storage,
    GivenUp,
}

/// Storage, asked beside the CDN, and what it said.
type Beside<'a> = MaybeDone<BoxFuture<'a, Result<Settlement, StorageSeen>>>;

/// Asks the CDN of an app, and storage if the CDN is slow.
pub(super) async fn ask_cdn<'a, 's>(
    app: &'a App,
    request: &ReadRequest,
    recorded: Option<&Stored>,
    ask_storage: impl FnOnce() -> BoxFuture<'s, Result<Settlement, StorageSeen>>,
) -> Raced<'a> {
    let guarded = app.cdn.as_ref().expect("only an app with a CDN is led here");
    let path = app.cdn_prefix.path_of(&request.key);
    guarded.hedges.earn();
    let began = Instant::now();
    let ticket = match guarded.breaker.admit(began) {
        Admission::Pass(ticket) => ticket,
        Admission::Refused => return refused(app),
        Admission::Probe(ticket) => {
            // Beside the read: its client need not wait for a CDN that was broken a moment ago, nor
            // can it cut the probe short by leaving.
            let metrics = app.metrics.clone();
            let (cdn, request) = (guarded.cdn.clone(), request.clone());
            let recorded = recorded.cloned();
            let probe = probe(cdn, metrics, path, request, recorded, ticket);
            tokio::spawn(of_this_request(probe));
            return refused(app);
        }
    };
    let mut storage = None;
    // The request to the CDN lives in this statement: it is cancelled when the race is over.
    let first = {
        let cdn = pin!(ask_within_limits(&guarded.cdn, &path, request, recorded, began));
        race(guarded, &ticket, began, cdn, ask_storage, &mut storage).await
    };
    let now = Instant::now();
    let reason = match first {
        First::Cdn(Ok(settlement)) => {
            ticket.answered(now - began, now);
            app.metrics.cdn_answered();
            if storage.is_some() {
                app.metrics.hedged(HedgeWinner::Cdn);
            }
            return Raced::Cdn(settlement);
        }
        First::Cdn(Err(failure)) => {
            ticket.failed(failure.fault(), now);
            note(&app.metrics, &failure)
        }
        First::Storage => {
            ticket.outrun(now);
            note(&app.metrics, &CdnFailure::new(FallbackReason::Hedge, "storage was faster"))
        }
        First::GivenUp => {
            drop(ticket);
            let silent = CdnFailure::new(FallbackReason::Timeout, "it has fallen silent");
            note(&app.metrics, &silent)
        }
    };
    let counted = CountedFallback::new(app, reason);
    let Some(mut storage) = storage else { return Raced::Fallback(counted, None) };
    app.metrics.hedged(HedgeWinner::Storage);
    (&mut storage).await;
    Raced::Fallback(counted, Pin::new(&mut storage).take_output())
}

fn refused(app: &App) -> Raced<'_> {
    Raced::Fallback(CountedFallback::new(app, FallbackReason::BreakerOpen), None)
}

/// The CDN against storage, which is asked after the hedge's delay, if the budget allows. `storage`
/// shows afterwards whether it was.
async fn race<'a, C>(
    guarded: &GuardedCdn,
    ticket: &Ticket,
    began: Instant,
    mut cdn: Pin<&mut C>,
    ask_storage: impl FnOnce() -> BoxFuture<'a, Result<Settlement, StorageSeen>>,
    storage: &mut Option<Beside<'a>>,
) -> First
where
    C: Future<Output = Result<Settlement, CdnFailure>>,
{
    let mut given_up = pin!(ticket.given_up());
    let mut hedge = pin!(hedge(guarded, began));
    let (mut undecided, mut storage_runs) = (Some(ask_storage), false);
    loop {
        tokio::select! {
            // An answer that is there is looked at before any clock.
            biased;
            answer = &mut cdn => return First::Cdn(answer),
            () = answered(storage), if storage_runs => {
                let answer = storage.as_mut().and_then(|storage| Pin::new(storage).output_mut());
                if answer.is_some_and(|answer| answer.is_ok()) {
                    return First::Storage;
                }
                // The CDN is the only hope now, however long it takes.
                storage_runs = false;
            }
            () = &mut given_up => return First::GivenUp,
            allowed = &mut hedge, if undecided.is_some() => {
                let ask_storage = undecided.take().filter(|_| allowed);
                *storage = ask_storage.map(|ask| maybe_done(ask()));
                storage_runs = allowed;
            }
        }
    }
}

async fn answered(storage: &mut Option<Beside<'_>>) {
    match storage {
        Some(storage) => storage.await,
        None => pending().await,
    }
}

/// Waits until it is time to ask storage too, and says whether the budget allows it.
async fn hedge(guarded: &GuardedCdn, began: Instant) -> bool {
    let times = guarded.breaker.first_byte_times();
    match hedge_delay(guarded.hedge_after, times, began) {
        Some(delay) => {
            guarded.breaker.alarm().wait(after(began.into(), delay)).await;
            guarded.hedges.try_spend()
        }
        None => false,
    }
}

/// A request by which the breaker finds out whether the CDN is back: the same that a client makes.
pub(super) async fn probe(
    cdn: Cdn,
    metrics: AppMetrics,
    path: StoragePath,
    request: ReadRequest,
    recorded: Option<Stored>,
    ticket: Ticket,
) {
    let began = Instant::now();
    let answer = ask_within_limits(&cdn, &path, &request, recorded.as_ref(), began).await;
    let now = Instant::now();
    match answer {
        Ok(_) => {
            ticket.answered(now - began, now);
            metrics.cdn_answered();
        }
        Err(failure) => {
            ticket.failed(failure.fault(), now);
            note(&metrics, &failure);
        }
    }
}

async fn ask_within_limits(
    cdn: &Cdn,
    path: &StoragePath,
    request: &ReadRequest,
    recorded: Option<&Stored>,
    began: Instant,
) -> Result<Settlement, CdnFailure> {
    let first = Question::first(request);
    let until = began + SOURCE_LIMIT;
    let asked = ask(request, first, |question| async move {
        let asked = sources::cdn(cdn, path, request, question, recorded);
        // The first question is nearly always the only one. Where its own limits end it in time, no
        // clock is set for it.
        if question == first && cdn.longest_exchange() <= SOURCE_LIMIT {
            return asked.await;
        }
        let too_long = || CdnFailure::new(FallbackReason::Timeout, "no answer that fits in time");
        timeout_at(until.into(), Box::pin(asked)).await.unwrap_or_else(|_| Err(too_long()))
    });
    asked.await
}

/// Counts and logs a request that the CDN did not answer as it should.
fn note(metrics: &AppMetrics, failure: &CdnFailure) -> FallbackReason {
    let CdnFailure { reason, detail, .. } = failure;
    metrics.cdn_failed(*reason);
    tracing::info!(app = %metrics.app(), reason = reason.label(), detail, "the CDN failed");
    *reason
}
