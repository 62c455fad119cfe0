//! How many requests the servers take at once, found by trying: nothing has to be configured.
//!
//! The limit is judged against itself a moment ago at another size, never against a remembered
//! "unloaded" latency: such a baseline is wrong when it was learned in overload, and drifts
//! (Netflix concurrency-limits #134). [`search`] holds the decision; this file only counts.
//! Where times vary much, one moment tells too little: then [`curve`] keeps what the last seconds
//! told of all sizes, and forgets it when the same size costs more or less than it did.
//! Any worker records, with a few relaxed additions; the one whose sample ends a window decides
//! for all, behind a `try_lock` that nobody ever waits for.
//! Invariants: the limit is at least 1; only requests that began in a window, at that window's
//! number in flight, count in it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;
use model::time::saturating_nanos;

mod calm;
mod curve;
mod measured;
mod pressure;
mod search;
mod times;
mod varied;
mod verdict;
mod window;

#[cfg(test)]
mod tests;

use search::Search;
use times::Times;
use window::{Tally, Window};

/// How an attempt at a server ended, as far as it says something about the server's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server answered, and not with a 5xx.
    Answered,
    /// The server failed before a time limit: a 5xx, a reset.
    Failed,
    /// The server did not answer in time.
    TimedOut,
    /// The client left before the answer.
    Left,
}

/// One attempt that ended.
#[derive(Clone, Copy, Debug)]
pub struct LimiterSample {
    /// When it was sent to the server.
    pub began: Timestamp,
    /// When its place became free.
    pub ended: Timestamp,
    /// Attempts in flight under the same limit when it began, itself included.
    pub in_flight: u32,
    /// How it ended.
    pub ending: Ending,
}

/// Finds and follows the number of requests in flight at which the servers give their full
/// goodput at about their unloaded latency. Shared by all workers.
#[derive(Debug)]
pub struct Limiter {
    /// On a line of its own: every request reads it, every finished request writes below.
    limit: Padded<AtomicU32>,
    counted: Padded<Counted>,
    times: Times,
    search: Mutex<Search>,
    /// Whether a limit was found, once.
    found: AtomicBool,
}

/// Keeps what it holds on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// The window that is being counted, and its counts so far.
#[derive(Debug, Default)]
struct Counted {
    since: AtomicU64,
    from: AtomicU64,
    due: AtomicU64,
    floor_before: AtomicU32,
    floor: AtomicU32,
    ceiling: AtomicU32,
    target: AtomicU32,
    cap_us: AtomicU64,
    late_us: AtomicU64,
    seen: AtomicU32,
    held: AtomicU32,
    reached: AtomicU32,
    answered: AtomicU32,
    late: AtomicU32,
    spent_us: AtomicU64,
    answered_us: AtomicU64,
    squares: AtomicU64,
    calm: AtomicU32,
    calm_us: AtomicU64,
}

impl Limiter {
    /// A limiter that knows nothing yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let search = Search::new(now);
        let window = *search.window();
        let (limit, counted) = (Padded::default(), Padded::default());
        let (times, found) = (Times::default(), AtomicBool::new(false));
        let limiter = Self { limit, counted, times, search: Mutex::new(search), found };
        limiter.open(&window);
        limiter
    }

    /// How many requests may be in flight now; at least 1.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.0.load(Relaxed)
    }

    /// Whether its limit is more than a first guess: it was found, or could have been.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.found.load(Relaxed)
    }

    /// As if a limit had been found.
    #[cfg(test)]
    pub(crate) fn assume_found(&self) {
        self.found.store(true, Relaxed);
    }

    /// As if answers had taken this long so far.
    #[cfg(test)]
    pub(crate) fn assume_service(&self, service_us: u64, now: Timestamp) {
        self.times.add(service_us);
        self.times.settle(now);
    }

    /// The recent median time of an answer, without any waiting in the door; zero while unknown.
    #[must_use]
    pub fn service_time(&self) -> Duration {
        self.times.median()
    }

    /// Counts one finished attempt. Whoever's sample ends a window decides about the next.
    pub fn record(&self, sample: &LimiterSample) {
        let spent_us = saturating_nanos(sample.ended.since(sample.began)) / 1_000;
        if sample.ending == Ending::Answered {
            self.times.add(spent_us);
        }
        let counted = &self.counted.0;
        counted.add(sample, spent_us);
        if counted.is_over(sample.ended) {
            self.close(sample.ended);
        }
    }

    fn close(&self, now: Timestamp) {
        // Taken: another worker is deciding; the place of this sample is in its counts.
        let Ok(mut search) = self.search.try_lock() else { return };
        let counted = &self.counted.0;
        // Another worker may have decided between our look and our lock.
        if !counted.is_over(now) {
            return;
        }
        self.times.settle(now);
        search.close(&counted.tally(), now);
        if search.is_found(now) {
            self.found.store(true, Relaxed);
        }
        self.open(search.window());
    }

    fn open(&self, window: &Window) {
        self.counted.0.open(window);
        self.limit.0.store(window.limit, Relaxed);
    }
}

