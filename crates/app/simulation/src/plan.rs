//! What is simulated: servers, doors, flows of requests, and how long.

use std::time::Duration;

use balancing::Dice;
use model::Timestamp;

use crate::chance::{Work, exponential};
use crate::chooser::Rule;
use crate::server::ServerPlan;

/// When a simulation begins: not at zero, which clocks of the decisions take for "never".
pub(crate) const BEGIN: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

/// One experiment; the same plan always gives the same result.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides every random choice.
    pub seed: u64,
    /// 1 to 4,000; those that join later stand last.
    pub servers: Vec<ServerPlan>,
    /// 1 to 100; each request comes to one of them at random, and they know nothing of each other.
    pub doors: usize,
    /// How every door chooses.
    pub rule: Rule,
    /// The mean work of a request: how long an idle server of speed 1 takes for it.
    pub work_mean: Duration,
    /// What doors let through at once.
    pub entrance: Entrance,
    /// How the work varies.
    pub work: Work,
    /// Who sends requests.
    pub flows: Vec<Flow>,
    /// An answer is good when it came within this time from when the request was due.
    pub objective: Duration,
    /// What is due before this is not counted.
    pub warm_up: Duration,
    /// When the simulation ends, the warm-up included.
    pub duration: Duration,
}

/// What doors let through at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Everything.
    Open,
    /// What admission finds out by itself; it is told nothing.
    Found,
    /// So many requests to each server, set by hand; who waits for them is admission's business.
    Set(u32),
}

/// Requests that come at random, independent of how others fare (open loop, Poisson).
#[derive(Clone, Debug)]
pub struct Flow {
    /// From when on, since the begin, how many requests a second; ascending.
    pub rates: Vec<(Duration, f64)>,
    /// How many requests come at once, at least 1; the rate counts all of them.
    pub burst: u32,
    /// How many clients send it, at least 1; each request comes from any of them.
    pub clients: u32,
    /// How long its clients wait.
    pub patience: Patience,
}

/// What a client does about a late or failed answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Each try is given up after this; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// How often it tries again after that or after a failure.
    pub retries: u32,
    /// How long it waits before it tries again.
    pub pause: Duration,
}

impl Flow {
    /// A steady flow of single requests that wait for ever.
    #[must_use]
    pub fn steady(per_second: f64) -> Self {
        let rates = vec![(Duration::ZERO, per_second)];
        Self { rates, burst: 1, clients: 1, patience: Patience::default() }
    }

    /// When requests come next after `now`.
    pub(crate) fn next(&self, now: Timestamp, dice: &mut Dice) -> Option<Timestamp> {
        let mut from = now;
        loop {
            let passed = from.since(BEGIN);
            let later = self.rates.partition_point(|(begins, _)| *begins <= passed);
            let change = self.rates.get(later).map(|(begins, _)| BEGIN + *begins);
            let per_second = later.checked_sub(1).map_or(0.0, |place| self.rates[place].1);
            if per_second > 0.0 {
                let gap = exponential(dice) * f64::from(self.burst) / per_second;
                let next = from + Duration::from_secs_f64(gap);
                if change.is_none_or(|change| next < change) {
                    return Some(next);
                }
            }
            // The gaps have no memory, so that drawing anew from the change on is exact.
            from = change?;
        }
    }
}
