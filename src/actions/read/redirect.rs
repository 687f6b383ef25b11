//! Reads by redirect: the client is sent to the CDN, or to storage while the CDN is not well. The
//! gateway carries no bytes; that it still knows how the CDN does, it owes to a few requests of its
//! own.

use std::time::{Duration, Instant, SystemTime};

use crate::actions::Services;
use crate::apps::{App, GuardedCdn};
use crate::cdn::health::{Admission, BreakerState, Ticket};
use crate::domain::{
    Conditions, Error, FallbackReason, FallbackResult, RangeRequest, Representation, Source,
};
use crate::log::of_this_request;

use super::counted::{CountedFallback, CountedShare};
use super::plan::{RecordSeen, refusal_of};
use super::race::probe;
use super::{Delivery, ReadReply, ReadRequest, record};

/// How long a signed URL of storage leads to the image. The client follows it at once; a phone that
/// sleeps in between asks again.
const URL_LIFE: Duration = Duration::from_secs(300);

/// What the gateway asks the CDN for, to see how it does: enough to come from the same cache entry
/// as the image, little enough not to show in the bill.
const PROBED_RANGE: RangeRequest = RangeRequest::Between(0, 1023);

/// Sends a client to where the object is.
pub(super) async fn redirect(app: &App, services: &Services, request: &ReadRequest) -> ReadReply {
    if let Err(error) = is_deleted(app, services, request).await {
        return reply(Err(error), None);
    }
    let Some(guarded) = &app.cdn else { return reply(to_storage(app, request).await, None) };
    let cdn_url = || guarded.cdn.url_of(&app.cdn_prefix.path_of(&request.key));
    if guarded.share.takes_next() {
        let share = CountedShare::new(app);
        // What was to prove that the fallback works must not cost a read.
        let Ok(url) = to_storage(app, request).await else { return reply(Ok(cdn_url()), None) };
        share.end(FallbackResult::Served);
        return reply(Ok(url), None);
    }
    if is_well(app, guarded, request) {
        return reply(Ok(cdn_url()), None);
    }
    let counted = CountedFallback::new(app, FallbackReason::BreakerOpen);
    match to_storage(app, request).await {
        Ok(url) => reply(Ok(url), Some(counted.end(FallbackResult::Served))),
        Err(error) => {
            let result = FallbackResult::of_refusal(&error);
            reply(Err(error), Some(counted.end(result)))
        }
    }
}

/// Only the record of a key that was probably deleted is asked.
async fn is_deleted(app: &App, services: &Services, request: &ReadRequest) -> Result<(), Error> {
    if !record::is_needed(app, &services.known, &request.key) {
        return Ok(());
    }
    match record::ask(app, &services.known, request).await.0 {
        RecordSeen::NotReady => Err(Error::NotFound),
        RecordSeen::NoAnswer => Err(Error::RecordsUnavailable),
        RecordSeen::Unneeded | RecordSeen::Unasked | RecordSeen::Ready | RecordSeen::ReadyAnew => {
            Ok(())
        }
    }
}

/// Whether the CDN is taken to be well. A few redirects, and the first one after the breaker's
/// pause, are the occasion to ask it.
fn is_well(app: &App, guarded: &GuardedCdn, request: &ReadRequest) -> bool {
    let is_closed = guarded.breaker.state() == BreakerState::Closed;
    if is_closed && !guarded.probes.takes_next() {
        return true;
    }
    match guarded.breaker.admit(Instant::now()) {
        Admission::Pass(ticket) => {
            spawn_probe(app, guarded, request, ticket);
            true
        }
        Admission::Probe(ticket) => {
            spawn_probe(app, guarded, request, ticket);
            false
        }
        Admission::Refused => false,
    }
}

fn spawn_probe(app: &App, guarded: &GuardedCdn, request: &ReadRequest, ticket: Ticket) {
    let probed = ReadRequest {
        key: request.key.clone(),
        head_only: false,
        range: Some(PROBED_RANGE),
        conditions: Conditions::default(),
        needs_size: false,
        owned_by: None,
    };
    let (cdn, metrics) = (guarded.cdn.clone(), app.metrics.clone());
    let path = app.cdn_prefix.path_of(&request.key);
    tokio::spawn(of_this_request(probe(cdn, metrics, path, probed, None, ticket)));
}

async fn to_storage(app: &App, request: &ReadRequest) -> Result<String, Error> {
    let path = app.key_prefix.path_of(&request.key);
    let signed = app.store.sign_get(&path, URL_LIFE, SystemTime::now()).await;
    signed.map(|signed| signed.url).map_err(|error| {
        let storage = app.store.source().label();
        tracing::error!(app = %app.name, storage, %error, "a URL to read from could not be signed");
        refusal_of(error.kind)
    })
}

fn reply(url: Result<String, Error>, fallback: Option<FallbackReason>) -> ReadReply {
    let source = if url.is_ok() { Source::Redirect } else { Source::None };
    ReadReply {
        outcome: url.map(Delivery::Elsewhere),
        object: Representation::default(),
        source,
        fallback,
        memory: None,
    }
}
