//! A span: a piece of work, from its beginning until it is dropped.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::domain::AppName;

use super::context::{Context, SpanId};
use super::place::{Here, Place, look};
use super::tracer::Tracer;

/// What a span came to that was dropped before anybody said.
const CANCELLED: &str = "cancelled";

/// The attribute in which a span says what it came to.
const OUTCOME: &str = "safelight.outcome";

/// A piece of work. It ends when it is dropped, and is then on its way to the collector, also where
/// the request was given up in the middle. Where nothing is recorded it is nothing.
#[derive(Debug, Default)]
#[must_use = "a span that is dropped has ended"]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    here: Arc<Here>,
    /// What is recorded; `None` where the trace is only passed on.
    record: Option<Record>,
}

/// What is recorded of a span.
#[derive(Debug)]
struct Record {
    tracer: Tracer,
    name: Name,
    kind: Kind,
    parent: Option<SpanId>,
    begun: (SystemTime, Instant),
    attributes: Vec<(&'static str, Value)>,
    /// What it came to, and whether that is a failure.
    outcome: Option<(&'static str, bool)>,
}

/// A span that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) context: Context,
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) parent: Option<SpanId>,
    pub(super) begun: SystemTime,
    pub(super) took: Duration,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub(super) failed: bool,
}

/// The name of a span: one word of a closed set, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(pub &'static str, pub Option<&'static str>);

/// How a span stands to others (`SpanKind` of OpenTelemetry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that was received.
    Server,
    /// A request to another server.
    Client,
    /// Work in this process.
    Internal,
}

/// What an attribute can be. Nothing that a client sends fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word of the program's own.
    Word(&'static str),
    /// A configured app.
    App(AppName),
    /// A number.
    Number(i64),
    /// The id of a request: 16 hexadecimal digits.
    RequestId([u8; 16]),
}

impl Span {
    /// Begins a span below the one that this task works for. Without one that is recorded it is
    /// nothing, and costs nothing.
    pub fn begin(kind: Kind, name: Name) -> Self {
        Self(look(|here| {
            let tracer = here.tracer.clone()?;
            let of = &here.context;
            let context = Context { span: SpanId::random(), ..of.clone() };
            Some(Box::new(Open::recorded(tracer, context, Some(of.span), kind, name)))
        }))
    }

    /// The first span of a request, which is recorded.
    pub(super) fn of_request(tracer: Tracer, context: Context, parent: Option<SpanId>) -> Self {
        let name = Name("HTTP", None);
        Self(Some(Box::new(Open::recorded(tracer, context, parent, Kind::Server, name))))
    }

    /// Only passes a trace on.
    pub(super) fn passing(context: Context) -> Self {
        let here = Arc::new(Here { context, tracer: None });
        Self(Some(Box::new(Open { here, record: None })))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.record.is_some())
    }

    /// Where whoever works for this span is. For a span that is nothing, where this task is already.
    #[must_use]
    pub fn place(&self) -> Place {
        self.0.as_ref().map(|open| Place::at(Arc::clone(&open.here))).unwrap_or_default()
    }

    /// A future that works for this span.
    pub fn follow<F: Future + Unpin>(
        &self,
        running: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.place().follow(running)
    }

    fn record(&mut self) -> Option<&mut Record> {
        self.0.as_mut()?.record.as_mut()
    }

    /// Gives it another name, now that it is known.
    pub fn rename(&mut self, name: Name) {
        if let Some(record) = self.record() {
            record.name = name;
        }
    }

    /// Says something of it. The names are those of OpenTelemetry's conventions where there is one,
    /// and else begin with `safelight.`.
    pub fn set(&mut self, attribute: &'static str, value: Value) {
        if let Some(record) = self.record() {
            record.attributes.push((attribute, value));
        }
    }

    /// Says what it came to. The last word counts; a span without one was cancelled.
    pub fn came_to(&mut self, outcome: &'static str) {
        if let Some(record) = self.record() {
            record.outcome = Some((outcome, false));
        }
    }

    /// Takes back what was said of how it ended: it goes on.
    pub(super) fn goes_on(&mut self) {
        if let Some(record) = self.record() {
            record.outcome = None;
        }
    }

    /// Says how it failed.
    pub fn failed(&mut self, outcome: &'static str) {
        if let Some(record) = self.record() {
            record.outcome = Some((outcome, true));
        }
    }
}

