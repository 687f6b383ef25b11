//! The tenants: one file in `apps.d/` each, its name the app's name.
//!
//! A file becomes an [`AppConfig`]: plain data that is right by construction; and an `AppConfig`
//! becomes an [`App`], which has its storage, its CDN and its limits in hand. What a tenant's file
//! may reach is bounded here: its own secrets (`secrets.rs`), upstreams that the operator allows
//! ([`crate::upstream::AddressPolicy`]), and a part of a bucket that no other app has
//! ([`load_apps`]).

mod app;
mod config;
mod file;
mod guarded_cdn;
mod identity_file;
mod load;
mod not_built;
mod observed_store;
mod read_proof;
mod secrets;
mod storage_file;

pub use app::{App, Apps, Workshop};
pub use config::{
    AppConfig, CdnConfig, Cors, RateLimits, ReadMode, ReadPolicy, StorageConfig, UploadPolicy,
    Visibility,
};
pub use file::parse_origin;
pub use guarded_cdn::GuardedCdn;
pub use load::{LoadContext, load_apps, read_app};
pub use read_proof::{ReadProof, Reads};

#[cfg(test)]
mod tests;
