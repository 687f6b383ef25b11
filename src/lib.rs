#![forbid(unsafe_code)]
//! Safelight.
pub mod cdn;
pub mod domain;
pub mod metrics;
pub mod upstream;
