//! The integration tests: the gateway and its parts against real servers, which `tests/peers` sets
//! up. A server that is missing fails the tests; none is skipped.

mod browsers;
mod cdn_faults;
mod commands;
mod conformance;
mod convergence;
mod counting;
mod crashes;
mod dashboards;
mod deleted;
mod denied;
mod docs;
mod doctor;
mod durability;
mod events;
mod gcs;
mod google_credentials;
mod guarding;
mod harness;
mod healing;
mod hostile;
mod identity;
mod main_job;
mod memory;
mod memory_store;
mod operations;
mod process_credentials;
mod reads;
mod ready;
mod redirects;
mod s3;
mod signed_cdn;
mod signing;
mod sweeping;
mod tidy;
mod uploads;
