//! HTTP/2 for the load: connections that carry many requests at once, and gRPC on top.
//!
//! The `h2` crate keeps the protocol; nothing here waits, and no runtime is needed: the engine
//! polls a connection right after it gave it a request or bytes that came, and wakers only note
//! which exchange has something new. So a request is on its way when the call that sent it returns.
//!
//! - `wire`: the bytes between a socket and the protocol.
//! - `connection`: a socket, perhaps TLS, and the protocol.
//! - `exchange`: one request and its answer.
//! - `grpc`: messages and statuses of gRPC.
//! - `request`: what is asked, as HTTP/2 writes it.
//! - `rooms`: which connection takes the next one.

mod connection;
mod exchange;
mod grpc;
mod reason;
mod request;
mod rooms;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::deadlines::Deadlines;
use super::slots::Slots;

pub(super) use connection::{Connection, Received};
pub(super) use exchange::{Exchange, Seen};
pub(super) use grpc::status_name;
pub(super) use reason::reason_name;
pub(super) use request::{Asked, Request};
pub(super) use rooms::Rooms;

/// Set in the poller's tokens of these connections, so that they are told from those of HTTP/1. A
/// slot never comes near it.
pub(super) const TOKEN: u64 = 1 << 31;

/// Everything of HTTP/2 that one thread has.
#[derive(Debug)]
pub(super) struct Http2 {
    pub(super) connections: Slots<Connection>,
    pub(super) exchanges: Slots<Exchange>,
    /// By exchange.
    pub(super) deadlines: Deadlines,
    ready: Arc<Ready>,
    /// By exchange: made once, used by everyone who has the number.
    wakers: Vec<Waker>,
}

impl Http2 {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            connections: Slots::default(),
            exchanges: Slots::default(),
            deadlines: Deadlines::new(streams),
            ready: Arc::default(),
            wakers: Vec::new(),
        }
    }

    /// The waker of the exchange of this number.
    pub(super) fn waker(&mut self, number: usize) -> Waker {
        while self.wakers.len() <= number {
            let ready = Arc::clone(&self.ready);
            let note = Arc::new(Note { number: self.wakers.len(), ready });
            self.wakers.push(Waker::from(note));
        }
        self.wakers.get(number).cloned().unwrap_or_else(|| Waker::noop().clone())
    }

    /// An exchange that may have something new; each is told once for each time it was woken.
    pub(super) fn next_ready(&self) -> Option<usize> {
        self.ready.numbers.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// The exchanges that were woken: at most one entry for each that waits.
#[derive(Debug, Default)]
struct Ready {
    numbers: Mutex<Vec<usize>>,
}

#[derive(Debug)]
struct Note {
    number: usize,
    ready: Arc<Ready>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}
