//! How important a request must be while a pool cannot serve all: 4 classes of 128 cohorts.
//!
//! A cohort is a part of the clients, by seven bits of their hash, other bits each minute: who is
//! refused then is refused for all requests of a page, not for one of them, and not for ever. The
//! threshold and the histogram over levels, with which "5 % less" is of the requests and not of
//! the levels, are those of `DAGOR` (Zhou et al., `SoCC` 2018). Two things differ:
//!
//! - What moves the threshold is not the mean wait but the part of those let in that the queue
//!   had to refuse: a pool of four places has waits of 20 ms at four fifths of its capacity, and
//!   one of slow servers always. More than a fifth refused: 5 % less. So the queue always gets
//!   more than the servers can do, and the threshold cannot starve them.
//! - Once a tenth of those who got a place found the pool idle, the threshold opens at once: there
//!   is no overload any more, and 1 % more every 250 ms would take half a minute.
//!
//! Only requests that find the pool busy are counted here and can be refused, and only flows that
//! do not wait already: what one flow sends too much of is dealt with by the queue.
//! Invariant: the first half of the requests is never cut, unless it is of the bulk class.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};
use std::time::Duration;

use model::Timestamp;
use model::configuration::Class;

/// Cohorts of one class.
const COHORTS: u32 = 128;
/// All levels: with this threshold everything is let in.
const LEVELS: u32 = 4 * COHORTS;
/// The threshold is looked at after this time, or
const WINDOW: Duration = Duration::from_millis(250);
/// this many requests.
const WINDOW_REQUESTS: u32 = 2_000;
/// How long a client stays in its cohort.
const COHORT_SECONDS: u64 = 60;
/// The part of the thin requests that the queue may refuse before less is let in.
const REFUSED_PART: f64 = 0.2;
/// Less and more, as parts of what is let in.
const LESS: f64 = 0.95;
const MORE: f64 = 1.01;
/// The part of those who got a place that found the pool idle, above which nothing is shed.
const IDLE_PART: f64 = 0.1;

/// The threshold of one pool, shared by all workers.
#[derive(Debug)]
pub(crate) struct Level {
    /// Levels below it are let in; 1 to [`LEVELS`].
    threshold: AtomicU32,
    /// When the window began, in nanoseconds.
    began: AtomicU64,
    /// Requests that found the pool busy in this window, let in or not, by level.
    arrived: Box<[AtomicU32]>,
    arrived_sum: AtomicU32,
    /// All that found it busy, by whether they were let in.
    admitted: AtomicU32,
    shed: AtomicU32,
    /// Those by level that were let in and that the queue then refused.
    refused: AtomicU32,
    /// Requests that had got a place when the window began.
    entered: AtomicU64,
}

/// Where a request stands: 0 is the most important.
pub(crate) fn level_of(class: Class, flow: u64, now: Timestamp) -> u32 {
    let minute = now.as_nanos() / 1_000_000_000 / COHORT_SECONDS;
    // Another seven of 56 bits each minute; the top eight stay unused.
    let bits = (flow >> (7 * (minute % 8))) & u64::from(COHORTS - 1);
    let class = u32::try_from(class.index()).unwrap_or(3);
    class * COHORTS + u32::try_from(bits).unwrap_or(0)
}

