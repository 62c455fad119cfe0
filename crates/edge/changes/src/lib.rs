//! What a change does: the difference between two configurations in words, a forecast of what
//! each server would get, and which invariants would break.
//!
//! Pure. Shares come from trial runs of the pools' real code, see [`balancing::trial`].
//! Invariant: everything told is bounded, and no text of a configuration reaches a terminal
//! with control characters.

mod broken;
mod difference;
mod forecast;
mod words;

#[cfg(test)]
mod tests;

pub use broken::broken;
pub use difference::difference;
pub use forecast::forecast;
