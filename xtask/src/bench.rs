//! Benches: the promised numbers, measured beside the peers on this machine.
//!
//! Every bench prints a table with medians and spreads, and ends with exit code 3 where a bar
//! is missed. The measuring parts that need their own core are processes of their own, built
//! with the profile `dist` like the door they measure.

mod backend;
mod bars;
mod configurations;
mod delayed;
mod doors;
mod epoll;
mod forwarder;
mod grpc_backend;
mod h2load;
mod http;
mod idle;
mod load;
mod overload;
mod pacer;
mod plan;
mod processes;
mod refusal;
mod report;
mod summary;
mod wrk;

use crate::Outcome;

/// The benches there are.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// CPU per request and memory per connection, interleaved with nginx, HAProxy and a raw forwarder.
    Http(http::Options),
    /// How exact the load generator is, and what it costs beside wrk and oha.
    Load(load::Options),
    /// Goodput against offered load, beside peers without limits and with limits set by hand.
    Overload(overload::Options),
    /// What it costs to refuse a request, and to be asked whether one is let in.
    Refusal(refusal::Options),
    /// What `tidegate plan` foresees of ten kinds of change, beside what then happened.
    Plan(plan::Options),
}

/// The parts of a bench that run as processes of their own.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Part {
    /// Become another program on one core, which ends when this bench ends.
    Confine(processes::ConfineOptions),
    /// Answer requests with fixed bodies.
    Backend(backend::Options),
    /// Answer gRPC calls with a fixed message.
    GrpcBackend(grpc_backend::Options),
    /// Answer each request after a known time.
    Delayed(delayed::Options),
    /// Measure the admission of requests that are let in.
    Admit(refusal::admit::Options),
    /// Forward bytes, nothing more.
    Forward(forwarder::Options),
    /// Send requests at a fixed rate, whatever comes back.
    Pace(pacer::Options),
}

/// Runs a bench.
pub(crate) fn run(command: &Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Http(options) => http::run(options),
        Command::Load(options) => load::run(options),
        Command::Overload(options) => overload::run(options),
        Command::Refusal(options) => refusal::run(options),
        Command::Plan(options) => plan::run(options),
    }
}

/// Runs a part of one.
pub(crate) fn run_part(part: &Part) -> anyhow::Result<Outcome> {
    match part {
        Part::Confine(options) => processes::confine(options).map(|()| Outcome::Clean),
        Part::Backend(options) => backend::run(options).map(|()| Outcome::Clean),
        Part::GrpcBackend(options) => grpc_backend::part(options).map(|()| Outcome::Clean),
        Part::Delayed(options) => delayed::run(options).map(|()| Outcome::Clean),
        Part::Admit(options) => refusal::part(options).map(|()| Outcome::Clean),
        Part::Forward(options) => forwarder::run(options).map(|()| Outcome::Clean),
        Part::Pace(options) => pacer::run(options).map(|()| Outcome::Clean),
    }
}
