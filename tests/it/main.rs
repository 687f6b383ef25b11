//! The integration tests: the gateway and its parts against real servers, which `tests/peers` sets
//! up. A server that is missing fails the tests; none is skipped.

mod cdn_faults;
mod conformance;
mod docs;
mod harness;
mod healing;
mod main_job;
mod process_credentials;
mod reads;
mod s3;
mod signing;
mod tidy;
