#![forbid(unsafe_code)]
//! Safelight.
pub mod actions;
pub mod apps;
pub mod cdn;
pub mod domain;
pub mod metrics;
pub mod storage;
pub mod upstream;
