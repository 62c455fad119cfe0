//! Who waits at which worker, so that a freed place goes where it is due.
//!
//! Each worker queues its own requests and serves them when it frees a place. Left to that, a
//! worker that holds all places keeps them. So each worker's progress is counted in turns - one
//! served request is one turn divided by the flows that wait there - and one that is ahead of
//! another, or has only less important requests waiting, leaves the place to it.
//! Invariant: the numbers of a worker are sums over its lines of all generations; each line gives
//! back what it added.

use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
};
use std::time::Duration;

use model::Timestamp;
use model::configuration::Class;

/// The rank of those who are held back, after that of the least important class.
pub(crate) const HELD: usize = Class::ALL.len();
/// One turn of all flows that wait at a worker.
const TURN: u64 = 1 << 20;
/// How far a worker may be ahead of another before it leaves a place to it.
const AHEAD_MAX: u64 = TURN;
/// How long a queue that was seen to stand counts as standing.
const OVERLOADED_FOR: Duration = Duration::from_millis(500);

/// The waiting requests of one pool, by worker.
#[derive(Debug)]
pub(crate) struct Board {
    seats: Vec<Seat>,
    /// Requests that wait at any worker.
    waiting: AtomicU32,
    /// Of those who were held back, how many were ever served.
    served_held: AtomicU64,
    waited: AtomicU64,
    waited_us: AtomicU64,
}

/// One worker; written by it alone, read by all.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seat {
    /// By rank: the classes, the most important first, then those who are held back.
    waiting: [AtomicU32; HELD + 1],
    flows: AtomicU32,
    progress: AtomicU64,
    /// When its queue was last seen to stand, in nanoseconds; 0 when it never was.
    overloaded_at: AtomicU64,
}

impl Seat {
    /// The most important rank that waits; `None` when nothing does.
    fn rank(&self) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.load(Relaxed) > 0)
    }
}

