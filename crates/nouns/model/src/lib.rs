//! The words of the house: ids, units, checked configuration, facts and reasons.
//!
//! Every floor above speaks in these types, so that two rooms that must not import each
//! other still mean the same thing. Plain data: no runtime, no clock, no I/O.

pub mod configuration;
pub mod fact;
pub mod reason;
pub mod time;

pub use configuration::Configuration;
pub use reason::{Fault, Reason};
pub use time::Timestamp;

/// A name given in the configuration (`web` in `[pools.web]`), shared cheaply.
pub type Name = std::sync::Arc<str>;
