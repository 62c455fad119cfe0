//! The HTTP door: accept, admit, route, pick, forward, record.
//!
//! [`worker::run`] is a worker; the binary starts one per core and tells all of them what is
//! [`live::Live`], and what is tried beside it. `serve` holds the walk of a request, `trial` the
//! choice of the configuration that serves it. [`check`] asks the servers how they are and
//! [`names`] resolves theirs again; both run beside the workers, not in them.

mod accept;
mod addresses;
mod answer;
mod attempt;
pub mod check;
mod connection;
mod exchange;
mod heads;
pub mod live;
pub mod names;
mod pump;
mod record;
mod relay;
mod route;
mod serve;
mod trial;
mod tunnel;
mod upstream;
pub mod worker;
