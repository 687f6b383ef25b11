//! The integration tests: the gateway and its parts against real servers, which `tests/peers` sets
//! up. A server that is missing fails the tests; none is skipped.

mod conformance;
mod gcs;
mod harness;
mod main_job;
mod s3;
mod tidy;
