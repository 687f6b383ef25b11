//! The judgement of a CDN's health: how fast it answers, whether it is asked at all, when storage
//! is asked beside it, and which reads go to storage in any case.
//!
//! Nothing here sends a request, and only [`Ticket::given_up`] looks at a clock: everything else is
//! told the time. How the parts are used together stands in `tests/simulation.rs`, which holds
//! them to their promise in a blackout.

mod breaker;
mod hedge;
mod latency;
mod share;

pub use breaker::{Admission, Breaker, BreakerState, Change, Fault, Ticket, Why};
pub use hedge::hedge_delay;
pub use latency::FirstByteTimes;
pub use share::{InvalidShare, OriginShare};

#[cfg(test)]
mod tests;
