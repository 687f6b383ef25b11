//! The vocabulary of the gateway: names, keys, media types, the upload record and its state
//! machine, conditional requests, and the errors that the rules of this program can produce.
//! Nothing here knows HTTP, a socket, a file or a clock: time and randomness come in as arguments.

mod app_name;
mod base32;
mod caching;
mod caller;
mod client_network;
mod conditions;
mod earned_budget;
mod error;
mod etag;
mod events;
mod file_name;
mod grant;
mod hedge_after;
mod idempotency;
mod identity;
mod key;
mod mac_key;
mod media_type;
mod object;
mod owner;
mod parts;
mod path;
mod range;
mod rate;
mod reads;
mod reload;
mod secret;
mod storage_calls;
mod sweep;
mod trusted_proxies;
mod upload;

pub use app_name::{AppName, InvalidAppName};
pub use caching::{Caching, own_cache_life};
pub use caller::{Caller, Scope};
pub use client_network::ClientNetwork;
pub use conditions::{Conditions, EtagList, IfRange, Precondition, Validators};
pub use earned_budget::EarnedBudget;
pub use error::{Error, RateLimitVerdict, VerificationFailure};
pub use etag::ETag;
pub use events::{EventOutcome, EventSource};
pub use file_name::{CleanName, FileName, InvalidFileName};
pub use grant::{Grant, Grants};
pub use hedge_after::{HedgeAfter, Percentile};
pub use idempotency::{IdempotencyClaim, IdempotencyKey};
pub use identity::{IdentityMethod, IdentityOutcome};
pub use key::{InvalidKey, MINT_ENTROPY_BYTES, MintSecrets, MintedKey, ObjectKey, UploadId};
pub use mac_key::{MacKey, hex};
pub use media_type::MediaType;
pub use object::{ObjectMeta, Representation, Shape};
pub use owner::{InvalidOwnerId, OwnerId};
pub use parts::{CannotCut, MAX_FILE_BYTES, PartPlan};
pub use path::{KeyPrefix, StoragePath};
pub use range::{ByteRange, ContentRange, RangeRequest};
pub use rate::{InvalidRate, Rate};
pub use reads::{
    AbortCause, FallbackReason, FallbackResult, HealReason, HedgeWinner, MemoryFill, MemoryLookup,
    MemoryRevalidation, Source,
};
pub use reload::{FileState, ReloadOutcome};
pub use secret::Secret;
pub use storage_calls::{StorageOperation, StorageOutcome};
pub use sweep::{Discrepancy, LookOutcome};
pub use trusted_proxies::{TrustedProxies, Unbelieved};
pub use upload::{
    Declared, InvalidTransition, Multipart, MultipartId, Stored, UploadRecord, UploadState,
    UploadToken,
};
