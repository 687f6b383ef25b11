//! Who tells of what happened in a bucket, and what becomes of it: the closed sets of its metrics.

/// The way on which an event of storage came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventSource {
    /// A queue of Amazon SQS, which the gateway asks.
    Sqs,
    /// A push subscription of Google Cloud Pub/Sub.
    PubSub,
    /// A webhook, as MinIO and SeaweedFS send it.
    Webhook,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventOutcome {
    /// Storage was asked, and the upload's record agrees with it now.
    Verified,
    /// The record was given its verdict for exactly this object already: nobody was asked.
    Duplicate,
    /// There is no object under the key (any more).
    Missing,
    /// It tells of no arrival: a removal, a test, another kind of event.
    Ignored,
    /// No app has this bucket and prefix, the key was not minted here, or there is no record.
    Unknown,
    /// Storage or the record store failed. Not acknowledged: it comes again.
    Retry,
    /// It cannot be read. Not acknowledged.
    Malformed,
    /// A message that came so often that a dead-letter queue should have it by now. Counted beside
    /// the outcome.
    DeadLetter,
    /// The sender did not prove who it is.
    Unauthenticated,
    /// Too many were being handled. Not acknowledged: it comes again.
    Overloaded,
}

impl EventSource {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Sqs, Self::PubSub, Self::Webhook];

    /// The value of the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::PubSub => "pubsub",
            Self::Webhook => "webhook",
        }
    }

    /// Whether an event of this source can come to this outcome.
    #[must_use]
    pub const fn can_have(self, outcome: EventOutcome) -> bool {
        match (self, outcome) {
            (Self::Sqs, EventOutcome::Unauthenticated | EventOutcome::Overloaded)
            | (Self::PubSub | Self::Webhook, EventOutcome::DeadLetter) => false,
            (Self::Sqs | Self::PubSub | Self::Webhook, _) => true,
        }
    }
}

impl EventOutcome {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::Verified,
        Self::Duplicate,
        Self::Missing,
        Self::Ignored,
        Self::Unknown,
        Self::Retry,
        Self::Malformed,
        Self::DeadLetter,
        Self::Unauthenticated,
        Self::Overloaded,
    ];

    /// The value of the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Duplicate => "duplicate",
            Self::Missing => "missing",
            Self::Ignored => "ignored",
            Self::Unknown => "unknown",
            Self::Retry => "retry",
            Self::Malformed => "malformed",
            Self::DeadLetter => "dead_letter",
            Self::Unauthenticated => "unauthenticated",
            Self::Overloaded => "overloaded",
        }
    }
}
