//! A server: so many requests at work at once, the others in a queue, and what each slows down.
//!
//! Requests at work share the server evenly: each goes on at the server's speed, divided by what
//! the others cost it. Those two numbers change only when a request comes or ends, or the server
//! changes, so that progress between two events is a straight line: every request that is at
//! work has progressed by the same amount since it began, and the least to go ends first.
//! The cost of others is the Universal Scalability Law (Gunther): with `n` at work each is slowed
//! down `1 + contention (n - 1) + coherency n (n - 1)` times. Both 0 is a server that sleeps; a
//! coherency makes throughput fall past a knee, as with a lock that all fight for.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use model::Timestamp;

/// Two ends this close, in seconds, are one: the clock counts in nanoseconds.
const CLOSE: f64 = 1e-9;

/// What a server can do, and what happens to it.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Requests at work at once, at least 1.
    pub places: usize,
    /// Requests that may wait for a place; others fail at once.
    pub queue_max: usize,
    /// What requests at work cost each other.
    pub scaling: Scaling,
    /// How it is from which time on, ascending; before, it works at speed 1.
    pub changes: Vec<(Duration, Condition)>,
    /// When the doors hear of it; `None`: from the begin.
    pub joins: Option<Duration>,
}

impl ServerPlan {
    /// A server that works on so many requests at once without slowing down.
    #[must_use]
    pub const fn sleeping(places: usize) -> Self {
        Self {
            places,
            queue_max: 10_000,
            scaling: Scaling { contention: 0.0, coherency: 0.0, knee: f64::INFINITY },
            changes: Vec::new(),
            joins: None,
        }
    }

    /// A server that works on everything at once, best on `knee` requests: with more it does less.
    #[must_use]
    pub fn collapsing(knee: f64) -> Self {
        let contention = 0.05;
        let coherency = (1.0 - contention) / (knee * knee);
        let scaling = Scaling { contention, coherency, knee: f64::INFINITY };
        Self { places: 10_000, scaling, ..Self::sleeping(1) }
    }

    /// A server that holds a lock: `knee` requests at once keep it busy, and each makes all others
    /// longer by `contention`.
    #[must_use]
    pub fn locking(knee: f64, contention: f64) -> Self {
        let scaling = Scaling { contention, coherency: 0.0, knee };
        Self { places: 10_000, scaling, ..Self::sleeping(1) }
    }

    /// The same server at another speed from the begin on.
    #[must_use]
    pub fn at_speed(mut self, speed: f64) -> Self {
        self.changes = vec![(Duration::ZERO, Condition::Works { speed })];
        self
    }

    /// How many requests of one second of work it ends in a second at best, at speed 1.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        let ended = |at_work: usize| at_work as f64 / self.scaling.slowdown(at_work);
        (1..=self.places).map(ended).fold(0.0, f64::max)
    }
}

/// What requests at work cost each other, by the Universal Scalability Law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Sigma: what each other one adds.
    pub contention: f64,
    /// Kappa: what each pair adds.
    pub coherency: f64,
    /// With more at work they take turns at something that all need.
    pub knee: f64,
}

impl Scaling {
    fn slowdown(self, at_work: usize) -> f64 {
        let (n, others) = (at_work as f64, at_work.saturating_sub(1) as f64);
        (1.0 + self.contention * others + self.coherency * n * others) * (n / self.knee).max(1.0)
    }
}

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// It works, so many times as fast as usual.
    Works {
        /// Above 0.
        speed: f64,
    },
    /// It works, on no more than so many at once.
    Takes {
        /// At least 1.
        places: usize,
    },
    /// What it begins it ends; what comes fails at once.
    Fails,
    /// It takes requests and does nothing.
    Paused,
}

/// What became of a request that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    AtWork,
    Waits,
    Failed,
}

