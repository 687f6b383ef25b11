//! Where a body stands.

use std::ops::Range;

use crate::domain::{AbortCause, ByteRange, ContentRange};

/// Which bytes of the object are still to be delivered, and where the source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actions::read) struct Window {
    /// The offset in the object of the next byte that the source gives.
    source_at: u64,
    /// The offset of the next byte to deliver; not before `source_at`.
    next: u64,
    /// The offset after the last byte to deliver; unknown where the source did not tell a length.
    end: Option<u64>,
    /// Whether the source was asked for more than is delivered, so that more is no overrun.
    cut: bool,
}

impl Window {
    /// All of an object.
    pub(in crate::actions::read) fn whole(size: Option<u64>) -> Self {
        Self { source_at: 0, next: 0, end: size, cut: false }
    }

    /// A part, from a source that gives just that part.
    pub(in crate::actions::read) fn part(part: ContentRange) -> Self {
        let ByteRange { start, end } = part.range;
        Self { source_at: start, next: start, end: Some(end + 1), cut: false }
    }

    /// A part, from a source that gives the whole object.
    pub(in crate::actions::read) fn cut(part: ContentRange) -> Self {
        Self { source_at: 0, cut: true, ..Self::part(part) }
    }

    /// The offset of the next byte to deliver.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether the source was asked for more than is delivered.
    pub(super) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether only the source knows where the end is.
    pub(super) const fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// How many bytes are still to be delivered; unknown where the source did not tell a length.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.end.map(|end| end - self.next)
    }

    /// Takes so many bytes of the source; which of them are to be delivered, or an error if the source
    /// gives more than it promised.
    pub(super) fn take(&mut self, length: usize) -> Result<Range<usize>, AbortCause> {
        let length = length as u64;
        let start = (self.next - self.source_at).min(length);
        self.source_at += length;
        let mut end = length;
        if let Some(remaining) = self.remaining()
            && end - start > remaining
        {
            if !self.cut {
                return Err(AbortCause::Overrun);
            }
            end = start + remaining;
        }
        self.next += end - start;
        let within = |offset| usize::try_from(offset).expect("at most the length");
        Ok(within(start)..within(end))
    }

    /// The bytes that a new source has to give; `None` if that is not known.
    pub(super) fn rest(&self) -> Option<ByteRange> {
        let end = self.end?.checked_sub(1)?;
        (self.next <= end).then_some(ByteRange { start: self.next, end })
    }

    /// The new source gives just the rest.
    pub(super) fn restart(&mut self) {
        self.source_at = self.next;
        self.cut = false;
    }
}
