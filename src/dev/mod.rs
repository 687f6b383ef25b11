//! What `safelight dev` embeds, so that the gateway can be tried and tested without an account
//! anywhere: an object store that speaks S3 and verifies signatures, and a CDN in front of it that
//! fails in the way it is told to.
//!
//! Both listen on loopback addresses only; neither is built for strangers.

pub mod cdn;
pub mod folder;
mod listen;
pub mod store;
pub mod walkthrough;

pub use cdn::DevCdn;
pub use store::{DevStore, DevStoreOptions};
