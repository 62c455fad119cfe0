//! Who is to be given up when: one first-in-first-out list per stream, since all requests of a
//! stream may take equally long.
//!
//! The links lie beside the connections, so that a request that ends is taken out at once and
//! the lists are never longer than there are connections. Deadlines are in order except for what
//! the generator was late itself: by as much, one may be noticed late.

use model::Timestamp;

/// No slot.
const NONE: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: usize,
    next: usize,
    at: Timestamp,
    linked: bool,
}

const UNLINKED: Link = Link { previous: NONE, next: NONE, at: Timestamp::ZERO, linked: false };

/// The deadlines of all connections of a thread.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// By slot.
    links: Vec<Link>,
    /// By stream: the slots that are first and last.
    ends: Vec<(usize, usize)>,
}

impl Deadlines {
    pub(super) fn new(streams: usize) -> Self {
        Self { links: Vec::new(), ends: vec![(NONE, NONE); streams] }
    }

    /// Appends a deadline; a slot has at most one.
    pub(super) fn set(&mut self, stream: usize, slot: usize, at: Timestamp) {
        self.clear(stream, slot);
        if slot >= self.links.len() {
            self.links.resize(slot + 1, UNLINKED);
        }
        let Some((first, last)) = self.ends.get_mut(stream) else { return };
        let previous = std::mem::replace(last, slot);
        if previous == NONE {
            *first = slot;
        } else if let Some(before) = self.links.get_mut(previous) {
            before.next = slot;
        }
        if let Some(link) = self.links.get_mut(slot) {
            *link = Link { previous, next: NONE, at, linked: true };
        }
    }

    /// Takes the deadline of a slot out, if it has one.
    pub(super) fn clear(&mut self, stream: usize, slot: usize) {
        let Some(link) = self.links.get_mut(slot).filter(|link| link.linked) else { return };
        let Link { previous, next, .. } = std::mem::replace(link, UNLINKED);
        let Some((first, last)) = self.ends.get_mut(stream) else { return };
        match self.links.get_mut(previous) {
            Some(before) => before.next = next,
            None => *first = next,
        }
        match self.links.get_mut(next) {
            Some(after) => after.previous = previous,
            None => *last = previous,
        }
    }

    /// The earliest deadline of all streams.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let firsts = self.ends.iter().filter_map(|&(first, _)| self.links.get(first));
        firsts.map(|link| link.at).min()
    }

    /// A slot whose deadline has passed; it stays until it is cleared.
    pub(super) fn passed(&self, now: Timestamp) -> Option<usize> {
        let mut firsts = self.ends.iter().map(|&(first, _)| first);
        firsts.find(|&first| self.links.get(first).is_some_and(|link| link.at <= now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn lists_keep_their_order_whatever_leaves() {
        let mut deadlines = Deadlines::new(2);
        for (stream, slot, when) in [(0, 3, 30), (1, 0, 10), (0, 1, 40), (0, 2, 50), (0, 4, 60)] {
            deadlines.set(stream, slot, at(when));
        }
        assert_eq!((deadlines.next(), deadlines.passed(at(9))), (Some(at(10)), None));
        assert_eq!(deadlines.passed(at(10)), Some(0));
        deadlines.clear(1, 0);
        deadlines.clear(1, 0);
        deadlines.clear(0, 1);
        assert_eq!(deadlines.passed(at(45)), Some(3));
        deadlines.clear(0, 3);
        assert_eq!((deadlines.passed(at(45)), deadlines.next()), (None, Some(at(50))));
        // The same slot again, at the end.
        deadlines.set(0, 2, at(70));
        assert_eq!(deadlines.passed(at(100)), Some(4));
        deadlines.clear(0, 4);
        assert_eq!(deadlines.passed(at(100)), Some(2));
        deadlines.clear(0, 2);
        assert_eq!(deadlines.next(), None);
    }
}
