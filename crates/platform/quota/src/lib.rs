//! The connection to the Redis or Valkey server that holds the quotas of several doors.
//!
//! One task, one connection, one script: [`work`] takes questions from a bounded queue, as many as
//! there are and fit into one call, and hands the answers to the consumer ([`Shares`]). Nothing
//! waits for it.
//! Invariants: a call that fails, or takes longer than the configured time, ends the connection,
//! and the consumer knows at once that it is alone; a server that was restarted, wiped, or has
//! forgotten the script is as good as a new one; everything is bounded.

mod bank;
mod doors;
mod work;

pub use bank::{Grant, QuotaError, Want};
pub use work::{Shares, work};
