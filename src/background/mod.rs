//! What goes on without a client asking for it. It calls the same actions as clients do.

pub mod events;
