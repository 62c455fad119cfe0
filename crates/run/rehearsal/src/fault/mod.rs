//! Faults as leases: what is broken on purpose is undone in the end, also when nobody is left to ask.
//!
//! The [`watchdog`] is a process of its own that undoes what outlives the drill: processes,
//! folders, settings. The [`proxy`] lives and ends with the drill's own process, and its faults with it.

mod lease;
pub mod proxy;
pub mod watchdog;
