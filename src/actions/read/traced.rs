//! What the trace of a read says of memory.

use crate::domain::Source;
use crate::traces::{Kind, Name, Span, Value};

use super::ReadReply;
use super::memory::Memory;
use crate::domain::Stored;

/// Asks memory, in a span of its own.
pub(super) async fn ask_memory(
    memory: Option<&Memory<'_>>,
    recorded: Option<&Stored>,
) -> Option<ReadReply> {
    let memory = memory?;
    let mut span = Span::begin(Kind::Internal, Name("memory", None));
    let reply = span.follow(std::pin::pin!(memory.ask(recorded))).await;
    if span.is_recorded() {
        span.came_to(outcome_of(reply.as_ref()));
        if let Some(reason) = reply.as_ref().and_then(|reply| reply.fallback) {
            span.set("safelight.fallback_reason", Value::Word(reason.label()));
        }
    }
    reply
}

/// What memory did for a read.
fn outcome_of(reply: Option<&ReadReply>) -> &'static str {
    match reply {
        None => "passed",
        Some(ReadReply { memory: Some(from), source: Source::Memory, .. }) if from.stale => "stale",
        Some(ReadReply { source: Source::Memory, .. }) => "hit",
        Some(ReadReply { memory: Some(from), .. }) if from.collapsed => "joined",
        Some(ReadReply { outcome: Err(_), .. }) => "refused",
        Some(_) => "miss",
    }
}
