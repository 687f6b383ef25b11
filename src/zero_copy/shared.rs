//! Bytes that many are sent, at any time and in any order.

use std::io;
use std::mem;
use std::ops::Range;

use bytes::Bytes;

use super::{Chunk, Filed, InKernel};

/// Bytes that stay the same for all who have them. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Shared {
    /// In memory as any are.
    Here(Bytes),
    /// In a file.
    Filed(Filed),
}

impl Shared {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Filed(filed) => filed.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they take in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Filed(filed) => filed.weight(),
        }
    }

    /// A part of them.
    ///
    /// # Panics
    /// If it is not within them.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::Here(bytes) => Self::Here(bytes.slice(range)),
            Self::Filed(filed) => Self::Filed(filed.slice(range)),
        }
    }

    /// Takes the first of them into memory: all that are there already, or else at most so many.
    ///
    /// # Errors
    /// As [`Filed::read`].
    pub fn read(&mut self, most: usize) -> io::Result<Bytes> {
        match self {
            Self::Here(bytes) => Ok(mem::take(bytes)),
            Self::Filed(filed) => filed.read(most),
        }
    }

    /// Whether they lie at the same place: they are the very same, then, and not only equal.
    #[must_use]
    pub fn are_those_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here(bytes), Self::Here(others)) => bytes.as_ptr() == others.as_ptr(),
            (Self::Filed(filed), Self::Filed(others)) => filed.is_of_the_file_of(others),
            _ => false,
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::Here(Bytes::new())
    }
}

impl From<Shared> for Chunk {
    fn from(shared: Shared) -> Self {
        match shared {
            Shared::Here(bytes) => Self::Here(bytes),
            Shared::Filed(filed) => Self::InKernel(InKernel::Filed(filed)),
        }
    }
}
