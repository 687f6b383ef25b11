#![forbid(unsafe_code)]
//! Safelight.
pub mod domain;
pub mod upstream;
