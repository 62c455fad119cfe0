//! What was seen of a simulation.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long one moment of [`Seen::moments`] is.
pub(crate) const MOMENT: Duration = Duration::from_millis(250);

/// What was seen after the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By flow of the plan, in order.
    pub flows: Vec<FlowSeen>,
    /// By server of the plan, in order.
    pub servers: Vec<ServerSeen>,
    /// From the begin on, the warm-up included, 250 ms each.
    pub moments: Vec<Moment>,
    /// From when a request was due to its answer, in microseconds, ascending.
    pub latencies_us: Vec<u32>,
    /// Attempts that doors refused, by flow and the code of the reason.
    pub refusals: BTreeMap<(usize, &'static str), u64>,
    /// How many requests were due and had neither been answered nor given up at the end.
    pub unfinished: u64,
    /// The time that was counted.
    pub counted: Duration,
}

/// What was seen of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSeen {
    /// Requests that were due; a request that is tried again counts once.
    pub due: u64,
    /// Of them, those that were answered in the end.
    pub answered: u64,
    /// Of them, those that were answered within the objective.
    pub good: u64,
}

/// What was seen of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerSeen {
    /// Attempts sent there.
    pub attempts: u64,
    /// Of them, those that found every place taken.
    pub waited: u64,
    /// What it held on average, at work and waiting.
    pub held: f64,
    /// How many requests were at work on average.
    pub worked: f64,
}

/// What was seen in 250 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Requests that became due.
    pub due: u32,
    /// Answers that came, within the objective, from when their request was due.
    pub good: u32,
    /// Attempts that were refused by a door.
    pub refused: u32,
    /// The limit on requests in flight of the first door at the end; 0 without one.
    pub limit: u32,
}

impl Seen {
    /// A quantile of the latencies, 0 to 1, in milliseconds; 0 without any.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let per_million = Duration::from_secs_f64(quantile.clamp(0.0, 1.0)).as_micros();
        let place = (self.latencies_us.len().saturating_sub(1) as u128 * per_million) / 1_000_000;
        let place = usize::try_from(place).unwrap_or(0);
        self.latencies_us.get(place).map_or(0.0, |&us| f64::from(us) / 1e3)
    }

    /// The mean latency in milliseconds; 0 without any.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        let sum: f64 = self.latencies_us.iter().map(|&us| f64::from(us)).sum();
        sum / 1e3 / self.latencies_us.len().max(1) as f64
    }

    /// What the fullest server held on average, over the mean of all; 1 is even.
    #[must_use]
    pub fn unevenness(&self) -> f64 {
        let held = self.servers.iter().map(|server| server.held);
        let sum: f64 = held.clone().sum();
        if sum > 0.0 { held.fold(0.0, f64::max) * self.servers.len() as f64 / sum } else { 1.0 }
    }

    /// The attempts of the server with the most, over the mean of all; 1 is even.
    #[must_use]
    pub fn lopsidedness(&self) -> f64 {
        let attempts = self.servers.iter().map(|server| server.attempts as f64);
        let sum: f64 = attempts.clone().sum();
        if sum > 0.0 { attempts.fold(0.0, f64::max) * self.servers.len() as f64 / sum } else { 1.0 }
    }

    /// All flows together.
    #[must_use]
    pub fn total(&self) -> FlowSeen {
        self.flows.iter().fold(FlowSeen::default(), |sum, flow| FlowSeen {
            due: sum.due + flow.due,
            answered: sum.answered + flow.answered,
            good: sum.good + flow.good,
        })
    }

    /// Good answers a second, from one time since the begin to another.
    #[must_use]
    pub fn good_per_second(&self, from: Duration, to: Duration) -> f64 {
        let within = |place: &usize| {
            let begins = MOMENT * u32::try_from(*place).unwrap_or(u32::MAX);
            begins >= from && begins + MOMENT <= to
        };
        let places: Vec<usize> = (0..self.moments.len()).filter(within).collect();
        let good: u32 = places.iter().map(|&place| self.moments[place].good).sum();
        f64::from(good) / (places.len().max(1) as f64 * MOMENT.as_secs_f64())
    }
}
