#![forbid(unsafe_code)]
//! Safelight.
pub mod dev;
pub mod domain;
pub mod storage;
