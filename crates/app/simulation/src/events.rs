//! What happens next: events in the order of their time, and of two at once the older first.
//!
//! Invariant: time never goes back, and the order depends on nothing but what was put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::Timestamp;

/// Events to come.
#[derive(Debug)]
pub(crate) struct Events<E> {
    heap: BinaryHeap<Reverse<(Timestamp, u64, E)>>,
    sequence: u64,
}

impl<E: Ord> Events<E> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    pub(crate) fn at(&mut self, at: Timestamp, event: E) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, event)));
    }

    pub(crate) fn next(&mut self) -> Option<(Timestamp, E)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_age() {
        let mut events = Events::new();
        for (at, name) in [(5, "c"), (1, "b"), (5, "a"), (0, "z")] {
            events.at(Timestamp::from_nanos(at), name);
        }
        let order: Vec<_> = std::iter::from_fn(|| events.next()).map(|(_, name)| name).collect();
        assert_eq!(order, ["z", "b", "c", "a"]);
    }
}
