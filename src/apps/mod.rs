//! The tenants: one file in `apps.d/` each, its name the app's name.
//!
//! A file becomes an [`AppConfig`]: plain data that is right by construction. What a tenant's file
//! may reach is bounded here: its own secrets (`secrets`), upstreams that the operator allows
//! ([`crate::upstream::guard`]), and a part of a bucket that no other app has ([`load_apps`]).

mod config;
mod file;
mod load;
mod not_built;
mod secrets;
mod storage_file;

pub use config::{
    AppConfig, CdnConfig, Cors, RateLimits, ReadPolicy, S3Access, StorageConfig, StorageKind,
    UploadPolicy,
};
pub use load::{LoadContext, load_apps, read_app};

#[cfg(test)]
mod tests;
