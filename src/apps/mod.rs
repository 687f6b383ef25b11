//! The tenants: one file in `apps.d/` each, its name the app's name.
//!
//! A file becomes an [`AppConfig`]: plain data that is right by construction; and an `AppConfig`
//! becomes an [`App`], which has its storage, its CDN and its limits in hand. What a tenant's file
//! may reach is bounded here: its own secrets (`secrets.rs`), upstreams that the operator allows
//! ([`crate::upstream::AddressPolicy`]), and a part of a bucket that no other app has
//! ([`load_apps`]). While the gateway runs, the files may change: [`Reloader`] puts the new apps where
//! everybody finds them, in [`LiveApps`].

mod app;
mod config;
mod continued;
mod cors_file;
mod file;
mod files;
mod guarded_cdn;
mod identity_file;
mod live;
mod load;
mod not_built;
mod observed_store;
mod overlap;
mod read_proof;
mod reload;
mod secrets;
mod storage_file;

pub use app::{App, Apps, Workshop};
pub use config::{
    AppConfig, CdnConfig, Cors, ReadMode, ReadPolicy, StorageConfig, UploadPolicy, Visibility,
};
pub use continued::Before;
pub use cors_file::parse_origin;
pub use files::{AppFiles, Environment, fingerprint};
pub use guarded_cdn::GuardedCdn;
pub use live::{LiveApps, Standing};
pub use load::{LoadContext, asked_of_app, load_apps, read_app};
pub use read_proof::{ReadProof, Reads};
pub use reload::{LOOK_EVERY, Look, Occasion, Reading, Reloader, Watch};

#[cfg(test)]
mod tests;
