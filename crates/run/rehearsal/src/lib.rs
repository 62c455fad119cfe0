//! What an outage is rehearsed with: load, faults, a sample application, and drills that put
//! them on a timeline.
//!
//! Nothing here is on the path of real traffic.

pub mod drill;
pub mod fault;
pub mod load;
pub mod page;
pub mod sample;
pub mod stage;

#[cfg(test)]
mod tests;
