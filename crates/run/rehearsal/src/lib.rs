//! What an outage is rehearsed with: a sample application that can be made slow, failing or
//! ill while it runs, and a gentle load that counts what its clients see.
//!
//! Nothing here is on the path of real traffic.

pub mod gentle;
pub mod sample;

#[cfg(test)]
mod tests;
