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
