//! Apps: a tenant's file becomes an [`App`] that is usable by construction.

mod app;

pub use app::{App, Apps};
