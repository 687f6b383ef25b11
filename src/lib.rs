#![forbid(unsafe_code)]
//! Safelight.
pub mod apps;
pub mod config;
pub mod domain;
pub mod settings;
pub mod upstream {
    //! A stub for this branch: the guard alone.
    pub mod guard;
}