/// Squares are of parts of the cap in millionths, so that a sum of ten million cannot overflow.
const PARTS: u64 = 1_000_000;
/// With this part of the limit in flight the servers are calm.
const CALM_PART: u32 = 3;
/// More calm answers in one window would tell nothing new.
const CALM_MAX: u32 = 32;

impl Counted {
    fn add(&self, sample: &LimiterSample, spent_us: u64) {
        let calm = sample.in_flight <= self.ceiling.load(Relaxed) / CALM_PART;
        if calm && sample.ending == Ending::Answered && self.calm.load(Relaxed) < CALM_MAX {
            self.calm.fetch_add(1, Relaxed);
            self.calm_us.fetch_add(spent_us, Relaxed);
        }
        if sample.ended.as_nanos() < self.from.load(Relaxed) {
            return;
        }
        let cap_us = self.cap_us.load(Relaxed);
        let late = match sample.ending {
            Ending::Answered | Ending::Failed => false,
            Ending::TimedOut => true,
            // A client that leaves early says nothing; one that gave up waiting does.
            Ending::Left if spent_us >= self.late_us.load(Relaxed) => true,
            Ending::Left => return,
        };
        self.seen.fetch_add(1, Relaxed);
        let now_at = self.floor.load(Relaxed)..=self.ceiling.load(Relaxed);
        if sample.began.as_nanos() < self.since.load(Relaxed) {
            if sample.in_flight < self.floor_before.load(Relaxed) {
                return;
            }
        } else if now_at.contains(&sample.in_flight) {
            self.reached.fetch_add(1, Relaxed);
        } else {
            return;
        }
        let spent_us = spent_us.min(cap_us);
        let part = spent_us * PARTS / cap_us.max(1);
        self.spent_us.fetch_add(spent_us, Relaxed);
        self.squares.fetch_add(part * part, Relaxed);
        if sample.ending == Ending::Answered {
            self.answered.fetch_add(1, Relaxed);
            self.answered_us.fetch_add(spent_us, Relaxed);
        }
        if late {
            self.late.fetch_add(1, Relaxed);
        }
        self.held.fetch_add(1, Relaxed);
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.held.load(Relaxed) >= self.target.load(Relaxed)
            || now.as_nanos() >= self.due.load(Relaxed)
    }

    fn tally(&self) -> Tally {
        Tally {
            seen: self.seen.load(Relaxed),
            held: self.held.load(Relaxed),
            reached: self.reached.load(Relaxed),
            answered: self.answered.load(Relaxed),
            late: self.late.load(Relaxed),
            spent_us: self.spent_us.load(Relaxed) as f64,
            answered_us: self.answered_us.load(Relaxed) as f64,
            squares: self.squares.load(Relaxed) as f64 / (PARTS * PARTS) as f64,
            calm: self.calm.load(Relaxed),
            calm_us: self.calm_us.load(Relaxed) as f64,
        }
    }

    fn open(&self, window: &Window) {
        self.target.store(window.target, Relaxed);
        self.due.store(window.due.as_nanos(), Relaxed);
        if window.goes_on {
            return;
        }
        self.since.store(window.since.as_nanos(), Relaxed);
        self.from.store(window.from.as_nanos(), Relaxed);
        self.floor_before.store(window.floor_before, Relaxed);
        self.floor.store(window.floor, Relaxed);
        self.ceiling.store(window.ceiling, Relaxed);
        self.cap_us.store(window.cap_us, Relaxed);
        self.late_us.store(window.late_us, Relaxed);
        let Self { seen, held, reached, answered, late, calm, .. } = self;
        for count in [seen, held, reached, answered, late, calm] {
            count.store(0, Relaxed);
        }
        for sum in [&self.spent_us, &self.answered_us, &self.squares, &self.calm_us] {
            sum.store(0, Relaxed);
        }
    }
}
