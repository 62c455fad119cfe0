//! The words of the house: ids, units, checked configuration, facts and reasons.
//!
//! Every floor above speaks in these types, so that two rooms that must not import each
//! other still mean the same thing. Plain data: no runtime, no clock, no I/O.

pub mod arm;
pub mod capacity;
pub mod configuration;
pub mod drill;
pub mod fact;
pub mod forecast;
pub mod generation;
pub mod load;
pub mod reason;
pub mod recording;
pub mod sample;
pub mod switch;
pub mod time;

pub use configuration::Configuration;
pub use reason::{Fault, Reason};
pub use time::Timestamp;

/// A name given in the configuration (`web` in `[pools.web]`), shared cheaply.
pub type Name = std::sync::Arc<str>;
