#![forbid(unsafe_code)]
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod actions;
mod alarm;
pub mod apps;
pub mod background;
pub mod cdn;
mod chunked;
pub mod command;
pub mod config;
pub mod dev;
pub mod doctor;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod identity;
pub mod limits;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod records;
pub mod server;
pub mod settings;
pub mod storage;
pub mod traces;
pub mod upstream;
pub mod zero_copy;
