//! What a key holds: a value, nothing, or an error that was noted.

use std::fmt::Display;

use super::report::{Place, Report};

/// What a key holds.
#[must_use]
pub struct Given<'a, T> {
    pub(super) report: &'a Report<'a>,
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) state: State<T>,
}

/// Whether there is a value.
pub(super) enum State<T> {
    Absent,
    /// An error was noted.
    Wrong,
    Value(T),
}

impl<T> Given<'_, T> {
    /// Refuses a value that `check` gives a reason against.
    pub fn check<E: Display>(mut self, check: impl FnOnce(&T) -> Result<(), E>) -> Self {
        if let State::Value(value) = &self.state
            && let Err(reason) = check(value)
        {
            let message = format!("{}: {reason}", self.name);
            self.report.error(Some(&self.name), &self.place, message, None);
            self.state = State::Wrong;
        }
        self
    }

    /// The value, or else this one. (After an error it does not matter which: the file is refused.)
    #[must_use]
    pub fn or(self, default: T) -> T {
        self.optional().unwrap_or(default)
    }

    /// The value, if there is one.
    #[must_use]
    pub fn optional(self) -> Option<T> {
        match self.state {
            State::Value(value) => Some(value),
            State::Absent | State::Wrong => None,
        }
    }

    /// The value, which must be given; the text says what it is.
    #[must_use]
    pub fn required(self, what: &str) -> Option<T> {
        if matches!(self.state, State::Absent) {
            let message = format!("{} is missing: {what}", self.name);
            self.report.error(Some(&self.name), &self.place, message, None);
        }
        self.optional()
    }

    /// Where the key stands; where it is absent, its section.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the key is there, rightly or wrongly.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !matches!(self.state, State::Absent)
    }

    /// Whether the key is there and an error was noted.
    #[must_use]
    pub const fn is_wrong(&self) -> bool {
        matches!(self.state, State::Wrong)
    }
}
