//! The use cases, one file each. They know apps, storage and records, and nothing of HTTP: no
//! request, no status, no header.

pub mod read;
