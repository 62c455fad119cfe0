//! A candidate: the least in-flight x peak EWMA of all servers, as the design first stated it.
//!
//! `score = (in flight + 1) x ewma`; a slower answer replaces the average, faster ones pull it
//! down with a time constant of 10 s, and while nothing is measured it decays. That is Finagle's
//! `PeakEwma`, compared over all servers instead of two. For comparison only: it looks at every
//! server on each pick.

use std::time::Duration;

use balancing::Dice;
use model::Timestamp;

const TIME_CONSTANT: Duration = Duration::from_secs(10);
/// The score of a server that was never measured and holds something: it may be slow.
const UNKNOWN: f64 = 1e9;

#[derive(Clone, Debug, Default)]
struct Known {
    in_flight: u32,
    /// In seconds; 0: nothing measured.
    ewma: f64,
    at: Timestamp,
}

impl Known {
    fn kept(&self, now: Timestamp) -> f64 {
        (-now.since(self.at).as_secs_f64() / TIME_CONSTANT.as_secs_f64()).exp()
    }

    fn score(&self, now: Timestamp) -> f64 {
        if self.ewma == 0.0 && self.in_flight > 0 {
            return UNKNOWN * f64::from(self.in_flight);
        }
        f64::from(self.in_flight + 1) * self.ewma * self.kept(now)
    }
}

/// What one door knows.
#[derive(Debug)]
pub(crate) struct JoinLeast {
    servers: Vec<Known>,
}

impl JoinLeast {
    pub(crate) fn new(servers: usize) -> Self {
        Self { servers: vec![Known::default(); servers] }
    }

    /// There are so many servers now.
    pub(crate) fn grow(&mut self, servers: usize) {
        self.servers.resize_with(servers, Known::default);
    }

    pub(crate) fn choose(&mut self, now: Timestamp, dice: &mut Dice) -> usize {
        let (mut least, mut chosen, mut ties) = (f64::INFINITY, 0, 0);
        for (index, server) in self.servers.iter().enumerate() {
            let score = server.score(now);
            ties = if score < least { 1 } else { ties + u64::from(score == least) };
            // Each of the equal replaces the choice with its part of them: fair.
            if score < least || score == least && dice.below(ties) == 0 {
                (least, chosen) = (score, index);
            }
        }
        self.servers[chosen].in_flight += 1;
        chosen
    }

    pub(crate) fn ended(&mut self, index: usize, latency: Option<Duration>, now: Timestamp) {
        let server = &mut self.servers[index];
        server.in_flight -= 1;
        if let Some(latency) = latency {
            let (sample, kept) = (latency.as_secs_f64(), server.kept(now));
            server.ewma = sample.max(sample + kept * (server.ewma - sample));
            server.at = now;
        }
    }
}
