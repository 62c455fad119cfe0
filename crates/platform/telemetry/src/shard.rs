//! What one worker records: its connections, its routes, its servers.
//!
//! A shard belongs to one worker, which alone writes it; any thread reads. Shards are aligned so
//! that two workers never write to the same cache line. Invariant: recording is a handful of
//! plain loads and stores; it does not allocate, lock, wait or call the system.

use std::time::Duration;

use model::configuration::Coding;
use model::{Fault, Reason};

use crate::cell::{Counter, Counters};
use crate::histogram::Histogram;
use crate::totals::{RouteTotals, ServerTotals, WorkerTotals};

/// How many reasons there are.
pub(crate) const REASONS: usize = Reason::ALL.len();
/// Status codes 100 to 599, and one place for anything else.
pub(crate) const STATUSES: usize = 501;
/// Status classes 1xx to 5xx.
pub(crate) const CLASSES: usize = 5;
/// Error codes of HTTP/2 (RFC 9113, section 7), and one place for any other.
pub(crate) const HTTP2_CODES: usize = 15;
/// Content codings that bodies are compressed by.
pub(crate) const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

/// The place of a status code among [`STATUSES`].
#[inline]
fn status_index(status: u16) -> usize {
    usize::from(status).wrapping_sub(100).min(STATUSES - 1)
}

/// The place of a status code among the classes. What is no status code counts as 5xx, as
/// RFC 9110, section 15, has a client treat it.
#[inline]
fn class_index(status: u16) -> usize {
    usize::from((status / 100).wrapping_sub(1).min(4))
}

/// The place of an error code of HTTP/2 among [`HTTP2_CODES`].
#[inline]
fn http2_index(code: u32) -> usize {
    usize::try_from(code).map_or(HTTP2_CODES - 1, |code| code.min(HTTP2_CODES - 1))
}

/// One request of a route, when it ended.
#[derive(Clone, Copy, Debug)]
pub struct RequestSample {
    /// The status that went to the client; 0 when none did.
    pub status: u16,
    /// From the first byte of the request to the last byte of the response.
    pub duration: Duration,
    /// Bytes of the request's body, without head and framing.
    pub bytes_in: u64,
    /// Bytes of the response's body, without head and framing.
    pub bytes_out: u64,
    /// Why the door answered or ended the request itself, if it did.
    pub reason: Option<Reason>,
}

/// One worker's record of one route.
#[derive(Debug)]
#[repr(align(128))]
pub struct RouteShard {
    started: Counter,
    ended: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    reasons: Counters<REASONS>,
    durations: [Histogram; CLASSES],
    statuses: Counters<STATUSES>,
}

impl Default for RouteShard {
    fn default() -> Self {
        Self {
            started: Counter::new(),
            ended: Counter::new(),
            bytes_in: Counter::new(),
            bytes_out: Counter::new(),
            reasons: Counters::new(),
            durations: [const { Histogram::new() }; CLASSES],
            statuses: Counters::new(),
        }
    }
}

impl RouteShard {
    /// A request was given to this route; it is in flight until [`RouteShard::end`].
    #[inline]
    pub fn begin(&self) {
        self.started.add(1);
    }

    /// A request of this route ended; exactly once for each [`RouteShard::begin`].
    #[inline]
    pub fn end(&self, sample: &RequestSample) {
        self.ended.add(1);
        self.bytes_in.add(sample.bytes_in);
        self.bytes_out.add(sample.bytes_out);
        self.statuses.increment(status_index(sample.status));
        if let Some(histogram) = self.durations.get(class_index(sample.status)) {
            histogram.record(sample.duration);
        }
        if let Some(reason) = sample.reason {
            self.reasons.increment(reason.index());
        }
    }

    pub(crate) fn add_to(&self, totals: &mut RouteTotals) {
        // Ended before started: a request that ends in between is then seen in flight, never as -1.
        totals.ended += self.ended.get();
        totals.started += self.started.get();
        totals.bytes_in += self.bytes_in.get();
        totals.bytes_out += self.bytes_out.get();
        self.reasons.add_to(&mut totals.reasons);
        self.statuses.add_to(&mut totals.statuses);
        for (total, histogram) in totals.durations.iter_mut().zip(&self.durations) {
            total.add(histogram);
        }
    }
}

/// One attempt at one server, when it ended.
#[derive(Clone, Copy, Debug)]
pub struct AttemptSample {
    /// The status the server sent, if it sent one.
    pub status: Option<u16>,
    /// Why the attempt failed, if it failed otherwise than by its status.
    pub failure: Option<Reason>,
    /// How long the connection took, where a new one was opened (TLS included).
    pub connect: Option<Duration>,
    /// From the attempt's start to the first byte of the response.
    pub first_byte: Option<Duration>,
    /// From the attempt's start to its end.
    pub total: Duration,
    /// True when this attempt repeats one that failed before.
    pub retried: bool,
}

