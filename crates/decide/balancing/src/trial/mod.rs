//! Trial runs of a pool: its real code under virtual time, so that what a configuration does is
//! seen before it goes live.
//!
//! [`shares`] sends a synthetic, steady load, [`replay`] recorded requests. A server takes what
//! is sent to it and answers after a service time; picks, outcomes, checks and rebuilds are the
//! pool's own. Pure: the same seed gives the same answer.
//! Invariant: the work of a call is bounded, whatever is configured or was recorded.

mod load;
mod members;
mod replay;
mod run;

#[cfg(test)]
mod tests;

pub use load::{Scenario, requests_of, shares};
pub use replay::{REQUESTS_MAX, ReplayRequest, ReplayServer, Replayed, Seen, replay};
