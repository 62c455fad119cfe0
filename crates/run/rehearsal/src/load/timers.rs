//! What becomes due when: the next arrival of each stream, retries, users and sessions.
//!
//! Bounded: at most one entry a stream, and one for each request, user or session.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use model::Timestamp;

use super::connection::Work;

/// What becomes due.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The next request of an open model or a replay.
    Arrival { stream: usize },
    /// A user asks.
    User { stream: usize, user: usize },
    /// A session asks or connects; void if it has another epoch by now.
    Session { stream: usize, session: usize, epoch: u32 },
    /// A request is tried again.
    Retry(Work),
    /// A stream makes nothing more due.
    End { stream: usize },
}

#[derive(Debug)]
struct Entry {
    due: Timestamp,
    /// Among equals, the first set comes first.
    sequence: u64,
    what: What,
}

/// All timers of a thread.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

impl Timers {
    pub(super) fn set(&mut self, due: Timestamp, what: What) {
        self.sequence += 1;
        self.heap.push(Entry { due, sequence: self.sequence, what });
    }

    /// The earliest due time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|entry| entry.due)
    }

    /// Takes the earliest entry out if it is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, What)> {
        if self.heap.peek()?.due > now {
            return None;
        }
        self.heap.pop().map(|entry| (entry.due, entry.what))
    }

    /// Takes everything out, in no order.
    pub(super) fn drain(&mut self) -> Vec<(Timestamp, What)> {
        self.heap.drain().map(|entry| (entry.due, entry.what)).collect()
    }
}

impl Ord for Entry {
    /// The heap has its greatest on top: the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}
