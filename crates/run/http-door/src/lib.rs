//! The HTTP door: accept, admit, route, pick, forward, record.
//!
//! [`worker::run`] is a worker; the binary starts one per core and tells all of them what is
//! [`live::Live`], and what is tried beside it. `serve` holds the walk of a request, `trial` the
//! choice of the configuration that serves it. [`check`] asks the servers how they are and
//! [`names`] resolves theirs again; both run beside the workers, not in them.

mod accept;
mod addresses;
mod admit;
mod answer;
mod attempt;
mod authenticate;
pub mod challenges;
pub mod check;
mod coder;
mod compression;
mod connection;
mod date;
mod exchange;
mod grpc;
mod half;
mod heads;
mod http2;
mod identify;
mod idle;
mod leases;
pub mod live;
pub mod names;
mod notes;
mod pump;
mod quota;
mod record;
mod relay;
mod route;
pub mod secured;
mod serve;
mod session;
mod standing;
mod tcp;
mod token;
mod treated;
mod trial;
mod tunnel;
mod upstream;
mod view;
mod waiting;
mod work;
pub mod worker;

#[cfg(fuzzing)]
pub use http2::fuzzing as http2_mapping;