impl Open {
    fn recorded(
        tracer: Tracer,
        context: Context,
        parent: Option<SpanId>,
        kind: Kind,
        name: Name,
    ) -> Self {
        let here = Arc::new(Here { context, tracer: Some(tracer.clone()) });
        let begun = (SystemTime::now(), Instant::now());
        let attributes = Vec::new();
        let record = Record { tracer, name, kind, parent, begun, attributes, outcome: None };
        Self { here, record: Some(record) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let Record { tracer, name, kind, parent, begun, mut attributes, outcome } = record;
        let (outcome, failed) = outcome.unwrap_or((CANCELLED, false));
        attributes.push((OUTCOME, Value::Word(outcome)));
        tracer.ended(Ended {
            context: self.here.context.clone(),
            name,
            kind,
            parent,
            begun: begun.0,
            took: begun.1.elapsed(),
            attributes,
            failed,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::sync::mpsc;

    use super::super::tracer::{SampleRatio, begin};
    use super::*;
    use crate::log::of_this_request;
    use crate::metrics::{Metrics, SpanMetrics};

    const WORK: Name = Name("work", None);

    fn recording() -> (Tracer, mpsc::Receiver<Ended>) {
        Tracer::new(SampleRatio::ALL, SpanMetrics::new(&Metrics::new()))
    }

    fn ended(queue: &mut mpsc::Receiver<Ended>) -> Vec<Ended> {
        std::iter::from_fn(|| queue.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn a_span_is_below_the_one_that_its_task_works_for() {
        let (tracer, mut queue) = recording();
        let request = begin(Some(&tracer), None);
        let work = async {
            let outer = Span::begin(Kind::Internal, WORK);
            outer.follow(pin!(async { drop(Span::begin(Kind::Client, WORK)) })).await;
            // Another task is somewhere else, unless it goes on for this one.
            tokio::spawn(async { drop(Span::begin(Kind::Client, WORK)) }).await.unwrap();
            drop(outer);
            let going_on = of_this_request(async { drop(Span::begin(Kind::Client, WORK)) });
            tokio::spawn(going_on).await.unwrap();
        };
        request.follow(pin!(work)).await;
        drop(Span::begin(Kind::Client, WORK));
        drop(request);
        let [inner, outer, beside, request] = <[Ended; 4]>::try_from(ended(&mut queue)).unwrap();
        let id = |span: &Ended| Some(span.context.span);
        assert_eq!((inner.parent, outer.parent), (id(&outer), id(&request)));
        assert_eq!((beside.parent, request.parent), (id(&request), None));
        for span in [&inner, &outer, &beside] {
            assert_eq!(span.context.trace, request.context.trace);
        }
    }

    #[test]
    fn the_last_word_counts_and_silence_is_a_cancellation() {
        let (tracer, mut queue) = recording();
        let span = || begin(Some(&tracer), None);
        drop(span());
        let mut failed = span();
        failed.came_to("ok");
        failed.failed("broke");
        drop(failed);
        let mut ok = span();
        ok.failed("broke");
        ok.came_to("ok");
        drop(ok);
        let told: Vec<_> = ended(&mut queue)
            .into_iter()
            .map(|span| (span.attributes.last().cloned().unwrap(), span.failed))
            .collect();
        let outcome = |word, failed| ((OUTCOME, Value::Word(word)), failed);
        assert_eq!(told, [outcome(CANCELLED, false), outcome("broke", true), outcome("ok", false)]);
    }

    #[test]
    fn what_is_only_passed_on_is_not_recorded() {
        let (trace, span) = (super::super::TraceId::random(), SpanId::random());
        let of_peer = Context { trace, span, sampled: false, state: None };
        let (tracer, mut queue) = recording();
        for tracer in [None, Some(&tracer)] {
            let request = begin(tracer, Some(of_peer.clone()));
            assert!(!request.is_recorded());
            request.place().scope(|| {
                assert_eq!(Place::current_trace(), Some(trace));
                assert!(!Span::begin(Kind::Client, WORK).is_recorded());
                let mut headers = http::HeaderMap::new();
                super::super::pass_on(&mut headers);
                assert_eq!(Context::from_headers(&headers).as_ref(), Some(&of_peer));
            });
        }
        assert!(ended(&mut queue).is_empty());
    }

    /// The seats of all that is not traced.
    #[test]
    fn nothing_is_as_small_as_a_pointer() {
        assert_eq!(size_of::<Span>(), size_of::<usize>());
        assert_eq!(size_of::<Place>(), size_of::<usize>());
        let mut headers = http::HeaderMap::new();
        super::super::pass_on(&mut headers);
        assert_eq!((headers.len(), headers.capacity()), (0, 0));
    }
}
