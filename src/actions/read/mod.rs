//! Reading a public image: the CDN first, storage when the CDN fails, and never silently.
//!
//! Deciding is kept apart from doing. `plan` says which source comes next, `settle` says what
//! an answer means for this client; both are pure and are tested by tables. This file carries the
//! steps out, and [`ReadBody`] delivers the bytes.

mod body;
mod denied;
mod plan;
mod settle;
mod sources;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::apps::App;
use crate::cdn::CdnFailure;
use crate::domain::{
    Conditions, ContentRange, Error, FallbackReason, FallbackResult, ObjectKey, RangeRequest,
    Representation, Source,
};
use crate::records::Records;
use crate::storage::{StorageError, StorageErrorKind};

pub use body::{BrokenOff, ReadBody};
pub(super) use plan::refusal_of;

use body::{Rescue, Window};
use plan::{CdnSeen, Seen, Step, StorageSeen};
use settle::{Question, Settled, settle};
use sources::Answer;

/// How long a read may look for an answer, over all sources together. The CDN's own limits are far
/// below; the rest is storage's.
const DEADLINE: Duration = Duration::from_secs(10);

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
}

/// What the client gets.
pub enum Delivery {
    /// The whole object (or its head alone).
    Whole(ReadBody),
    /// A part of it.
    Part(ContentRange, ReadBody),
    /// The client has it already.
    NotModified,
}

/// The answer to a read, with its explanation.
pub struct ReadReply {
    /// What the client gets, or why it gets nothing.
    pub outcome: Result<Delivery, Error>,
    /// What is known of the object.
    pub object: Representation,
    /// Who answered.
    pub source: Source,
    /// Why the CDN did not, where it should have.
    pub fallback: Option<FallbackReason>,
}

/// Reads an object.
pub async fn read(app: &App, records: &dyn Records, request: &ReadRequest) -> ReadReply {
    let deadline = Instant::now() + DEADLINE;
    let mut seen = Seen::new(app.cdn.is_some());
    let mut fallback: Option<CountedFallback<'_>> = None;
    let mut settlement = None;
    loop {
        match plan::next(&seen) {
            Step::AskCdn => match ask_cdn(app, request).await {
                Ok(answer) => {
                    seen.cdn = CdnSeen::Answered;
                    settlement = Some(answer);
                }
                Err(reason) => seen.cdn = CdnSeen::Failed(reason),
            },
            Step::AskStorage { because } => {
                fallback = because.map(|reason| CountedFallback::new(app, reason));
                seen.storage = match timeout_at(deadline, ask_storage(app, records, request)).await
                {
                    Ok(Ok(answer)) => {
                        settlement = Some(answer);
                        StorageSeen::Answered
                    }
                    Ok(Err(error)) => StorageSeen::Failed(error),
                    Err(_) => StorageSeen::Failed(Error::StorageTimeout),
                };
            }
            Step::AnswerFromCdn => {
                return settled(settlement).into_reply(app, request, Source::Cdn, None);
            }
            Step::AnswerFromStorage => {
                let reason = fallback.map(|counted| counted.end(FallbackResult::Served));
                return settled(settlement).into_reply(app, request, app.store.source(), reason);
            }
            Step::Refuse(error) => {
                let result = match error {
                    Error::NotFound => FallbackResult::Missing,
                    _ => FallbackResult::Failed,
                };
                let reason = fallback.map(|counted| counted.end(result));
                let source = match error {
                    Error::NotFound => app.store.source(),
                    _ => Source::None,
                };
                let object = Representation::default();
                return ReadReply { outcome: Err(error), object, source, fallback: reason };
            }
        }
    }
}

fn settled(settlement: Option<Settlement>) -> Settlement {
    settlement.expect("a source that is said to have answered has left its answer")
}

/// A fallback that is counted exactly once, also when the client leaves before storage answers.
struct CountedFallback<'a> {
    app: &'a App,
    reason: FallbackReason,
    result: FallbackResult,
}

impl<'a> CountedFallback<'a> {
    fn new(app: &'a App, reason: FallbackReason) -> Self {
        Self { app, reason, result: FallbackResult::Failed }
    }

    fn end(mut self, result: FallbackResult) -> FallbackReason {
        self.result = result;
        self.reason
    }
}

impl Drop for CountedFallback<'_> {
    fn drop(&mut self) {
        self.app.metrics.fell_back(self.reason, self.result);
    }
}

/// An answer that fits the request.
struct Settlement {
    settled: Fit,
    answer: Answer,
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

async fn ask_cdn(app: &App, request: &ReadRequest) -> Result<Settlement, FallbackReason> {
    let cdn = app.cdn.as_ref().expect("only an app with a CDN is led here");
    let path = app.cdn_prefix.path_of(&request.key);
    let asked = ask(request, Question::first(request), |question| {
        sources::cdn(cdn, &path, request, question)
    });
    match asked.await {
        Ok(settlement) => {
            app.metrics.cdn_answered();
            Ok(settlement)
        }
        Err(CdnFailure { reason, detail }) => {
            app.metrics.cdn_failed(reason);
            tracing::info!(app = %app.name, reason = reason.label(), detail, "the CDN failed");
            Err(reason)
        }
    }
}

async fn ask_storage(
    app: &App,
    records: &dyn Records,
    request: &ReadRequest,
) -> Result<Settlement, Error> {
    let path = app.key_prefix.path_of(&request.key);
    let asked = ask(request, Question::first_of_storage(request), |question| {
        sources::storage(&*app.store, &path, request, question)
    });
    let error: StorageError = match asked.await {
        Ok(settlement) => {
            app.read_proof.worked(&path, std::time::Instant::now());
            return Ok(settlement);
        }
        Err(error) => error,
    };
    let denied = error.kind == StorageErrorKind::AccessDenied;
    if denied && denied::is_missing(app, records, &request.key).await {
        return Err(Error::NotFound);
    }
    let refusal = refusal_of(error.kind);
    if refusal != Error::NotFound {
        let storage = app.store.source().label();
        tracing::error!(app = %app.name, storage, %error, "storage failed");
    }
    Err(refusal)
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
        return Ok(Settlement { settled, answer });
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
        let Answer { object, bytes, .. } = self.answer;
        let body =
            |bytes, window| ReadBody::new(bytes, window, Rescue::new(app, &request.key, &object));
        let outcome = match self.settled {
            Fit::Whole if request.head_only => Ok(Delivery::Whole(ReadBody::empty())),
            Fit::Whole => Ok(Delivery::Whole(body(bytes, Window::whole(object.size)))),
            Fit::Part(part) => Ok(Delivery::Part(part, body(bytes, Window::part(part)))),
            Fit::Cut(part) => Ok(Delivery::Part(part, body(bytes, Window::cut(part)))),
            Fit::NotModified => Ok(Delivery::NotModified),
            Fit::Refused(error) => Err(error),
        };
        ReadReply { outcome, object, source, fallback }
    }
}
