//! What passes through a listener that only passes bytes on.
//!
//! Bytes are counted while they pass and not at the end: a connection may last for days. As with
//! all shards, one worker writes and anybody reads.

use std::time::Duration;

use model::Reason;
use model::fact::TcpFacts;

use crate::cell::{Counter, Counters};
use crate::histogram::{Histogram, HistogramCounts};
use crate::shard::REASONS;

/// One worker's record of one TCP listener.
#[derive(Debug)]
#[repr(align(128))]
pub struct TcpShard {
    opened: Counter,
    closed: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    reasons: Counters<REASONS>,
    durations: Histogram,
}

impl Default for TcpShard {
    fn default() -> Self {
        Self {
            opened: Counter::new(),
            closed: Counter::new(),
            bytes_in: Counter::new(),
            bytes_out: Counter::new(),
            reasons: Counters::new(),
            durations: Histogram::new(),
        }
    }
}

impl TcpShard {
    /// A connection begins; it is open until [`TcpShard::closed`].
    #[inline]
    pub fn opened(&self) {
        self.opened.add(1);
    }

    /// A connection ended; exactly once for each [`TcpShard::opened`].
    #[inline]
    pub fn closed(&self, duration: Duration, reason: Option<Reason>) {
        self.closed.add(1);
        self.durations.record(duration);
        if let Some(reason) = reason {
            self.reasons.increment(reason.index());
        }
    }

    /// Bytes passed: `bytes_in` from the client to a server, `bytes_out` back.
    #[inline]
    pub fn passed(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
    }

    pub(crate) fn add_to(&self, totals: &mut TcpTotals) {
        // Closed before opened: one that closes in between is then seen open, never as -1.
        totals.closed += self.closed.get();
        totals.opened += self.opened.get();
        totals.bytes_in += self.bytes_in.get();
        totals.bytes_out += self.bytes_out.get();
        self.reasons.add_to(&mut totals.reasons);
        totals.durations.add(&self.durations);
    }
}

/// A TCP listener's totals since its shards were made.
#[derive(Clone, Debug)]
pub(crate) struct TcpTotals {
    pub(crate) opened: u64,
    closed: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) reasons: Vec<u64>,
    pub(crate) durations: HistogramCounts,
}

impl Default for TcpTotals {
    fn default() -> Self {
        Self {
            opened: 0,
            closed: 0,
            bytes_in: 0,
            bytes_out: 0,
            reasons: vec![0; REASONS],
            durations: HistogramCounts::default(),
        }
    }
}

impl TcpTotals {
    /// The connections that are open.
    pub(crate) fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }

    /// What one second added to what was there `before`.
    pub(crate) fn fill(&self, facts: &mut TcpFacts, before: &Self) {
        facts.connections = self.open();
        facts.opened = self.opened.saturating_sub(before.opened);
        facts.bytes_in = self.bytes_in.saturating_sub(before.bytes_in);
        facts.bytes_out = self.bytes_out.saturating_sub(before.bytes_out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_what_was_added() {
        let shard = TcpShard::default();
        let totals = || {
            let mut totals = TcpTotals::default();
            shard.add_to(&mut totals);
            totals
        };
        shard.opened();
        shard.opened();
        shard.passed(10, 20);
        let before = totals();
        shard.opened();
        shard.passed(1, 2);
        shard.closed(Duration::from_secs(1), Some(Reason::ServerClosed));
        let mut facts = TcpFacts::default();
        totals().fill(&mut facts, &before);
        let expected =
            TcpFacts { connections: 2, opened: 1, bytes_in: 1, bytes_out: 2, ..facts.clone() };
        assert_eq!(facts, expected);
        assert_eq!(totals().reasons.iter().sum::<u64>(), 1);
    }
}
