//! What the threads of a load share: orders on the way in, whole seconds on the way out.
//!
//! Nothing here is touched per request: a thread looks at its orders when it is woken, and hands
//! its counts over once a second.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::load::LoadPlan;
use rustix::event::{EventfdFlags, eventfd};

use super::{Confession, LoadError, Outcome, Second, StreamSecond};

/// Seconds that are kept one by one: three hours.
const SECONDS_KEPT_MAX: usize = 10_800;

/// What every thread of a load knows.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: LoadPlan,
    pub(super) begin: Timestamp,
    pub(super) threads: usize,
    stopping: AtomicBool,
    /// By stream: how often its connections were cut.
    cuts: Vec<AtomicU64>,
    /// One per thread; readable: look at the orders.
    wakes: Vec<OwnedFd>,
    ledger: Mutex<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    /// By thread: seconds it handed over, all when it ended.
    reached: Vec<u64>,
    /// Seconds that some thread has yet to hand over.
    open: VecDeque<Second>,
    kept: VecDeque<Second>,
    /// How many of `kept`, at its end, nobody took yet.
    fresh: usize,
    total: Vec<StreamSecond>,
    ended: Timestamp,
}

impl Shared {
    pub(super) fn new(plan: LoadPlan, threads: usize, begin: Timestamp) -> Result<Self, LoadError> {
        let streams = plan.streams.len();
        let wakes =
            (0..threads).map(|_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK));
        let wakes = wakes
            .collect::<Result<_, _>>()
            .map_err(|error| LoadError::System { what: "make an eventfd", source: error.into() })?;
        let ledger = Ledger {
            reached: vec![0; threads],
            open: VecDeque::new(),
            kept: VecDeque::new(),
            fresh: 0,
            total: vec![StreamSecond::default(); streams],
            ended: begin,
        };
        Ok(Self {
            plan,
            begin,
            threads,
            stopping: AtomicBool::new(false),
            cuts: (0..streams).map(|_| AtomicU64::new(0)).collect(),
            wakes,
            ledger: Mutex::new(ledger),
        })
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn cut(&self, stream: &str) {
        for (planned, cuts) in self.plan.streams.iter().zip(&self.cuts) {
            if &*planned.name == stream {
                cuts.fetch_add(1, Ordering::Release);
            }
        }
        self.wake();
    }

    /// How often the connections of a stream were cut.
    pub(super) fn cuts(&self, stream: usize) -> u64 {
        self.cuts.get(stream).map_or(0, |cuts| cuts.load(Ordering::Acquire))
    }

    pub(super) fn wake_of(&self, thread: usize) -> Option<&OwnedFd> {
        self.wakes.get(thread)
    }

    fn wake(&self) {
        for wake in &self.wakes {
            // Only a full counter refuses, and a full counter wakes as well.
            rustix::io::write(wake, &1_u64.to_ne_bytes()).unwrap_or_default();
        }
    }

    /// Takes a thread's part of a second; each thread hands over every second, in order.
    pub(super) fn hand_over(&self, thread: usize, second: u64, parts: &[StreamSecond]) {
        self.with(|ledger| {
            ledger.add(second, parts);
            if let Some(reached) = ledger.reached.get_mut(thread) {
                *reached = second + 1;
            }
            ledger.close_seconds();
        });
    }

    /// A thread has nothing more to hand over.
    pub(super) fn leave(&self, thread: usize, now: Timestamp) {
        self.with(|ledger| {
            ledger.ended = ledger.ended.max(now);
            if let Some(reached) = ledger.reached.get_mut(thread) {
                *reached = u64::MAX;
            }
            ledger.close_seconds();
        });
    }

    pub(super) fn take(&self) -> Vec<Second> {
        self.with(|ledger| {
            let taken = ledger.kept.len() - ledger.fresh;
            ledger.fresh = 0;
            ledger.kept.iter().skip(taken).cloned().collect()
        })
    }

    pub(super) fn outcome(&self, cpu: Duration) -> Outcome {
        self.with(|ledger| Outcome {
            seconds: std::mem::take(&mut ledger.kept).into(),
            wall: ledger.ended.since(self.begin),
            cpu,
            generator: Confession::of(&ledger.total),
            total: std::mem::take(&mut ledger.total),
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ledger {
    fn add(&mut self, second: u64, parts: &[StreamSecond]) {
        let streams = parts.len();
        let first = self.open.front().map_or(second, |open| open.second);
        let index = usize::try_from(second.saturating_sub(first)).unwrap_or(usize::MAX);
        while self.open.len() <= index {
            let next = self.open.back().map_or(second, |open| open.second + 1);
            let empty = vec![StreamSecond::default(); streams];
            self.open.push_back(Second { second: next, streams: empty });
        }
        if let Some(open) = self.open.get_mut(index) {
            for (own, part) in open.streams.iter_mut().zip(parts) {
                own.add(part);
            }
        }
    }

    /// Closes the seconds that every thread handed over.
    fn close_seconds(&mut self) {
        let reached = self.reached.iter().copied().min().unwrap_or(u64::MAX);
        while self.open.front().is_some_and(|open| open.second < reached) {
            let Some(second) = self.open.pop_front() else { return };
            for (total, stream) in self.total.iter_mut().zip(&second.streams) {
                total.append(stream);
            }
            if self.kept.len() == SECONDS_KEPT_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back(second);
            self.fresh = (self.fresh + 1).min(self.kept.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_whole_when_every_thread_handed_it_over() {
        let plan = LoadPlan { streams: vec![model::load::Stream::default()] };
        let shared = Shared::new(plan, 2, Timestamp::ZERO).unwrap();
        let part = |ok| vec![StreamSecond { ok, ..StreamSecond::default() }];
        let taken = || -> Vec<_> {
            shared.take().iter().map(|second| (second.second, second.streams[0].ok)).collect()
        };
        shared.hand_over(0, 0, &part(1));
        shared.hand_over(0, 1, &part(10));
        assert_eq!(taken(), []);
        shared.hand_over(1, 0, &part(2));
        assert_eq!(taken(), [(0, 3)]);
        shared.leave(1, Timestamp::from_nanos(5));
        assert_eq!(taken(), [(1, 10)]);
        shared.hand_over(0, 2, &part(100));
        shared.leave(0, Timestamp::from_nanos(9));
        assert_eq!(taken(), [(2, 100)]);
        let outcome = shared.outcome(Duration::ZERO);
        assert_eq!((outcome.seconds.len(), outcome.total[0].ok), (3, 113));
        assert_eq!(outcome.wall, Duration::from_nanos(9));
    }
}