/// A server at work on jobs of type `J`.
#[derive(Debug)]
pub(crate) struct Server<J> {
    /// How many it works on at once, now and as planned.
    places: usize,
    places_max: usize,
    queue_max: usize,
    scaling: Scaling,
    condition: Condition,
    /// How far a request at work has come that was there from the begin on, in seconds of work.
    progress: f64,
    at: Timestamp,
    working: BinaryHeap<Reverse<AtWork<J>>>,
    waiting: VecDeque<(f64, J)>,
    /// Counts the times that the next end was moved.
    pub(crate) epoch: u64,
    /// What it held, integrated over time, in request seconds.
    pub(crate) held: f64,
    /// The part of it that was at work.
    pub(crate) worked: f64,
}

#[derive(Debug)]
struct AtWork<J> {
    ends: f64,
    job: J,
}

impl<J> PartialEq for AtWork<J> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<J> Eq for AtWork<J> {}

impl<J> PartialOrd for AtWork<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for AtWork<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ends.total_cmp(&other.ends)
    }
}

impl<J> Server<J> {
    pub(crate) fn new(plan: &ServerPlan, now: Timestamp) -> Self {
        Self {
            places: plan.places,
            places_max: plan.places,
            queue_max: plan.queue_max,
            scaling: plan.scaling,
            condition: Condition::Works { speed: 1.0 },
            progress: 0.0,
            at: now,
            working: BinaryHeap::new(),
            waiting: VecDeque::new(),
            epoch: 0,
            held: 0.0,
            worked: 0.0,
        }
    }

    /// Requests that it holds, at work and waiting.
    pub(crate) fn held_now(&self) -> usize {
        self.working.len() + self.waiting.len()
    }

    /// Takes a request of so many seconds of work.
    pub(crate) fn take(&mut self, job: J, work: f64, now: Timestamp) -> Taken {
        self.advance(now);
        if self.condition == Condition::Fails || self.waiting.len() >= self.queue_max {
            return Taken::Failed;
        }
        let taken = if self.working.len() < self.places { Taken::AtWork } else { Taken::Waits };
        self.waiting.push_back((work, job));
        self.fill();
        taken
    }

    /// The next request that is done by `now`.
    pub(crate) fn done(&mut self, now: Timestamp) -> Option<J> {
        self.advance(now);
        let Reverse(first) = self.working.peek()?;
        if first.ends > self.progress + CLOSE {
            return None;
        }
        let Reverse(AtWork { job, .. }) = self.working.pop()?;
        self.fill();
        Some(job)
    }

    pub(crate) fn change(&mut self, condition: Condition, now: Timestamp) {
        self.advance(now);
        self.condition = condition;
        self.places = match condition {
            Condition::Takes { places } => places,
            Condition::Works { .. } | Condition::Fails | Condition::Paused => self.places_max,
        };
        self.fill();
    }

    /// When the next request is done if nothing else happens.
    pub(crate) fn next_done(&self) -> Option<Timestamp> {
        let Reverse(first) = self.working.peek()?;
        let speed = self.speed();
        // A nanosecond more, so that rounding never wakes it too early.
        (speed > 0.0).then(|| {
            let left = (first.ends - self.progress).max(0.0) / speed;
            self.at + Duration::from_secs_f64(left) + Duration::from_nanos(1)
        })
    }