impl Board {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            seats: (0..workers.max(1)).map(|_| Seat::default()).collect(),
            waiting: AtomicU32::new(0),
            served_held: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
        }
    }

    pub(crate) const fn workers(&self) -> usize {
        self.seats.len()
    }

    /// Requests that wait at any worker.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Acquire)
    }

    /// A request of this rank begins to wait: its class's index, or [`HELD`].
    pub(crate) fn joined(&self, worker: usize, rank: usize) {
        let Some(seat) = self.seats.get(worker) else { return };
        if seat.rank().is_none_or(|rank| rank == HELD) {
            // Who did not wait has saved nothing up, and owes nothing.
            let others = self.others(worker).filter(|(_, _, rank)| *rank < HELD);
            let others = others.map(|(_, seat, _)| seat.progress.load(Relaxed)).min();
            seat.progress.fetch_max(others.unwrap_or(0), Relaxed);
        }
        seat.waiting[rank].fetch_add(1, Relaxed);
        self.waiting.fetch_add(1, AcqRel);
    }

    /// A request does not wait any more.
    pub(crate) fn left(&self, worker: usize, rank: usize) {
        let Some(seat) = self.seats.get(worker) else { return };
        seat.waiting[rank].fetch_sub(1, Relaxed);
        self.waiting.fetch_sub(1, AcqRel);
    }

    /// So many flows more, or less, wait at a worker.
    pub(crate) fn flows_changed(&self, worker: usize, before: u32, after: u32) {
        let Some(seat) = self.seats.get(worker) else { return };
        if before < after {
            seat.flows.fetch_add(after - before, Relaxed);
        } else if after < before {
            seat.flows.fetch_sub(before - after, Relaxed);
        }
    }

    /// A waiting request got its place.
    pub(crate) fn served(&self, worker: usize) {
        let Some(seat) = self.seats.get(worker) else { return };
        let flows = u64::from(seat.flows.load(Relaxed).max(1));
        seat.progress.fetch_add(TURN / flows, Relaxed);
    }

    /// One that was held back got its place: that is what others left, and no turn.
    pub(crate) fn serve_held(&self) {
        self.served_held.fetch_add(1, Relaxed);
    }

    /// How many that were held back got a place so far, at any worker.
    pub(crate) fn served_held(&self) -> u64 {
        self.served_held.load(Relaxed)
    }

    /// How many are held back, at all workers.
    pub(crate) fn held(&self) -> u32 {
        self.seats.iter().map(|seat| seat.waiting[HELD].load(Relaxed)).sum()
    }

    /// A request's wait ended, in whichever way.
    pub(crate) fn waited(&self, wait: Duration) {
        self.waited.fetch_add(1, Relaxed);
        self.waited_us.fetch_add(u64::try_from(wait.as_micros()).unwrap_or(0), Relaxed);
    }

    /// How many waits ended since the last call, and the sum of them in microseconds.
    pub(crate) fn take_waits(&self) -> (u64, u64) {
        (self.waited.swap(0, Relaxed), self.waited_us.swap(0, Relaxed))
    }

    /// The queue of a worker stands.
    pub(crate) fn overloads(&self, worker: usize, now: Timestamp) {
        let Some(seat) = self.seats.get(worker) else { return };
        seat.overloaded_at.store(now.as_nanos(), Relaxed);
    }

    /// Whether any queue was lately seen to stand: one that nobody looks at any more does not.
    pub(crate) fn is_overloaded(&self, now: Timestamp) -> bool {
        self.seats.iter().any(|seat| {
            let at = seat.overloaded_at.load(Relaxed);
            at > 0 && now.since(Timestamp::from_nanos(at)) < OVERLOADED_FOR
        })
    }

    /// Of the workers other than this one at which requests wait, the one that is due most.
    pub(crate) fn most_due_but(&self, worker: usize) -> Option<usize> {
        if self.waiting() == 0 {
            return None;
        }
        let due =
            self.others(worker).min_by_key(|(_, seat, rank)| (*rank, seat.progress.load(Relaxed)));
        due.map(|(other, _, _)| other)
    }

    /// Whether this worker should leave a free place to another one.
    pub(crate) fn is_ahead(&self, worker: usize) -> bool {
        let Some(seat) = self.seats.get(worker) else { return false };
        let Some(own_rank) = seat.rank() else { return false };
        let progress = seat.progress.load(Relaxed);
        self.others(worker).any(|(_, other, rank)| {
            let behind = other.progress.load(Relaxed).saturating_add(AHEAD_MAX) < progress;
            rank < own_rank || rank == own_rank && rank < HELD && behind
        })
    }

    fn others(&self, worker: usize) -> impl Iterator<Item = (usize, &Seat, usize)> {
        let seats = self.seats.iter().enumerate().filter(move |(other, _)| *other != worker);
        seats.filter_map(|(other, seat)| Some((other, seat, seat.rank()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words: `J0b` a bulk request begins to wait at worker 0, `S1n` one of class normal is served
    /// at worker 1. Expected: who is ahead after each, as worker numbers.
    fn check(script: &str, expected: &[&str]) {
        let board = Board::new(3);
        let rank = |word: &str| match word.as_bytes()[2] {
            b'c' => Class::Critical.index(),
            b'i' => Class::Important.index(),
            b'n' => Class::Normal.index(),
            b'b' => Class::Bulk.index(),
            _ => HELD,
        };
        let seen: Vec<String> = script
            .split(' ')
            .map(|word| {
                let worker = usize::from(word.as_bytes()[1] - b'0');
                match word.as_bytes()[0] {
                    b'J' => {
                        board.joined(worker, rank(word));
                        board.flows_changed(worker, 0, 1);
                    }
                    _ => {
                        board.served(worker);
                        board.left(worker, rank(word));
                        board.flows_changed(worker, 1, 0);
                    }
                }
                let ahead = (0..3).filter(|&worker| board.is_ahead(worker));
                ahead.map(|worker| worker.to_string()).collect()
            })
            .collect();
        assert_eq!(seen, expected, "{script}");
    }

    #[test]
    fn a_worker_leaves_its_place_to_one_with_more_important_requests() {
        check("J0b J1n S1n", &["", "0", ""]);
        check("J0n J1n", &["", ""]);
        check("J0h J1b J2h", &["", "0", "02"]);
    }

    #[test]
    fn a_worker_that_served_more_turns_leaves_its_place() {
        check("J0n J0n J0n J0n J1n S0n S0n S0n", &["", "", "", "", "", "", "", "0"]);
    }

    #[test]
    fn the_due_one_is_rung() {
        let board = Board::new(3);
        assert_eq!(board.most_due_but(0), None);
        board.joined(0, Class::Critical.index());
        assert_eq!((board.most_due_but(0), board.most_due_but(1)), (None, Some(0)));
        board.joined(2, Class::Normal.index());
        board.joined(1, Class::Important.index());
        assert_eq!((board.most_due_but(0), board.most_due_but(1)), (Some(1), Some(0)));
    }
}
