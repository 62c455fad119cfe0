//! The last ten minutes of snapshots, in memory.
//!
//! One thread pushes, any reads; a snapshot is shared, never copied. Invariant: at most
//! [`HISTORY_SNAPSHOTS`] are held, numbered without gaps.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::fact::Snapshot;

/// How many snapshots, one a second, are kept.
pub const HISTORY_SNAPSHOTS: usize = 600;

/// The last snapshots; clones share them.
#[derive(Clone, Debug, Default)]
pub struct History {
    ring: Arc<Mutex<Ring>>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the newest snapshot; the first is number 1.
    newest: u64,
    snapshots: VecDeque<Arc<Snapshot>>,
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a snapshot and returns its number, counted from 1; the oldest leaves when full.
    pub fn push(&self, snapshot: Snapshot) -> u64 {
        let mut ring = self.ring();
        if ring.snapshots.len() >= HISTORY_SNAPSHOTS {
            ring.snapshots.pop_front();
        }
        ring.snapshots.push_back(Arc::new(snapshot));
        ring.newest += 1;
        ring.newest
    }

    /// The newest snapshot.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Snapshot>> {
        self.ring().snapshots.back().cloned()
    }

    /// The snapshots with a number above `number`, with their numbers, oldest first; 0 asks for
    /// all that are kept. A first number above `number + 1` tells a reader that it missed some.
    #[must_use]
    pub fn since(&self, number: u64) -> Vec<(u64, Arc<Snapshot>)> {
        let ring = self.ring();
        let numbered = (1..=ring.newest).rev().zip(ring.snapshots.iter().rev());
        let mut newer: Vec<_> = numbered
            .take_while(|(each, _)| *each > number)
            .map(|(each, snapshot)| (each, Arc::clone(snapshot)))
            .collect();
        newer.reverse();
        newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_numbered() {
        let history = History::new();
        assert!(history.last().is_none());
        assert!(history.since(0).is_empty());
        for second in 1..=700 {
            let number = history.push(Snapshot { uptime_seconds: second, ..Snapshot::default() });
            assert_eq!(number, second);
        }
        let check = |since: u64, first: u64, count: usize| {
            let found = history.since(since);
            assert_eq!(found.len(), count);
            assert!(found.iter().all(|(number, snapshot)| *number == snapshot.uptime_seconds));
            assert_eq!(found.first().map_or(0, |(number, _)| *number), first);
        };
        check(0, 101, 600);
        check(690, 691, 10);
        check(700, 0, 0);
        check(u64::MAX, 0, 0);
        assert_eq!(history.clone().last().map(|snapshot| snapshot.uptime_seconds), Some(700));
    }
}
