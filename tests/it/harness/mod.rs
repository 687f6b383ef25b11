//! What the integration tests stand on: real servers, and a client that knows nothing of the
//! gateway.

pub mod callers;
pub mod certificates;
pub mod collector;
pub mod dead_ends;
pub mod dev_cdn;
pub mod embedded;
pub mod fake_gcs;
pub mod frames;
pub mod front;
pub mod gateway;
pub mod google;
pub mod http2_client;
pub mod in_memory;
pub mod lax_s3;
pub mod memory_records;
pub mod memory_store;
pub mod moto;
pub mod peers;
pub mod photos;
pub mod plain_client;
pub mod program;
pub mod prometheus;
pub mod published;
pub mod python;
pub mod raw;
pub mod relay;
pub mod rotel;
pub mod seaweed;
pub mod signed;
pub mod slow_cdn;
pub mod tools;
pub mod wire_cdn;
