//! Reading an image: memory, then the CDN, storage when the CDN fails, and never silently.
//!
//! Deciding is kept apart from doing. `plan` says which source comes next, `settle` says what
//! an answer means for this client; both are pure and are tested by tables. This file carries the
//! steps out, and [`ReadBody`] delivers the bytes.

mod body;
mod counted;
mod denied;
mod memory;
mod plan;
mod race;
mod record;
mod redirect;
mod settle;
mod sources;
mod traced;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::apps::{App, ReadMode};
use crate::domain::{
    Conditions, ContentRange, Error, FallbackReason, FallbackResult, ObjectKey, OwnerId,
    RangeRequest, Representation, Source, Stored,
};
use crate::records::Records;
use crate::storage::{StorageError, StorageErrorKind};
use crate::zero_copy::Shared;

use super::Services;
use super::known::Ready;

pub use body::{BrokenOff, Payload, ReadBody};
pub use memory::FromMemory;
pub(super) use plan::refusal_of;

use body::{Rescue, Window};
use counted::{CountedFallback, CountedShare};
use memory::Memory;
use plan::{CdnSeen, MemorySeen, Seen, Step, StorageSeen};
use race::{Raced, ask_cdn};
use settle::{Question, Settled, settle};
use sources::Answer;
use traced::ask_memory;

/// How long one source may look for an answer to a read, over all questions and attempts. The CDN's
/// own limits are far below, unless an app raises them; whatever it uses, storage still has its time.
const SOURCE_LIMIT: Duration = Duration::from_secs(10);

/// How often one source is asked for one read: a range that turns out to be of another version, or
/// a 416 that has to be explained, costs a second or third question. More is a source that
/// contradicts itself.
const MAX_QUESTIONS: usize = 4;

/// A read, as the client asks for it.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// The object.
    pub key: ObjectKey,
    /// Whether only the head is wanted.
    pub head_only: bool,
    /// The range. Ignored where only the head is wanted.
    pub range: Option<RangeRequest>,
    /// The conditions.
    pub conditions: Conditions,
    /// Whether the client can tell the end of the object only by its length (HTTP/1.0): without one
    /// a body that breaks off would look complete.
    pub needs_size: bool,
    /// Whose the object has to be, where the app is private and the reader has no other right.
    pub owned_by: Option<OwnerId>,
}

/// What the client gets.
pub enum Delivery {
    /// The whole object (or its head alone).
    Whole(Payload),
    /// A part of it.
    Part(ContentRange, Payload),
    /// The client has it already.
    NotModified,
    /// The client reads elsewhere: at this URL, which may carry a signature.
    Elsewhere(String),
}

/// The answer to a read, with its explanation.
pub struct ReadReply {
    /// What the client gets, or why it gets nothing.
    pub outcome: Result<Delivery, Error>,
    /// What is known of the object, where it is not from memory.
    pub object: Representation,
    /// Who answered.
    pub source: Source,
    /// Why the CDN did not, where it should have.
    pub fallback: Option<FallbackReason>,
    /// The object, where it is from memory.
    pub memory: Option<FromMemory>,
}

/// Reads an object.
pub async fn read(app: &Arc<App>, services: &Services, request: &ReadRequest) -> ReadReply {
    match app.read_mode {
        ReadMode::Proxy => {
            let memory = Memory::of(app, services, request);
            drive(app, services, request, memory.as_ref()).await
        }
        ReadMode::Redirect => Box::pin(redirect::redirect(app, services, request)).await,
    }
}

/// Delivers an object from where it is not only remembered.
async fn deliver(app: &App, services: &Services, request: &ReadRequest) -> ReadReply {
    drive(app, services, request, None).await
}

