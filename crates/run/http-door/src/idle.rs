//! Which client connections of a listener are idle, the longest first: they go when room is
//! needed.
//!
//! A connection that has waited for a request for [`IDLE_AFTER`], and nothing of it was read yet,
//! has a seat in a list that is kept in the order in which seats were taken. One that is in use
//! never takes one, and memory is needed only for as many seats as were ever taken at once.
//! Invariant: a seat is in the list from when it was taken until it is left or called.

use std::cell::RefCell;
use std::time::Duration;

use net::timer::Ender;

use crate::worker::{ListenerCell, Worker};

/// A connection that has been idle for less is likely to be in use.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(1);

/// The idle connections of one listener on one worker.
#[derive(Debug, Default)]
pub(crate) struct IdleClients {
    list: RefCell<List>,
}

/// A place in the list; left when dropped.
#[derive(Debug)]
pub(crate) struct Seat<'c> {
    clients: &'c IdleClients,
    number: usize,
}

/// A list within a vector: links are places in it.
#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    /// Places that nobody has.
    free: Vec<usize>,
    first: Option<usize>,
    last: Option<usize>,
}

#[derive(Debug, Default)]
struct Entry {
    previous: Option<usize>,
    next: Option<usize>,
    /// When it was taken, in ticks.
    since: u64,
    /// Ends the connection's wait; `None` once it was called.
    ender: Option<Ender>,
}

impl Worker {
    /// Tells the longest idle client connection to go, of `listener` or, with `None`, of any; gives
    /// whether one had been idle long enough. It goes when its task next runs.
    pub(crate) fn make_room(&self, listener: Option<&ListenerCell>) -> bool {
        if let Some(listener) = listener {
            return listener.idle.call_longest();
        }
        let listeners = self.listeners.borrow();
        let all = listeners.values().filter_map(|cell| Some((cell.idle.longest()?, cell)));
        all.min_by_key(|(since, _)| *since).is_some_and(|(_, cell)| cell.idle.call_longest())
    }
}

impl IdleClients {
    /// Takes a seat at `now`, behind all others. `ender` ends the wait of its connection.
    pub(crate) fn sit(&self, now: u64, ender: Ender) -> Seat<'_> {
        Seat { clients: self, number: self.list.borrow_mut().push(now, ender) }
    }

    /// Since when the longest idle connection is; `None` without any.
    fn longest(&self) -> Option<u64> {
        let list = self.list.borrow();
        list.first.and_then(|first| list.entries.get(first)).map(|entry| entry.since)
    }

    /// Ends the wait of the longest idle connection; gives whether there is one.
    fn call_longest(&self) -> bool {
        let mut list = self.list.borrow_mut();
        let Some(first) = list.first else { return false };
        list.unlink(first);
        let ender = list.entries.get_mut(first).and_then(|entry| entry.ender.take());
        drop(list);
        ender.is_some_and(|ender| {
            ender.end();
            true
        })
    }
}

impl Seat<'_> {
    /// Whether its connection is to go.
    pub(crate) fn is_called(&self) -> bool {
        let list = self.clients.list.borrow();
        list.entries.get(self.number).is_some_and(|entry| entry.ender.is_none())
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.clients.list.borrow_mut().leave(self.number);
    }
}

impl List {
    fn push(&mut self, now: u64, ender: Ender) -> usize {
        let entry = Entry { previous: self.last, next: None, since: now, ender: Some(ender) };
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.entries.push(Entry::default());
                self.entries.len() - 1
            }
        };
        if let Some(place) = self.entries.get_mut(number) {
            *place = entry;
        }
        match self.last.and_then(|last| self.entries.get_mut(last)) {
            Some(last) => last.next = Some(number),
            None => self.first = Some(number),
        }
        self.last = Some(number);
        number
    }

    fn unlink(&mut self, number: usize) {
        let Some(entry) = self.entries.get(number) else { return };
        let (previous, next) = (entry.previous, entry.next);
        match previous.and_then(|previous| self.entries.get_mut(previous)) {
            Some(previous) => previous.next = next,
            None => self.first = next,
        }
        match next.and_then(|next| self.entries.get_mut(next)) {
            Some(next) => next.previous = previous,
            None => self.last = previous,
        }
    }

    fn leave(&mut self, number: usize) {
        let ender = self.entries.get_mut(number).and_then(|entry| entry.ender.take());
        // One that was called is in the list no more.
        if ender.is_some() {
            self.unlink(number);
        }
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use net::timer::Wheel;

    use super::*;

    #[test]
    fn the_longest_idle_is_called_first() {
        let wheel = Wheel::new(Timestamp::ZERO);
        let clients = IdleClients::default();
        let deadlines: Vec<_> = (0..4).map(|_| wheel.deadline()).collect();
        let sit = |number: u32| {
            clients.sit(number.into(), deadlines[usize::try_from(number).unwrap()].ender())
        };
        let first = sit(0);
        let second = sit(1);
        let third = sit(2);
        assert_eq!(clients.longest(), Some(0));
        drop(second);
        assert!(clients.call_longest());
        assert!(first.is_called() && !third.is_called());
        assert_eq!(clients.longest(), Some(2));
        drop(first);
        // The places of those who left are taken again.
        let fourth = sit(3);
        assert!(clients.call_longest() && third.is_called());
        assert!(clients.call_longest() && fourth.is_called());
        assert!(!clients.call_longest() && clients.longest().is_none());
        drop((third, fourth));
        assert_eq!(clients.list.borrow().entries.len(), 3);
    }
}