    /// Counts what it held up to `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let passed = now.since(self.at).as_secs_f64();
        self.held += self.held_now() as f64 * passed;
        self.worked += self.working.len() as f64 * passed;
        self.progress += self.speed() * passed;
        self.at = now;
    }

    fn fill(&mut self) {
        while self.working.len() < self.places
            && let Some((work, job)) = self.waiting.pop_front()
        {
            self.working.push(Reverse(AtWork { ends: self.progress + work, job }));
        }
        self.epoch += 1;
    }

    /// Of each request at work.
    fn speed(&self) -> f64 {
        let speed = match self.condition {
            Condition::Works { speed } => speed,
            Condition::Takes { .. } | Condition::Fails => 1.0,
            Condition::Paused => 0.0,
        };
        speed / self.scaling.slowdown(self.working.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes jobs of so many ms of work at so many ms; the ms at which each is done, in order.
    fn check(plan: &ServerPlan, jobs: &[(u64, f64)], expected: &[(usize, u64)]) {
        let mut server = Server::new(plan, Timestamp::ZERO);
        let ms = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        let mut events: Vec<(Timestamp, Option<Condition>, usize)> =
            jobs.iter().enumerate().map(|(job, (at, _))| (ms(*at), None, job)).collect();
        events.extend(
            plan.changes.iter().map(|(at, to)| (Timestamp::ZERO + *at, Some(*to), usize::MAX)),
        );
        events.sort_by_key(|(at, _, _)| *at);
        let mut events = events.into_iter().peekable();
        let mut done = Vec::new();
        loop {
            let due = events.peek().map(|(at, _, _)| *at);
            let ends = server.next_done();
            if let Some(ends) = ends
                && due.is_none_or(|due| ends <= due)
            {
                while let Some(job) = server.done(ends) {
                    done.push((job, ends.as_nanos() / 1_000_000));
                }
            } else if let Some((at, condition, job)) = events.next() {
                match condition {
                    Some(condition) => server.change(condition, at),
                    None => {
                        let taken = server.take(job, jobs[job].1 / 1e3, at);
                        assert_ne!(taken, Taken::Failed);
                    }
                }
            } else {
                break;
            }
        }
        assert_eq!(done, expected);
    }

    #[test]
    fn a_sleeping_server_works_on_as_many_as_it_has_places() {
        let jobs = [(0, 10.0), (0, 20.0), (1, 10.0)];
        check(&ServerPlan::sleeping(1), &jobs, &[(0, 10), (1, 30), (2, 40)]);
        check(&ServerPlan::sleeping(2), &jobs, &[(0, 10), (1, 20), (2, 20)]);
        check(&ServerPlan::sleeping(3), &jobs, &[(0, 10), (2, 11), (1, 20)]);
    }

    #[test]
    fn changes_count_from_when_they_happen() {
        let mut plan = ServerPlan::sleeping(1);
        let at = Duration::from_millis;
        plan.changes = vec![
            (at(5), Condition::Works { speed: 0.5 }),
            (at(11), Condition::Paused),
            (at(20), Condition::Works { speed: 2.0 }),
        ];
        check(&plan, &[(0, 10.0)], &[(0, 21)]);
    }

    #[test]
    fn requests_that_quarrel_slow_each_other_down() {
        let scaling = Scaling { contention: 0.5, coherency: 0.25, knee: f64::INFINITY };
        let plan = ServerPlan { places: 9, scaling, ..ServerPlan::sleeping(1) };
        // Two at once: 1 + 0.5 + 0.25 x 2 = 2 times as slow; then the other one alone.
        check(&plan, &[(0, 10.0), (0, 15.0)], &[(0, 20), (1, 25)]);
    }

    #[test]
    fn a_lock_is_held_by_so_many_and_places_come_and_go() {
        // Two take turns: each twice as slow, then the other one alone.
        let plan = ServerPlan::locking(1.0, 0.0);
        check(&plan, &[(0, 10.0), (0, 15.0)], &[(0, 20), (1, 25)]);
        let at = Duration::from_millis;
        let mut plan = ServerPlan::sleeping(2);
        plan.changes = vec![
            (at(1), Condition::Takes { places: 1 }),
            (at(15), Condition::Works { speed: 1.0 }),
        ];
        // What it works on it ends; the third begins at 12, the fourth when there are two places again.
        let jobs = [(0, 10.0), (0, 12.0), (0, 10.0), (0, 10.0)];
        check(&plan, &jobs, &[(0, 10), (1, 12), (2, 22), (3, 25)]);
    }

    #[test]
    fn a_collapsing_server_is_best_at_its_knee() {
        let plan = ServerPlan::collapsing(8.0);
        let ended = |n: usize| n as f64 / plan.scaling.slowdown(n);
        assert!((plan.capacity() - ended(8)).abs() < 1e-9);
        assert!(ended(100) < ended(8) / 5.0);
    }
}
