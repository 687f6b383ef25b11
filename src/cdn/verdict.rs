//! What counts as a failure of the CDN: pure functions, from what came (or did not come) to a usable
//! shape or the reason under which the fallback is counted.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, TRANSFER_ENCODING};

use crate::domain::{ContentRange, FallbackReason, Representation, Shape, Stored};
use crate::upstream::{Fields, SendError};

use super::{CdnFailure, CdnQuestion};

/// The reason under which a failed exchange is counted.
pub(super) fn reason_of(error: &SendError) -> FallbackReason {
    match error {
        SendError::Forbidden(_)
        | SendError::Resolve(_)
        | SendError::Connect(_)
        | SendError::ConnectTimeout
        | SendError::Reset(_) => FallbackReason::Connect,
        SendError::Tls(_) | SendError::TlsTimeout => FallbackReason::Tls,
        SendError::FirstByteTimeout => FallbackReason::Timeout,
        SendError::Closed | SendError::Protocol(_) => FallbackReason::Protocol,
    }
}

/// Judges the head of an answer against what was asked.
///
/// A client's own conditions do not show here: the CDN is never asked `If-Match` or a date, and a
/// 304 or 416 that was asked for is an answer, not a failure.
pub(super) fn judge(
    question: &CdnQuestion<'_>,
    status: StatusCode,
    fields: &Fields,
) -> Result<Shape, CdnFailure> {
    match status.as_u16() {
        200 => whole(question, fields),
        206 => part(question, fields),
        304 if question.if_none_match.is_empty() => Err(protocol("304, and no condition was sent")),
        304 => Ok(Shape::NotModified),
        416 if question.range.is_some() => Ok(Shape::Unsatisfiable(unsatisfied_size(fields))),
        100..=299 => Err(protocol(format!("{status} is no answer to a read"))),
        300..=399 => failure(FallbackReason::Redirect, status),
        403 => failure(FallbackReason::Status403, status),
        404 | 410 => failure(FallbackReason::Status404, status),
        429 => failure(FallbackReason::Status429, status),
        500..=599 => failure(FallbackReason::Status5xx, status),
        _ => failure(FallbackReason::StatusOther, status),
    }
}

/// Compares what an answer shows of the object with what its record says.
///
/// A weak tag is that of a CDN that may compress: it is not compared, the length is. A body that
/// shows neither a strong tag nor a length could be any object's.
pub(super) fn compare(
    question: &CdnQuestion<'_>,
    recorded: &Stored,
    shape: Shape,
    object: &Representation,
) -> Result<(), CdnFailure> {
    let encoding = object.content_encoding.as_deref();
    // An object that is stored with an encoding is never found good.
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(mismatch(format!("Content-Encoding {encoding}, and the record has none")));
    }
    let strong = object.etag.as_ref().filter(|etag| !etag.is_weak());
    match (strong, &recorded.etag) {
        (Some(shown), Some(known)) if shown != known => {
            return Err(mismatch(format!("ETag {shown:?}, and the record has {known:?}")));
        }
        _ => {}
    }
    match object.size {
        Some(0) if recorded.size > 0 && shape == Shape::Whole => {
            Err(protocol("200 without a body, and the record has one"))
        }
        Some(shown) if shown != recorded.size => {
            Err(mismatch(format!("{shown} bytes, and the record has {}", recorded.size)))
        }
        None if strong.is_none() && shape == Shape::Whole && !question.head_only => {
            Err(mismatch("neither a length nor a strong ETag".to_owned()))
        }
        _ => Ok(()),
    }
}

fn whole(question: &CdnQuestion<'_>, fields: &Fields) -> Result<Shape, CdnFailure> {
    let framed = fields.contains(&CONTENT_LENGTH) || fields.contains(&TRANSFER_ENCODING);
    if question.head_only || framed {
        Ok(Shape::Whole)
    } else {
        // Such a body ends when the connection does: nobody could tell whether it was all.
        Err(protocol("200 without a length"))
    }
}

fn part(question: &CdnQuestion<'_>, fields: &Fields) -> Result<Shape, CdnFailure> {
    let Some(asked) = question.range else {
        return Err(protocol("206, and no range was asked for"));
    };
    let part = fields
        .text(&CONTENT_RANGE)
        .and_then(ContentRange::parse)
        .ok_or_else(|| protocol("206 without a complete Content-Range"))?;
    if asked.resolve(part.total) != Some(part.range) {
        return Err(protocol(format!("asked for {asked}, got {part}")));
    }
    match fields.text(&CONTENT_LENGTH).map(str::parse::<u64>) {
        Some(Ok(length)) if length != part.range.len() => {
            Err(protocol(format!("{part} with Content-Length {length}")))
        }
        None if !fields.contains(&TRANSFER_ENCODING) => Err(protocol("206 without a length")),
        _ => Ok(Shape::Part(part)),
    }
}

fn unsatisfied_size(fields: &Fields) -> Option<u64> {
    ContentRange::parse_unsatisfied(fields.text(&CONTENT_RANGE)?)
}

fn protocol(detail: impl Into<String>) -> CdnFailure {
    CdnFailure::new(FallbackReason::Protocol, detail)
}

fn mismatch(detail: String) -> CdnFailure {
    CdnFailure::new(FallbackReason::Mismatch, detail)
}

fn failure(reason: FallbackReason, status: StatusCode) -> Result<Shape, CdnFailure> {
    Err(CdnFailure::new(reason, format!("the CDN answered {status}")))
}
