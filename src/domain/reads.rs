//! What a read can come from, and why it did not come from the CDN. Each label of the metrics
//! contract is one variant; a new variant is led to every place that must know it by the compiler.

use super::Error;

/// Defines a closed label set: an enum, all its variants, and the label of each.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The metric label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

pub(super) use labels;

labels! {
    /// Where the answer to a read came from.
    Source {
        /// The memory of this process.
        Memory => "memory",
        /// The app's CDN.
        Cdn => "cdn",
        /// Amazon S3, or a store that speaks its protocol.
        S3 => "s3",
        /// Google Cloud Storage.
        Gcs => "gcs",
        /// Azure Blob Storage.
        Azure => "azure",
        /// The store that `safelight dev` embeds.
        Embedded => "embedded",
        /// A redirect: the client reads elsewhere.
        Redirect => "redirect",
        /// Nobody was asked, or nobody answered.
        None => "none",
    }
}

labels! {
    /// Why the CDN did not serve a read that it should have served.
    FallbackReason {
        /// The name does not resolve, the connection was refused, reset, or not there in time.
        Connect => "connect",
        /// The TLS handshake failed or stalled, or the certificate does not hold.
        Tls => "tls",
        /// No response head in time.
        Timeout => "timeout",
        /// Any 5xx.
        Status5xx => "status_5xx",
        /// 429.
        Status429 => "status_429",
        /// 403: the CDN may not read the object, or hides that there is none.
        Status403 => "status_403",
        /// 404 or 410.
        Status404 => "status_404",
        /// Any other status that is no answer to the question.
        StatusOther => "status_other",
        /// A redirect; never followed, never relayed.
        Redirect => "redirect",
        /// Not HTTP, or an answer that contradicts itself or the request.
        Protocol => "protocol",
        /// The answer is not the object that the record describes.
        Mismatch => "mismatch",
        /// The breaker is open: the CDN was not asked.
        BreakerOpen => "breaker_open",
        /// Storage answered a hedged read first.
        Hedge => "hedge",
    }
}

labels! {
    /// What became of a read that fell back.
    FallbackResult {
        /// Storage answered with the object, or with the answer to a condition on it.
        Served => "served",
        /// Storage says that there is no such object either.
        Missing => "missing",
        /// Storage failed too, or the client left before it answered.
        Failed => "failed",
    }
}

labels! {
    /// Who answered a read for which storage was asked beside the CDN.
    HedgeWinner {
        /// The CDN; storage was asked for nothing.
        Cdn => "cdn",
        /// Storage.
        Storage => "storage",
    }
}

labels! {
    /// Why the body of the CDN was continued from storage.
    HealReason {
        /// The connection broke.
        Reset => "reset",
        /// It ended cleanly, short of the promised length.
        Short => "short",
        /// No byte for the stall timeout while the client was ready.
        Stall => "stall",
        /// Too few bytes for too long while the client was ready.
        Slow => "slow",
    }
}

labels! {
    /// What the memory cache had for a read.
    MemoryLookup {
        /// The object, fresh.
        Hit => "hit",
        /// The object, stale.
        Stale => "stale",
        /// The refusal of a moment ago.
        Refused => "refused",
        /// Nothing, or something stale: this read had it fetched.
        Miss => "miss",
        /// The same, and another read was having it fetched.
        Joined => "joined",
        /// Nothing, and it is not to be fetched for this read.
        Passed => "passed",
    }
}

labels! {
    /// What became of a fetch for the memory cache.
    MemoryFill {
        /// The object is in memory.
        Kept => "kept",
        /// It is too large, of unknown length, or not to be kept.
        Unfit => "unfit",
        /// Other fetches have all the room there is.
        NoRoom => "no_room",
        /// There is no object, or nobody answered.
        Refused => "refused",
        /// The body broke off, and could not be healed.
        Broken => "broken",
    }
}

labels! {
    /// What a source said of an object that was stale in memory.
    MemoryRevalidation {
        /// It still holds.
        Unchanged => "unchanged",
        /// There is another one.
        Changed => "changed",
        /// There is none any more.
        Missing => "missing",
        /// Nothing: nobody answered.
        Failed => "failed",
    }
}

labels! {
    /// Why a body was broken off visibly instead of being continued.
    AbortCause {
        /// The object behind the key is another one by now.
        Changed => "changed",
        /// Without a strong validator nothing proves that the rest belongs to the beginning.
        NoValidator => "no_validator",
        /// The source sent more than it promised.
        Overrun => "overrun",
        /// Storage failed as well.
        StorageFailed => "storage_failed",
        /// The body was continued as often as is allowed.
        Limit => "limit",
    }
}

impl FallbackResult {
    /// What became of a read that was refused with this error.
    #[must_use]
    pub const fn of_refusal(error: &Error) -> Self {
        match error {
            Error::NotFound => Self::Missing,
            _ => Self::Failed,
        }
    }
}
