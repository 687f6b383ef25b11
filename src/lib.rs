#![forbid(unsafe_code)]
//! Safelight.
pub mod domain;
pub mod storage;
pub mod upstream;