async fn drive(
    app: &App,
    services: &Services,
    request: &ReadRequest,
    memory: Option<&Memory<'_>>,
) -> ReadReply {
    let needs_record = record::is_needed(app, &services.known, &request.key);
    let mut seen = Seen::new(app.cdn.is_some(), needs_record, memory.is_some());
    let mut share = None;
    let mut ready: Option<Arc<Ready>> = None;
    let mut fallback: Option<CountedFallback<'_>> = None;
    let mut settlement = None;
    loop {
        let recorded = ready.as_ref().map(|ready| &ready.stored);
        match plan::next(&seen) {
            Step::AskRecord => {
                (seen.record, ready) = record::ask(app, &services.known, request).await;
            }
            Step::AskRecordAnew => {
                let doubted = ready.as_ref().map(|ready| ready.revision);
                (seen.record, ready) =
                    record::ask_anew(app, &services.known, &request.key, doubted).await;
                if ready.is_some() {
                    seen.storage = StorageSeen::Unasked;
                }
            }
            Step::AskMemory => match ask_memory(memory, recorded).await {
                Some(reply) => return reply,
                None => seen.memory = MemorySeen::Passed,
            },
            Step::AskCdn if seen.cdn == CdnSeen::Unasked && is_spared(app) => {
                seen.cdn = CdnSeen::Spared;
                share = Some(CountedShare::new(app));
            }
            Step::AskCdn => {
                // Boxed, both: a read that memory answers has no use for the room, nor has one that
                // the CDN answers in time for that of storage.
                let storage = || ask_storage(app, &*services.records, request, recorded).boxed();
                match Box::pin(ask_cdn(app, request, recorded, storage)).await {
                    Raced::Cdn(answer) => {
                        seen.cdn = CdnSeen::Answered;
                        settlement = Some(answer);
                    }
                    Raced::Fallback(counted, hedge) => {
                        seen.cdn = CdnSeen::Failed(counted.reason());
                        fallback = Some(counted);
                        if let Some(answer) = hedge {
                            (seen.storage, settlement) = StorageSeen::of(answer);
                        }
                    }
                }
            }
            // Storage may be asked about two versions, for one and the same fallback.
            Step::AskStorage => {
                let asked = ask_storage(app, &*services.records, request, recorded);
                let answer = Box::pin(asked).await;
                (seen.storage, settlement) = StorageSeen::of(answer);
                if let Some(share) = share.take() {
                    share.end(seen.storage.result());
                }
            }
            Step::AnswerFromCdn => {
                return settled(settlement).into_reply(app, request, Source::Cdn, None);
            }
            Step::AnswerFromStorage => {
                let reason = fallback.map(|counted| counted.end(FallbackResult::Served));
                return settled(settlement).into_reply(app, request, app.store.source(), reason);
            }
            Step::Refuse(error) => return refused(app, error, &seen, fallback, memory),
        }
    }
}

/// Whether this read belongs to the share that keeps the fallback in use.
fn is_spared(app: &App) -> bool {
    app.cdn.as_ref().is_some_and(|cdn| cdn.share.takes_next())
}

fn refused(
    app: &App,
    error: Error,
    seen: &Seen,
    fallback: Option<CountedFallback<'_>>,
    memory: Option<&Memory<'_>>,
) -> ReadReply {
    let result = FallbackResult::of_refusal(&error);
    let source = match (&error, &seen.storage) {
        (Error::NotFound, StorageSeen::Failed(_) | StorageSeen::Changed) => app.store.source(),
        _ => Source::None,
    };
    let reply = ReadReply {
        outcome: Err(error),
        object: Representation::default(),
        source,
        fallback: fallback.map(|counted| counted.end(result)),
        memory: None,
    };
    memory.inspect(|memory| memory.note(&reply));
    reply
}

fn settled(settlement: Option<Settlement>) -> Settlement {
    settlement.expect("a source that is said to have answered has left its answer")
}

/// An answer that fits the request.
struct Settlement {
    settled: Fit,
    /// Boxed: it goes through many hands, and the future of each would have room for it.
    answer: Box<Answer>,
}

/// The part of [`Settled`] that ends the questions to a source.
enum Fit {
    Whole,
    Part(ContentRange),
    Cut(ContentRange),
    NotModified,
    Refused(Error),
}

