//! One pick: what is asked, what is answered, and the guard that counts it.
//!
//! Invariant: from the moment a [`Pick`] exists until it is dropped, its server's in-flight
//! count includes it exactly once, however the request ends.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::fact::ServerState;

use crate::ejection::Ticket;
use crate::pool::Inner;

/// What a pick is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickRequest<'a> {
    /// The hash of the key, for consistent hashing; without it that pool falls back to p2c.
    pub hash: Option<u64>,
    /// Indexes already tried for this request, avoided while any other healthy one has room.
    pub tried: &'a [usize],
}

/// Permission to send one request to one server; counts in flight until it is dropped.
///
/// Dropped without [`Pick::finish`] it is neutral: only the place in flight is given back.
#[must_use = "report the outcome with `Pick::finish`"]
#[derive(Debug)]
pub struct Pick {
    pub(crate) pool: Arc<Inner>,
    pub(crate) index: usize,
    pub(crate) ticket: Ticket,
    pub(crate) probe: bool,
    /// Whether it counts in the pool's sum, which only consistent hashing needs.
    pub(crate) summed: bool,
    pub(crate) detached: bool,
}

impl Pick {
    /// The server's place in the [`crate::Pool`] that picked it.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Where the server is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.pool.servers[self.index].address()
    }

    /// True when this request decides whether an ejected server returns.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe
    }

    /// The server does no work: it has answered, and what remains is a stream, a tunnel or a slow
    /// reader; or it still waits for the request. Until [`Pick::attach`] it counts in the server's load and towards the configured limit, but no longer towards
    /// what [`crate::Pool::limit_server`] said: that is measured of work.
    pub fn detach(&mut self) {
        if !std::mem::replace(&mut self.detached, true) {
            self.pool.servers[self.index].learned.detach();
        }
    }

    /// The server gets to work after all: undoes [`Pick::detach`].
    pub fn attach(&mut self) {
        if std::mem::replace(&mut self.detached, false) {
            self.pool.servers[self.index].learned.end_detached();
        }
    }

    /// Reports how the request ended; what changed, if the server's state did.
    pub fn finish(self, outcome: Outcome, now: Timestamp) -> Option<StateChange> {
        self.report(outcome, now)
    }

    /// As [`Pick::finish`], but what was picked goes on and stays counted in flight: a connection
    /// whose server has shown that it is there. To be called once.
    pub fn report(&self, outcome: Outcome, now: Timestamp) -> Option<StateChange> {
        match outcome {
            Outcome::Success { latency } => {
                self.pool.succeeded(self.index, self.ticket, latency, now)
            }
            Outcome::Failure { latency, cause } => {
                self.pool.failed(self.index, self.ticket, Failure { latency, cause }, now)
            }
            Outcome::Neutral => None,
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if self.detached {
            self.pool.servers[self.index].learned.end_detached();
        }
        self.pool.servers[self.index].learned.leave();
        if self.summed {
            self.pool.shared.leave_sum();
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered.
    Success {
        /// From sending the request to the first byte of the response.
        latency: Duration,
    },
    /// The server failed.
    Failure {
        /// From sending the request to the failure.
        latency: Duration,
        /// In which way.
        cause: FailureCause,
    },
    /// The server is not to blame, nor to praise: the client left, or the door gave up.
    Neutral,
}

/// In which way a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// It did not accept the connection.
    Connect,
    /// TLS to it failed.
    Tls,
    /// It closed or reset the connection before its response was complete.
    Reset,
    /// It did not answer in time.
    Timeout,
    /// Its response was malformed.
    BadResponse,
    /// It answered with this status: 5xx, or 429, which slows it down but does not eject it.
    Status(u16),
}

impl FailureCause {
    /// Whether it counts towards ejection: a server that says 4xx works.
    pub(crate) const fn ejects(self) -> bool {
        match self {
            Self::Connect | Self::Tls | Self::Reset | Self::Timeout | Self::BadResponse => true,
            Self::Status(status) => status >= 500,
        }
    }

    /// A number for an atomic; statuses are themselves.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Connect => 1,
            Self::Tls => 2,
            Self::Reset => 3,
            Self::Timeout => 4,
            Self::BadResponse => 5,
            Self::Status(status) => status,
        }
    }

    /// The words for [`FailureCause::code`].
    pub(crate) fn words(code: u16) -> Cow<'static, str> {
        match code {
            0 => "unknown".into(),
            1 => "no connection".into(),
            2 => "TLS failed".into(),
            3 => "connection closed early".into(),
            4 => "no answer in time".into(),
            5 => "malformed response".into(),
            status => format!("status {status}").into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) latency: Duration,
    pub(crate) cause: FailureCause,
}

/// A server's state changed; for logs and the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Its place in the pool.
    pub index: usize,
    /// Where it is.
    pub address: SocketAddr,
    /// What it was.
    pub from: ServerState,
    /// What it is.
    pub to: ServerState,
    /// Why, in words.
    pub why: Cow<'static, str>,
}

/// Why no server may take a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    /// The pool is empty: its names resolved to nothing.
    #[error("the pool has no servers")]
    Empty,
    /// By configuration no server takes requests.
    #[error("every server is draining or has weight 0")]
    Draining,
    /// No server's first health check has ended.
    #[error("no server has passed its first health check yet")]
    Unchecked,
    /// Those that may take requests hold as many as they may.
    #[error("every server that may take requests is at its in-flight limit")]
    Full,
}
