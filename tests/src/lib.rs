//! Black-box tests of the real binary over real sockets, beside real peers.
//!
//! [`Door`] runs the binary, [`Backend`] is a server whose every byte is scripted and recorded,
//! [`Client`] sends what it is told and reads strictly. Nothing here sleeps: whoever waits,
//! waits on a condition, and gives up loudly after [`PATIENCE`].
//!
//! Invariant: every port is chosen by the system and every file is in a folder of its own, so
//! that all tests run side by side.

pub mod acme;
mod admin;
mod backend;
pub mod beside_nginx;
pub mod calls;
pub mod certificates;
mod client;
pub mod compared;
mod door;
mod echoes;
pub mod fort;
pub mod frames;
pub mod haproxy;
pub mod load;
mod message;
mod ports;
mod redis;
mod sample;
mod setup;
pub mod streams;
pub mod tcp;
mod wait;

use std::time::Duration;

pub use admin::{AdminAnswer, ask as ask_admin, ask_within as ask_admin_within};
pub use backend::{Backend, Peer};
pub use client::{Broken, Client, Wire};
pub use door::{Door, Finished, binary, tidegate};
pub use echoes::Echoes;
pub use message::{Fields, Request, Response, chunked, ok, response};
pub use ports::free_port;
pub use redis::{Redis, Valve};
pub use sample::Sample;
pub use setup::Setup;
pub use tcp::TcpServer;
pub use wait::{Gate, eventually, eventually_some};

/// How long anything may take before a test gives up. It bounds hanging and says nothing of the
/// door: far above what is ever needed, also where ten others want the same processor.
pub const PATIENCE: Duration = Duration::from_secs(30);
