//! What an answer means for this client: a pure function of what the client wants, what the source
//! was asked, and what it said. It is the same for every source, so that conditions and ranges
//! behave the same wherever the bytes come from.

use crate::domain::{ContentRange, Precondition, Representation, Shape};

use super::ReadRequest;

/// What a source is asked for one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// Only the head: to evaluate conditions, or to explain a 416.
    pub(super) head_only: bool,
    /// With the client's range.
    pub(super) with_range: bool,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// Deliver the whole object, which the answer is.
    Whole,
    /// Deliver the part, which the answer is.
    Part(ContentRange),
    /// Deliver this part, cut out of the answer, which is the whole object.
    Cut(ContentRange),
    /// The client has it already.
    NotModified,
    /// The client does not want this version.
    PreconditionFailed,
    /// The client's range lies outside.
    Unsatisfiable { size: u64 },
    /// The answer leads to another question to the same source.
    AskAgain(Question),
    /// The answer contradicts the question.
    Unfit(&'static str),
}

impl Question {
    /// The first question to a source that evaluates `If-None-Match` itself.
    pub(super) fn first(request: &ReadRequest) -> Self {
        Self {
            head_only: request.head_only,
            with_range: !request.head_only && request.range.is_some(),
        }
    }

    /// The first question to storage: under conditions only the head, because most conditional
    /// reads end with it.
    pub(super) fn first_of_storage(request: &ReadRequest) -> Self {
        if request.conditions.may_refuse() { Self::HEAD } else { Self::first(request) }
    }

    const HEAD: Self = Self { head_only: true, with_range: false };
    const WHOLE: Self = Self { head_only: false, with_range: false };
    const RANGE: Self = Self { head_only: false, with_range: true };
}

/// Settles an answer.
pub(super) fn settle(
    request: &ReadRequest,
    question: Question,
    shape: Shape,
    object: &Representation,
) -> Settled {
    let conditions = &request.conditions;
    let precondition = conditions.evaluate(object.validators());
    match (shape, precondition) {
        (Shape::Unsatisfiable(Some(size)), _) if conditions.is_empty() => {
            let lies_outside = request.range.is_some_and(|range| range.resolve(size).is_none());
            match lies_outside {
                true => Settled::Unsatisfiable { size },
                false => Settled::Unfit("416 for a range that lies inside"),
            }
        }
        // A 416 shows no version to evaluate conditions on, and they come before the range.
        (Shape::Unsatisfiable(_), _) => Settled::AskAgain(Question::HEAD),
        (_, Precondition::Failed) => Settled::PreconditionFailed,
        (_, Precondition::NotModified) => Settled::NotModified,
        (Shape::NotModified, Precondition::Holds) => {
            Settled::Unfit("304 for a version that the client does not have")
        }
        (Shape::Part(part), Precondition::Holds) => {
            if conditions.range_applies(object.validators()) {
                Settled::Part(part)
            } else {
                Settled::AskAgain(Question::WHOLE)
            }
        }
        (Shape::Whole, Precondition::Holds) => whole(request, question, object),
    }
}

/// The whole object, or its head, is there, and the conditions hold.
fn whole(request: &ReadRequest, question: Question, object: &Representation) -> Settled {
    let range = match (request.range, object.size) {
        // Without a size no range can be cut; a whole answer is always allowed (RFC 9110 §14.2).
        (Some(range), Some(size)) if !request.head_only => {
            if request.conditions.range_applies(object.validators()) {
                match range.resolve(size) {
                    None => return Settled::Unsatisfiable { size },
                    Some(range) => Some(ContentRange { range, total: size }),
                }
            } else {
                None
            }
        }
        _ => None,
    };
    if request.needs_size && object.size.is_none() && !question.head_only {
        return Settled::Unfit("no length, for a client that needs one");
    }
    // A head that was asked for only to decide leads on to the bytes.
    let decided_by_head = question.head_only && !request.head_only;
    match (decided_by_head, range) {
        (true, None) => Settled::AskAgain(Question::WHOLE),
        (true, Some(_)) => Settled::AskAgain(Question::RANGE),
        (false, None) => Settled::Whole,
        (false, Some(part)) => Settled::Cut(part),
    }
}

#[cfg(test)]
mod tests;
