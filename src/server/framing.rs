//! Whose bytes are whose on a client's connection: heads, and what follows each. A byte of a body
//! is never taken for one of a head, and no head is passed on that was not judged.

use crate::chunked::{Chunked, Walked};
use crate::http::Problem;

use super::head::{Extent, Scan, judge};

/// A place in what a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// In a head, or before one.
    Head(Scan),
    /// In a body, of which this much is left; never 0.
    Counted(u64),
    /// In a body of chunks.
    Chunked(Chunked),
    /// Where it cannot be told whose the next byte is: it is nobody's.
    Lost,
}

/// What may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, before more has come.
    Wait,
    /// The first so many bytes, which are a whole head.
    Head(usize),
    /// The first so many bytes, which are of a body.
    Body(usize),
    /// Nothing ever again.
    Refused(Problem),
}

impl Framing {
    pub(super) fn new() -> Self {
        Self::Head(Scan::default())
    }

    /// Whether a head has begun that is not whole.
    pub(super) const fn is_within_head(&self) -> bool {
        matches!(self, Self::Head(scan) if scan.has_begun())
    }

    /// Whether the next byte would be the first one of a request.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self, Self::Head(scan) if !scan.has_begun())
    }

    /// Looks at what comes next. The bytes of a head that is not whole are given again, with more;
    /// all others once.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::Wait;
        }
        match self {
            Self::Head(scan) => {
                let judged = scan
                    .find_end(bytes)
                    .and_then(|end| end.map(|end| Ok((end, judge(&bytes[..end])?))).transpose());
                let (next, step) = match judged {
                    Ok(None) => return Step::Wait,
                    Ok(Some((end, Extent::Counted(0)))) => (Self::new(), Step::Head(end)),
                    Ok(Some((end, Extent::Counted(length)))) => {
                        (Self::Counted(length), Step::Head(end))
                    }
                    Ok(Some((end, Extent::Chunked))) => {
                        (Self::Chunked(Chunked::new()), Step::Head(end))
                    }
                    Err(problem) => (Self::Lost, Step::Refused(problem)),
                };
                *self = next;
                step
            }
            Self::Counted(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                if *left == 0 {
                    *self = Self::new();
                }
                Step::Body(usize::try_from(taken).expect("no more than there are bytes"))
            }
            Self::Chunked(chunks) => match chunks.walk(bytes) {
                Walked::On => Step::Body(bytes.len()),
                Walked::Whole(length) => {
                    *self = Self::new();
                    Step::Body(length)
                }
                // With the byte that is wrong, at which hyper breaks the body off as well.
                Walked::Astray(length) => {
                    *self = Self::Lost;
                    Step::Body(length)
                }
            },
            Self::Lost => Step::Wait,
        }
    }
}