impl Level {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            threshold: AtomicU32::new(LEVELS),
            began: AtomicU64::new(now.as_nanos()),
            arrived: (0..LEVELS).map(|_| AtomicU32::new(0)).collect(),
            arrived_sum: AtomicU32::new(0),
            admitted: AtomicU32::new(0),
            shed: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            entered: AtomicU64::new(0),
        }
    }

    /// Counts a request that found the pool busy.
    pub(crate) fn count(&self, level: u32) {
        if let Some(count) = usize::try_from(level).ok().and_then(|level| self.arrived.get(level)) {
            count.fetch_add(1, Relaxed);
        }
        self.arrived_sum.fetch_add(1, Relaxed);
    }

    /// Whether a request of this level, which found the pool busy, is let in.
    pub(crate) fn admit(&self, level: u32) -> bool {
        let admitted = level < self.threshold.load(Relaxed);
        let count = if admitted { &self.admitted } else { &self.shed };
        count.fetch_add(1, Relaxed);
        admitted
    }

    /// The queue refused a request that was let in.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Whether anything is not let in.
    pub(crate) fn sheds(&self) -> bool {
        self.threshold.load(Relaxed) < LEVELS
    }

    /// The least important class that is let in, and the part of its cohorts that is.
    pub(crate) fn reach(&self) -> (Class, f64) {
        let last = self.threshold.load(Relaxed).clamp(1, LEVELS) - 1;
        let class = Class::ALL[usize::try_from(last / COHORTS).unwrap_or(3)];
        (class, f64::from(last % COHORTS + 1) / f64::from(COHORTS))
    }

    /// Closes the window when it is time to; whoever sees it first does. `entered` is how many
    /// requests got a place so far.
    pub(crate) fn advance(&self, entered: u64, now: Timestamp) {
        let began = self.began.load(Relaxed);
        let passed = now.since(Timestamp::from_nanos(began));
        let due = passed >= WINDOW || self.arrived_sum.load(Relaxed) >= WINDOW_REQUESTS;
        if !due || self.began.compare_exchange(began, now.as_nanos(), AcqRel, Relaxed).is_err() {
            return;
        }
        let by_level: Vec<u32> = self.arrived.iter().map(|count| count.swap(0, Relaxed)).collect();
        let window = Window {
            arrived: self.arrived_sum.swap(0, Relaxed),
            admitted: self.admitted.swap(0, Relaxed),
            shed: self.shed.swap(0, Relaxed),
            refused: self.refused.swap(0, Relaxed),
            entered: entered.saturating_sub(self.entered.swap(entered, Relaxed)),
        };
        let threshold = self.threshold.load(Relaxed);
        self.threshold.store(next(threshold, &by_level, &window), Relaxed);
    }
}

/// What happened in one window.
#[derive(Clone, Copy, Debug)]
struct Window {
    arrived: u32,
    admitted: u32,
    shed: u32,
    refused: u32,
    /// Requests that got a place.
    entered: u64,
}

impl Window {
    fn overloads(&self) -> bool {
        let admitted = self.arrived.saturating_sub(self.shed);
        f64::from(self.refused) > f64::from(admitted) * REFUSED_PART
    }

    fn is_idle(&self) -> bool {
        // At least these got a place without having found the pool busy.
        let idle = self.entered.saturating_sub(u64::from(self.admitted));
        idle as f64 > self.entered as f64 * IDLE_PART
    }
}

/// The threshold after a window.
fn next(threshold: u32, by_level: &[u32], window: &Window) -> u32 {
    if window.is_idle() {
        return LEVELS;
    }
    if window.overloads() {
        return lower(threshold, by_level);
    }
    // Nobody had to be refused, so there is nobody to let in slowly.
    if window.shed == 0 { LEVELS } else { higher(threshold, by_level) }
}

/// The threshold that lets in 5 % less of these requests, and at least one level less.
fn lower(threshold: u32, by_level: &[u32]) -> u32 {
    let now = sum(by_level, threshold);
    let wanted = now as f64 * LESS;
    let (mut lowered, mut left) = (threshold, now);
    while lowered > 1 && left as f64 > wanted {
        lowered -= 1;
        left -= count(by_level, lowered);
    }
    let of_bulk = lowered >= LEVELS - COHORTS;
    if left * 2 < now && !of_bulk { lowered + 1 } else { lowered }
}

/// The threshold that lets in 1 % more of these requests, and at least one level more.
fn higher(threshold: u32, by_level: &[u32]) -> u32 {
    let now = sum(by_level, threshold);
    let wanted = now as f64 * MORE;
    let (mut raised, mut admitted) = (threshold, now);
    while raised < LEVELS && (raised == threshold || (admitted as f64) < wanted) {
        admitted += count(by_level, raised);
        raised += 1;
    }
    raised
}

/// Requests on levels below `threshold`.
fn sum(by_level: &[u32], threshold: u32) -> u64 {
    (0..threshold).map(|level| count(by_level, level)).sum()
}