impl AttemptSample {
    /// Whether the server failed: for its own fault, or, without a reason, by a status of 5xx.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        match self.failure {
            Some(reason) => reason.fault() == Fault::Server,
            None => self.status.is_some_and(|status| class_index(status) == 4),
        }
    }
}

/// One worker's record of one server of one pool.
#[derive(Debug)]
#[repr(align(128))]
pub struct ServerShard {
    attempts: Counter,
    retries: Counter,
    retries_refused: Counter,
    ejections: Counter,
    classes: Counters<CLASSES>,
    failures_status: Counter,
    failures: Counters<REASONS>,
    connect: Histogram,
    first_byte: Histogram,
    total: Histogram,
}

impl Default for ServerShard {
    fn default() -> Self {
        Self {
            attempts: Counter::new(),
            retries: Counter::new(),
            retries_refused: Counter::new(),
            ejections: Counter::new(),
            classes: Counters::new(),
            failures_status: Counter::new(),
            failures: Counters::new(),
            connect: Histogram::new(),
            first_byte: Histogram::new(),
            total: Histogram::new(),
        }
    }
}

impl ServerShard {
    /// An attempt at this server ended. It counts as the server's failure when its reason is
    /// the server's fault, or, without a reason, when its status is 5xx: a client that went away
    /// says nothing about the server.
    #[inline]
    pub fn attempt(&self, sample: &AttemptSample) {
        self.attempts.add(1);
        self.retries.add(u64::from(sample.retried));
        if let Some(status) = sample.status {
            self.classes.increment(class_index(status));
        }
        if sample.has_failed() {
            match sample.failure {
                Some(reason) => self.failures.increment(reason.index()),
                None => self.failures_status.add(1),
            }
        }
        if let Some(connect) = sample.connect {
            self.connect.record(connect);
        }
        if let Some(first_byte) = sample.first_byte {
            self.first_byte.record(first_byte);
        }
        self.total.record(sample.total);
    }

    /// This worker set the server aside because requests failed.
    #[inline]
    pub fn ejected(&self) {
        self.ejections.add(1);
    }

    /// A retry after a failure of this server was wanted but over the budget.
    #[inline]
    pub fn retry_refused(&self) {
        self.retries_refused.add(1);
    }

    pub(crate) fn add_to(&self, totals: &mut ServerTotals) {
        totals.attempts += self.attempts.get();
        totals.retries += self.retries.get();
        totals.retries_refused += self.retries_refused.get();
        totals.ejections += self.ejections.get();
        totals.failures_status += self.failures_status.get();
        self.classes.add_to(&mut totals.classes);
        self.failures.add_to(&mut totals.failures);
        totals.connect.add(&self.connect);
        totals.first_byte.add(&self.first_byte);
        totals.total.add(&self.total);
    }
}

/// One worker's record of its client connections, and of requests that reached no route.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerShard {
    accepted: Counter,
    closed: Counter,
    refused: Counters<REASONS>,
    made_room: Counter,
    http2_connections: Counter,
    http2_streams: Counter,
    http2_floods: Counter,
    http2_streams_reset: Counters<HTTP2_CODES>,
    http2_connections_ended: Counters<HTTP2_CODES>,
    /// Bytes before and after, by coding.
    compressed: [[Counter; 2]; CODINGS.len()],
    handshakes_failed: Counter,
    handshakes: Histogram,
    reasons: Counters<REASONS>,
    panics: Counter,
}

impl Default for WorkerShard {
    fn default() -> Self {
        Self {
            accepted: Counter::new(),
            closed: Counter::new(),
            refused: Counters::new(),
            made_room: Counter::new(),
            http2_connections: Counter::new(),
            http2_streams: Counter::new(),
            http2_floods: Counter::new(),
            http2_streams_reset: Counters::new(),
            http2_connections_ended: Counters::new(),
            compressed: Default::default(),
            handshakes_failed: Counter::new(),
            handshakes: Histogram::new(),
            reasons: Counters::new(),
            panics: Counter::new(),
        }
    }
}

impl WorkerShard {
    /// A client connection was taken; it is open until [`WorkerShard::connection_closed`].
    #[inline]
    pub fn connection_accepted(&self) {
        self.accepted.add(1);
    }

    /// A client connection closed; exactly once for each [`WorkerShard::connection_accepted`].
    #[inline]
    pub fn connection_closed(&self) {
        self.closed.add(1);
    }