/// A source that contradicts itself or the question.
struct Unfit(&'static str);

/// Asks storage, in its turn and within the limit of time.
async fn ask_storage(
    app: &App,
    records: &dyn Records,
    request: &ReadRequest,
    recorded: Option<&Stored>,
) -> Result<Settlement, StorageSeen> {
    // Until the head of the answer, so that slow clients do not use the places up.
    let _place = app.storage_limit.enter().await.map_err(|error| {
        app.metrics.storage_overloaded();
        tracing::debug!(app = %app.name, %error, "a read was refused");
        StorageSeen::Failed(Error::Overloaded)
    })?;
    let asked = pin!(ask_storage_now(app, records, request, recorded));
    let too_long = || StorageSeen::Failed(Error::StorageTimeout);
    timeout(SOURCE_LIMIT, asked).await.unwrap_or_else(|_| Err(too_long()))
}

async fn ask_storage_now(
    app: &App,
    records: &dyn Records,
    request: &ReadRequest,
    recorded: Option<&Stored>,
) -> Result<Settlement, StorageSeen> {
    let path = app.key_prefix.path_of(&request.key);
    let asked = ask(request, Question::first_of_storage(request), |question| {
        sources::storage(&*app.store, &path, request, question, recorded)
    });
    let error: StorageError = match asked.await {
        Ok(settlement) => {
            app.read_proof.worked(&path, std::time::Instant::now());
            return Ok(settlement);
        }
        Err(error) => error,
    };
    if recorded.is_some() && error.kind == StorageErrorKind::PreconditionFailed {
        return Err(StorageSeen::Changed);
    }
    let denied = error.kind == StorageErrorKind::AccessDenied;
    // What a record has as ready is not missing.
    if denied && recorded.is_none() && denied::is_missing(app, records, &request.key).await {
        return Err(StorageSeen::Failed(Error::NotFound));
    }
    let refusal = refusal_of(error.kind);
    if refusal != Error::NotFound {
        let storage = app.store.source().label();
        tracing::error!(app = %app.name, storage, %error, "storage failed");
    }
    Err(StorageSeen::Failed(refusal))
}

/// Asks one source, as often as it takes to get an answer that fits the request.
async fn ask<E, F>(
    request: &ReadRequest,
    first: Question,
    source: impl Fn(Question) -> F,
) -> Result<Settlement, E>
where
    E: From<Unfit>,
    F: Future<Output = Result<Answer, E>>,
{
    let mut question = first;
    for _ in 0..MAX_QUESTIONS {
        let answer = source(question).await?;
        let settled = match settle(request, question, answer.shape, &answer.object) {
            Settled::Whole => Fit::Whole,
            Settled::Part(part) => Fit::Part(part),
            Settled::Cut(part) => Fit::Cut(part),
            Settled::NotModified => Fit::NotModified,
            Settled::PreconditionFailed => Fit::Refused(Error::PreconditionFailed),
            Settled::Unsatisfiable { size } => Fit::Refused(Error::RangeNotSatisfiable { size }),
            Settled::AskAgain(next) => {
                question = next;
                continue;
            }
            Settled::Unfit(why) => return Err(Unfit(why).into()),
        };
        return Ok(Settlement { settled, answer: Box::new(answer) });
    }
    Err(Unfit("the source contradicts itself").into())
}

impl Settlement {
    fn into_reply(
        self,
        app: &App,
        request: &ReadRequest,
        source: Source,
        fallback: Option<FallbackReason>,
    ) -> ReadReply {
        let Answer { object, bytes, is_own_word, .. } = *self.answer;
        let rescue = || Rescue::new(app, &request.key, &object, is_own_word);
        let body = |bytes, window| Payload::from(ReadBody::new(bytes, window, rescue()));
        let outcome = match self.settled {
            Fit::Whole if request.head_only => {
                Ok(Delivery::Whole(Payload::Here(Shared::default())))
            }
            Fit::Whole => Ok(Delivery::Whole(body(bytes, Window::whole(object.size)))),
            Fit::Part(part) => Ok(Delivery::Part(part, body(bytes, Window::part(part)))),
            Fit::Cut(part) => Ok(Delivery::Part(part, body(bytes, Window::cut(part)))),
            Fit::NotModified => Ok(Delivery::NotModified),
            Fit::Refused(error) => Err(error),
        };
        ReadReply { outcome, object, source, fallback, memory: None }
    }
}
