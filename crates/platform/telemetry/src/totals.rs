//! What all workers' shards held together at one moment.

use crate::histogram::HistogramCounts;
use crate::shard::{CLASSES, CODINGS, HTTP2_CODES, REASONS, STATUSES};

/// A route's totals since its shards were made.
#[derive(Clone, Debug)]
pub(crate) struct RouteTotals {
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) reasons: Vec<u64>,
    pub(crate) statuses: Vec<u64>,
    pub(crate) durations: [HistogramCounts; CLASSES],
}

impl Default for RouteTotals {
    fn default() -> Self {
        Self {
            started: 0,
            ended: 0,
            bytes_in: 0,
            bytes_out: 0,
            reasons: vec![0; REASONS],
            statuses: vec![0; STATUSES],
            durations: Default::default(),
        }
    }
}

impl RouteTotals {
    /// The requests in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.started.saturating_sub(self.ended)
    }

    /// All durations, whatever the status.
    pub(crate) fn durations_all(&self) -> HistogramCounts {
        let mut all = HistogramCounts::default();
        for class in &self.durations {
            all.merge(class);
        }
        all
    }
}

/// A server's totals since its shards were made.
#[derive(Clone, Debug)]
pub(crate) struct ServerTotals {
    pub(crate) attempts: u64,
    pub(crate) retries: u64,
    pub(crate) retries_refused: u64,
    pub(crate) ejections: u64,
    pub(crate) classes: Vec<u64>,
    /// Failures that are a 5xx status and nothing else.
    pub(crate) failures_status: u64,
    pub(crate) failures: Vec<u64>,
    pub(crate) connect: HistogramCounts,
    pub(crate) first_byte: HistogramCounts,
    pub(crate) total: HistogramCounts,
}

impl Default for ServerTotals {
    fn default() -> Self {
        Self {
            attempts: 0,
            retries: 0,
            retries_refused: 0,
            ejections: 0,
            classes: vec![0; CLASSES],
            failures_status: 0,
            failures: vec![0; REASONS],
            connect: HistogramCounts::default(),
            first_byte: HistogramCounts::default(),
            total: HistogramCounts::default(),
        }
    }
}

impl ServerTotals {
    /// Failures of every kind.
    pub(crate) fn failures_all(&self) -> u64 {
        self.failures_status + self.failures.iter().sum::<u64>()
    }
}

/// The totals of all workers' connections since the process started.
#[derive(Clone, Debug)]
pub(crate) struct WorkerTotals {
    pub(crate) accepted: u64,
    pub(crate) closed: u64,
    pub(crate) refused: Vec<u64>,
    pub(crate) made_room: u64,
    pub(crate) http2_connections: u64,
    pub(crate) http2_streams: u64,
    pub(crate) http2_floods: u64,
    pub(crate) http2_streams_reset: Vec<u64>,
    pub(crate) http2_connections_ended: Vec<u64>,
    pub(crate) compressed: [[u64; 2]; CODINGS.len()],
    pub(crate) handshakes_failed: u64,
    pub(crate) handshakes: HistogramCounts,
    pub(crate) reasons: Vec<u64>,
    pub(crate) panics: u64,
}

impl Default for WorkerTotals {
    fn default() -> Self {
        Self {
            accepted: 0,
            closed: 0,
            refused: vec![0; REASONS],
            made_room: 0,
            http2_connections: 0,
            http2_streams: 0,
            http2_floods: 0,
            http2_streams_reset: vec![0; HTTP2_CODES],
            http2_connections_ended: vec![0; HTTP2_CODES],
            compressed: Default::default(),
            handshakes_failed: 0,
            handshakes: HistogramCounts::default(),
            reasons: vec![0; REASONS],
            panics: 0,
        }
    }
}