fn count(by_level: &[u32], level: u32) -> u64 {
    let place = usize::try_from(level).unwrap_or(usize::MAX);
    by_level.get(place).copied().map_or(0, u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals by level as (level, requests) at a threshold, and what is shed of them.
    fn window(
        arrivals: &[(u32, u32)],
        threshold: u32,
        (refused, entered): (u32, u64),
    ) -> (Vec<u32>, Window) {
        let mut by_level = vec![0; 512];
        arrivals.iter().for_each(|&(level, count)| by_level[level as usize] += count);
        let arrived = by_level.iter().sum();
        let shed = by_level[threshold as usize..].iter().sum();
        (by_level, Window { arrived, admitted: arrived - shed, shed, refused, entered })
    }

    /// Expected: the threshold after a window in which so many of these were refused by the queue
    /// and got a place.
    fn check(arrivals: &[(u32, u32)], threshold: u32, counts: (u32, u64), expected: u32) {
        let (by_level, window) = window(arrivals, threshold, counts);
        assert_eq!(next(threshold, &by_level, &window), expected, "{arrivals:?} {counts:?}");
    }

    /// So many on each level of the normal class.
    fn normal(each: u32) -> Vec<(u32, u32)> {
        (256..384).map(|level| (level, each)).collect()
    }

    #[test]
    fn five_percent_less_is_of_the_requests() {
        // 5 % of 128 levels are 6.4; those above hold nothing.
        check(&normal(10), 512, (500, 500), 377);
        // One level of many requests is cut, the many levels of few are not.
        check(&[(300, 10), (310, 10), (400, 980)], 512, (500, 500), 400);
        check(&[(10, 500), (300, 500)], 512, (500, 500), 300);
        check(&[(10, 400), (300, 600)], 512, (500, 500), 301);
    }

    #[test]
    fn one_percent_more_is_of_the_requests() {
        check(&normal(10), 300, (0, 440), 301);
        check(&[(10, 1_000), (300, 3), (350, 4), (380, 4), (390, 90)], 200, (0, 1_000), 381);
    }

    #[test]
    fn it_opens_when_the_pool_is_idle_or_nobody_asks() {
        check(&normal(10), 300, (300, 700), 512);
        check(&[(10, 100)], 200, (0, 100), 512);
    }

    #[test]
    fn the_most_important_half_is_never_cut() {
        check(&[(0, 100)], 512, (90, 10), 1);
        check(&[(256, 100)], 512, (90, 10), 257);
        check(&[(400, 100)], 512, (90, 10), 400);
    }

    #[test]
    fn cohorts_change_each_minute_and_classes_never() {
        let at = |minute: u64| Timestamp::ZERO + Duration::from_secs(60 * minute);
        let flow = 0x7b1d_93c5_a2e8_4f06;
        let levels: Vec<u32> =
            (0..9).map(|minute| level_of(Class::Normal, flow, at(minute))).collect();
        assert!(levels.iter().all(|level| (256..384).contains(level)), "{levels:?}");
        assert!(levels.windows(2).all(|pair| pair[0] != pair[1]), "{levels:?}");
        assert_eq!(levels[8], levels[0]);
        assert!(level_of(Class::Critical, flow, at(0)) < 128);
        assert!(level_of(Class::Bulk, flow, at(0)) >= 384);
    }

    #[test]
    fn a_window_ends_by_time_or_by_number() {
        let now = |ms| Timestamp::from_nanos(1_000_000_000) + Duration::from_millis(ms);
        let level = Level::new(now(0));
        let surge = |requests: u32, at| {
            for request in 0..requests {
                level.count(256 + request % 128);
                if level.admit(256 + request % 128) {
                    level.refuse();
                }
            }
            level.advance(0, at);
        };
        surge(1_000, now(249));
        assert!(!level.sheds());
        level.advance(0, now(250));
        assert_eq!((level.sheds(), level.reach().0), (true, Class::Normal));
        let (_, before) = level.reach();
        surge(2_000, now(260));
        assert!(level.reach().1 < before);
        level.advance(10, now(600));
        assert!(!level.sheds());
    }
}
