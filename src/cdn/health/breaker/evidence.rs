//! What a failed request says of the CDN's health: a table of the reasons.

use std::time::Duration;

use crate::domain::FallbackReason;

/// A request to the CDN that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The reason under which the fallback is counted.
    pub reason: FallbackReason,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// `Retry-After` of that answer.
    pub retry_after: Option<Duration>,
}

/// What is concluded from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The CDN, or the way to it, is broken. Nothing was heard from the CDN itself.
    Unreachable,
    /// The CDN says, or shows, that it is broken.
    Broken,
    /// The CDN works and wants to be left alone, for a while if it said so.
    LeaveAlone(Option<Duration>),
    /// The CDN works, though it did not serve this read.
    Alive,
    /// The CDN was not asked.
    Nothing,
}

impl From<FallbackReason> for Fault {
    fn from(reason: FallbackReason) -> Self {
        Self { reason, status: None, retry_after: None }
    }
}

impl Fault {
    /// Weighs a fault. No wildcard for reasons: whoever adds one decides here what it says.
    pub(super) fn weigh(self) -> Evidence {
        match self.reason {
            FallbackReason::Connect | FallbackReason::Tls | FallbackReason::Timeout => {
                Evidence::Unreachable
            }
            FallbackReason::Protocol => Evidence::Broken,
            // What a gateway in front says when the thing behind it is gone. A 500 or 501 may be
            // about one object, and each read of it would tell against the whole CDN.
            FallbackReason::Status5xx => match self.status {
                Some(502..=504) => Evidence::Broken,
                _ => Evidence::Alive,
            },
            FallbackReason::Status429 => Evidence::LeaveAlone(self.retry_after),
            // About this object, or a matter of configuration: asking others may well work.
            FallbackReason::Status403
            | FallbackReason::Status404
            | FallbackReason::StatusOther
            | FallbackReason::Redirect
            | FallbackReason::Mismatch => Evidence::Alive,
            FallbackReason::BreakerOpen | FallbackReason::Hedge => Evidence::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use FallbackReason as Reason;
        let wait = Duration::from_secs(7);
        for (reason, status, retry_after, expected) in [
            (Reason::Connect, None, None, Evidence::Unreachable),
            (Reason::Tls, None, None, Evidence::Unreachable),
            (Reason::Timeout, None, None, Evidence::Unreachable),
            (Reason::Protocol, None, None, Evidence::Broken),
            (Reason::Status5xx, Some(500), None, Evidence::Alive),
            (Reason::Status5xx, Some(501), None, Evidence::Alive),
            (Reason::Status5xx, Some(502), None, Evidence::Broken),
            (Reason::Status5xx, Some(503), Some(wait), Evidence::Broken),
            (Reason::Status5xx, Some(504), None, Evidence::Broken),
            (Reason::Status5xx, Some(505), None, Evidence::Alive),
            (Reason::Status5xx, None, None, Evidence::Alive),
            (Reason::Status429, Some(429), Some(wait), Evidence::LeaveAlone(Some(wait))),
            (Reason::Status429, Some(429), None, Evidence::LeaveAlone(None)),
            (Reason::Status403, Some(403), None, Evidence::Alive),
            (Reason::Status404, Some(404), None, Evidence::Alive),
            (Reason::StatusOther, Some(400), None, Evidence::Alive),
            (Reason::Redirect, Some(302), None, Evidence::Alive),
            (Reason::Mismatch, Some(200), None, Evidence::Alive),
            (Reason::BreakerOpen, None, None, Evidence::Nothing),
            (Reason::Hedge, None, None, Evidence::Nothing),
        ] {
            let fault = Fault { reason, status, retry_after };
            assert_eq!(fault.weigh(), expected, "{fault:?}");
        }
    }
}
