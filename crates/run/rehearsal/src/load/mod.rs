//! The load generator: sends what a [`LoadPlan`] says, when it says so, and counts what its
//! clients see.
//!
//! Open loop: a request is due whatever came back before, and its latency counts from when it was
//! due, so that a stall shows in full. The generator measures itself as well, and confesses when
//! it was the bottleneck: see [`Confession`].
//!
//! Each thread runs its own loop over its own share of every stream; threads share nothing but
//! what they hand over once a second. Invariant: no request goes out before it is due.

mod answer;
mod arrivals;
mod connection;
mod deadlines;
mod dial;
mod engine;
mod http2;
mod inbox;
mod latencies;
mod ledger;
mod poller;
mod requests;
mod schedule;
mod second;
mod sessions;
mod slots;
mod timers;
mod tls;

pub mod capacity;
pub mod html;
pub mod junit;
pub mod replay;
pub mod report;
pub mod threshold;
pub mod usl;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use model::Name;
use model::load::LoadPlan;
use serde::Serialize;

use engine::Engine;
use ledger::Shared;

pub use latencies::Latencies;
pub use second::{Second, StreamSecond};

/// From `start` to the begin of the load, so that every thread is there.
const LEAD: Duration = Duration::from_millis(20);
/// Threads of one load.
pub const THREADS_MAX: usize = 64;

/// Whom the load is for.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// The field `Host`.
    pub host: String,
    /// `None`: in the clear.
    pub tls: Option<TlsTarget>,
}

/// How the target is spoken to over TLS.
#[derive(Clone, Debug)]
pub struct TlsTarget {
    /// The name its certificate must have.
    pub server_name: String,
    /// PEM file of trusted roots; the system's by default. Must be `None` without `verify`.
    pub roots: Option<PathBuf>,
    /// False accepts any certificate.
    pub verify: bool,
}

/// How the load is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// 1 to [`THREADS_MAX`]; one carries some 25,000 requests a second.
    pub threads: usize,
    /// What every random choice follows from.
    pub seed: u64,
    /// The field of an answer that names the server, in lower case.
    pub server_header: Name,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 1, seed: 0, server_header: Name::from("x-server") }
    }
}

/// Why a load cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target's TLS settings are unusable.
    #[error("TLS towards the target cannot be set up")]
    Tls {
        /// Why.
        #[from]
        source: net::tls::TlsError,
    },
    /// Users and sessions need more open files than the system allows.
    #[error(
        "the load holds {needed} connections open, but this process may only have {limit} open \
         files; raise the hard limit (`ulimit -Hn`) or lower users and sessions"
    )]
    OpenFiles {
        /// Connections of users and sessions, and some for everything else.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The system lacks something.
    #[error("the system does not let the load generator {what}")]
    System {
        /// What it was to do.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A load that runs in threads of its own. Dropped: stopped, but not waited for.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Duration>>,
}

/// What a whole load came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// One by one; of a load longer than three hours only the last three.
    pub seconds: Vec<Second>,
    /// Each stream in all, as in the plan.
    pub total: Vec<StreamSecond>,
    /// From the begin to when the last request ended.
    pub wall: Duration,
    /// CPU time of the generator's threads.
    pub cpu: Duration,
    /// Whether the generator itself was the bottleneck.
    pub generator: Confession,
}

/// What the generator has to say about itself.
///
/// A request is late when the generator began to send it more than 1 ms after it was due, and more
/// than a tenth of the mean distance between two requests of its stream; time in which its session
/// or user was still busy does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Confession {
    /// Requests that were late, of those sent, 0 to 1.
    pub late_share: f64,
    /// Requests that were dropped, of those due, 0 to 1.
    pub dropped_share: f64,
    /// True when either is above 1 %: the numbers then describe the generator, not the target.
    pub generator_bound: bool,
}

impl Confession {
    /// From the counts of some streams, over any time.
    #[must_use]
    pub fn of<'a>(streams: impl IntoIterator<Item = &'a StreamSecond>) -> Self {
        let (mut sent, mut late, mut due, mut dropped) = (0, 0, 0, 0);
        for stream in streams {
            sent += stream.sent;
            late += stream.late;
            due += stream.due;
            dropped += stream.dropped;
        }
        let (late_share, dropped_share) = (share(late, sent), share(dropped, due));
        Self { late_share, dropped_share, generator_bound: late_share.max(dropped_share) > 0.01 }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Starts a load; it begins a moment later, in threads of its own.
///
/// # Errors
/// When TLS cannot be set up, users and sessions need more open files than there may be, or the
/// system refuses a thread or an epoll.
pub fn start(plan: LoadPlan, target: Target, options: &Options) -> Result<Running, LoadError> {
    dial::allow_open_files(&plan)?;
    let threads = options.threads.clamp(1, THREADS_MAX);
    let tls = target.tls.as_ref().map(tls::Settings::new).transpose()?;
    let begin = net::clock::now() + LEAD;
    let shared = Arc::new(Shared::new(plan, threads, begin)?);
    let target = Arc::new(engine::Job { target, tls, options: options.clone() });
    let mut engines = Vec::with_capacity(threads);
    for thread in 0..threads {
        engines.push(Engine::new(Arc::clone(&shared), Arc::clone(&target), thread)?);
    }
    let mut running = Running { shared, threads: Vec::new() };
    for (number, engine) in engines.into_iter().enumerate() {
        let thread = std::thread::Builder::new()
            .name(format!("load-{number}"))
            .spawn(move || engine.run())
            .map_err(|source| LoadError::System { what: "start a thread", source })?;
        running.threads.push(thread);
    }
    Ok(running)
}

impl Running {
    /// The seconds that ended since the last call, in order; each once.
    #[must_use]
    pub fn take(&self) -> Vec<Second> {
        self.shared.take()
    }

    /// Closes every connection of the stream at once, with a reset. Requests under way on them
    /// fail as `cut`. Does nothing for a name that is not in the plan.
    pub fn cut_connections(&self, stream: &str) {
        self.shared.cut(stream);
    }

    /// From now on nothing new becomes due; what is under way may end.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// True once everything ended; [`Running::finish`] then returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until the plan is over and what is under way ended, at most one timeout later. Blocks:
    /// call it where that is allowed.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let mut cpu = Duration::ZERO;
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(used) => cpu += used,
                // Its counts are missing: whoever waits must not take the rest for all.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        self.shared.outcome(cpu)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

#[cfg(test)]
mod tests;
