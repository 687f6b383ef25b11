//! What a gateway does without being asked. It calls the same actions as the requests of clients.

pub mod events;
pub mod sweeper;
