#![forbid(unsafe_code)]
//! Safelight.
pub mod actions;
pub mod apps;
pub mod cdn;
pub mod domain;
pub mod http;
pub mod identity;
pub mod limits;
pub mod metrics;
pub mod records;
pub mod server;
pub mod storage;
pub mod upstream;