    /// A client connection was turned away at the door. It counts neither as accepted nor, even
    /// when a short answer was written, as an answer; do not call [`WorkerShard::reason`] for it.
    #[inline]
    pub fn connection_refused(&self, reason: Reason) {
        self.refused.increment(reason.index());
    }

    /// An idle client connection was closed early to make room for a new one; it counts as closed
    /// too.
    #[inline]
    pub fn connection_made_room(&self) {
        self.made_room.add(1);
    }

    /// HTTP/2 was begun on a client connection.
    #[inline]
    pub fn http2_connection(&self) {
        self.http2_connections.add(1);
    }

    /// A request came over HTTP/2.
    #[inline]
    pub fn http2_stream(&self) {
        self.http2_streams.add(1);
    }

    /// An HTTP/2 connection was ended for what its client sent too often.
    #[inline]
    pub fn http2_flood(&self) {
        self.http2_floods.add(1);
    }

    /// The door reset a stream of a client's, with this error code of HTTP/2.
    #[inline]
    pub fn http2_stream_reset(&self, code: u32) {
        self.http2_streams_reset.increment(http2_index(code));
    }

    /// The door ended a client's HTTP/2 connection with this error code.
    #[inline]
    pub fn http2_connection_ended(&self, code: u32) {
        self.http2_connections_ended.increment(http2_index(code));
    }

    /// So many bytes of a body were compressed, to so many.
    #[inline]
    pub fn compressed(&self, coding: Coding, before: u64, after: u64) {
        let at = CODINGS.iter().position(|known| *known == coding);
        if let Some([bytes_before, bytes_after]) = at.and_then(|at| self.compressed.get(at)) {
            bytes_before.add(before);
            bytes_after.add(after);
        }
    }

    /// A TLS handshake with a client ended; its time counts only when it succeeded.
    #[inline]
    pub fn tls_handshake(&self, duration: Duration, succeeded: bool) {
        if succeeded {
            self.handshakes.record(duration);
        } else {
            self.handshakes_failed.add(1);
        }
    }

    /// A request ended for this reason before it had a route.
    #[inline]
    pub fn reason(&self, reason: Reason) {
        self.reasons.increment(reason.index());
    }

    /// A connection's task panicked and was contained.
    #[inline]
    pub fn panic(&self) {
        self.panics.add(1);
    }

    pub(crate) fn add_to(&self, totals: &mut WorkerTotals) {
        totals.closed += self.closed.get();
        totals.accepted += self.accepted.get();
        totals.made_room += self.made_room.get();
        totals.http2_connections += self.http2_connections.get();
        totals.http2_streams += self.http2_streams.get();
        totals.http2_floods += self.http2_floods.get();
        self.http2_streams_reset.add_to(&mut totals.http2_streams_reset);
        self.http2_connections_ended.add_to(&mut totals.http2_connections_ended);
        for (bytes, own) in totals.compressed.iter_mut().zip(&self.compressed) {
            bytes.iter_mut().zip(own).for_each(|(total, counter)| *total += counter.get());
        }
        totals.handshakes_failed += self.handshakes_failed.get();
        totals.panics += self.panics.get();
        self.refused.add_to(&mut totals.refused);
        self.reasons.add_to(&mut totals.reasons);
        totals.handshakes.add(&self.handshakes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_place() {
        for (status, place, class) in [
            (100, 0, 0),
            (200, 100, 1),
            (404, 304, 3),
            (599, 499, 4),
            (600, 500, 4),
            (999, 500, 4),
            (0, 500, 4),
            (99, 500, 4),
        ] {
            assert_eq!(status_index(status), place, "{status}");
            assert_eq!(class_index(status), class, "{status}");
        }
        assert_eq!(status_index(u16::MAX), 500);
    }

    #[test]
    fn only_the_servers_own_failures_count_against_it() {
        let check = |status: Option<u16>, failure: Option<Reason>, failures: u64| {
            let shard = ServerShard::default();
            let total = Duration::from_millis(1);
            shard.attempt(&AttemptSample {
                status,
                failure,
                connect: None,
                first_byte: None,
                total,
                retried: false,
            });
            let mut totals = ServerTotals::default();
            shard.add_to(&mut totals);
            assert_eq!(totals.failures_all(), failures, "{status:?} {failure:?}");
            assert_eq!(totals.attempts, 1);
        };
        check(Some(200), None, 0);
        check(Some(404), None, 0);
        check(Some(503), None, 1);
        check(Some(503), Some(Reason::ServerClosed), 1);
        check(None, Some(Reason::ConnectFailed), 1);
        check(Some(200), Some(Reason::ResponseTimeout), 1);
        check(Some(200), Some(Reason::ClientClosed), 0);
        check(None, Some(Reason::Draining), 0);
    }
}
