//! The door's hands: sockets, TLS, timers, buffers, name resolution, the clock.
//!
//! Everything that asks the operating system for something is here, so that the floors above
//! stay testable. Nothing in this room decides anything.

pub mod buffer;
pub mod clock;
pub mod handover;
pub mod listen;
pub mod notify;
pub mod pipe;
pub mod resolve;
pub mod socket;
pub mod timer;
pub mod tls;
