#![forbid(unsafe_code)]
//! Safelight.
pub mod domain;
pub mod identity;
pub mod limits;
pub mod records;
