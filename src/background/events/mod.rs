//! Events of storage: an object arrived, and its upload moves on without the client's finalize.
//!
//! An event is a hint and is never believed. It names a bucket and a key (`notice.rs`); if the two
//! lead to an upload of ours (`locate.rs`), storage itself is asked, by the same action that a
//! client's finalize leads to (`handle.rs`). So a lost, doubled, late, reordered or invented event
//! does no harm. Events come from a queue that the gateway asks (`sqs.rs`), or are pushed to it
//! (`push.rs`).

mod handle;
mod locate;
mod notice;
mod push;
mod sqs;

pub use handle::{Disposition, Handler};
pub use locate::locate;
pub use notice::{Kind, MAX_DOCUMENT_BYTES, Malformed, ObjectNotice, parse};
pub use push::{Push, PushRefusal, Sender};
pub use sqs::SqsConsumer;
