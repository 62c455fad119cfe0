//! What the clients of a load saw, by second and stream.
//!
//! Invariant: bounded whatever the servers say: after 64 keys a table counts the rest as `other`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Latencies;
use super::answer::Cause;

/// Different keys per table.
pub(super) const KEYS_MAX: usize = 64;

/// One second of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    /// Which one, from 0 at the begin.
    pub second: u64,
    /// As in the plan.
    pub streams: Vec<StreamSecond>,
}

/// What the clients of one stream saw, in a second or in all.
///
/// A request is counted as due, sent or dropped in the second it was due, and as ended in the
/// second it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamSecond {
    /// Requests that became due.
    pub due: u64,
    /// Of those, the ones that went out.
    pub sent: u64,
    /// And the ones that did not, because too many were under way or no socket could be had.
    pub dropped: u64,
    /// Requests that went out too late by the generator's own fault; see [`super::Confession`].
    pub late: u64,
    /// Tries that went out, retries included.
    pub tries: u64,
    /// Of those, the retries.
    pub retries: u64,
    /// Connections that were begun.
    pub connects: u64,
    /// Connections lost while idle, before their time: those of sessions, mostly.
    pub lost: u64,
    /// Requests that ended with a good answer: complete, in time, neither 5xx nor 429.
    pub ok: u64,
    /// Requests that ended without one, retries included.
    pub failed: u64,
    /// Complete answers to tries, whatever they said.
    pub answered: u64,
    /// Requests under way at the end of the second.
    pub in_flight: u64,
    /// Connections open at the end of the second, idle ones included.
    pub open: u64,
    /// Messages of complete answers of gRPC.
    pub messages: u64,
    /// Complete answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Complete answers by the server's name in [`super::Options::server_header`]; `none` without.
    pub by_server: BTreeMap<String, u64>,
    /// Failed requests by what became of their last try.
    pub by_failure: BTreeMap<String, u64>,
    /// Of good answers, from when the request was due.
    pub latency: Latencies,
    /// Of every complete answer, from when its try was due.
    pub latency_all: Latencies,
    /// Of complete answers of gRPC, from when the try was due to the first message.
    pub first_message: Latencies,
    /// Of the generator itself: from when a request was due to when it began to send it.
    pub lateness: Latencies,
}

impl StreamSecond {
    /// Requests that ended, well or not.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ok + self.failed
    }

    /// Adds what another part of the same second saw.
    pub fn add(&mut self, other: &Self) {
        self.in_flight += other.in_flight;
        self.open += other.open;
        self.add_counts(other);
    }

    /// Appends a later second: what was under way at its end stands for both.
    pub fn append(&mut self, later: &Self) {
        self.in_flight = later.in_flight;
        self.open = later.open;
        self.add_counts(later);
    }

    fn add_counts(&mut self, other: &Self) {
        for (own, others) in [
            (&mut self.due, other.due),
            (&mut self.sent, other.sent),
            (&mut self.dropped, other.dropped),
            (&mut self.late, other.late),
            (&mut self.tries, other.tries),
            (&mut self.retries, other.retries),
            (&mut self.connects, other.connects),
            (&mut self.lost, other.lost),
            (&mut self.ok, other.ok),
            (&mut self.failed, other.failed),
            (&mut self.answered, other.answered),
            (&mut self.messages, other.messages),
        ] {
            *own += others;
        }
        for (&status, &count) in &other.by_status {
            self.count_status(status, count);
        }
        for (server, &count) in &other.by_server {
            count_name(&mut self.by_server, server, count);
        }
        for (failure, &count) in &other.by_failure {
            count_name(&mut self.by_failure, failure, count);
        }
        self.latency.merge(&other.latency);
        self.latency_all.merge(&other.latency_all);
        self.first_message.merge(&other.first_message);
        self.lateness.merge(&other.lateness);
    }

    /// Statuses have three digits, so that the table needs no `other`: beyond its size they are 0.
    pub(super) fn count_status(&mut self, status: u16, count: u64) {
        let full = self.by_status.len() >= KEYS_MAX && !self.by_status.contains_key(&status);
        *self.by_status.entry(if full { 0 } else { status }).or_default() += count;
    }

    pub(super) fn count_failure(&mut self, failure: Cause) {
        count_name(&mut self.by_failure, &failure.to_string(), 1);
    }

    pub(super) fn count_server(&mut self, server: &str) {
        count_name(&mut self.by_server, server, 1);
    }
}

/// Adds to a name, or to `other` when the table is full.
fn count_name(table: &mut BTreeMap<String, u64>, name: &str, count: u64) {
    if let Some(counted) = table.get_mut(name) {
        *counted += count;
        return;
    }
    let name = if table.len() < KEYS_MAX { name } else { "other" };
    *table.entry(name.to_owned()).or_default() += count;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_bounded_and_lose_nothing() {
        let mut all = StreamSecond::default();
        for number in 0..1_000_u16 {
            let mut one = StreamSecond { in_flight: 1, due: 1, ..StreamSecond::default() };
            one.count_server(&number.to_string());
            one.count_status(number, 1);
            one.count_failure(if number == 0 { Cause::Reset } else { Cause::Timeout });
            all.append(&one);
        }
        assert_eq!((all.by_server.len(), all.by_server["other"]), (KEYS_MAX + 1, 936));
        assert!(all.by_status.len() <= KEYS_MAX + 1);
        assert_eq!(all.by_status.values().sum::<u64>(), 1_000);
        assert_eq!((all.by_failure["reset"], all.by_failure["timeout"]), (1, 999));
        assert_eq!((all.due, all.in_flight), (1_000, 1));
    }
}
