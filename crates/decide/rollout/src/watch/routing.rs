//! Whether requests that had a route have none any more.
//!
//! Strangers ask for paths that never existed, sometimes many at once. That is not the change's
//! doing, and no route gets fewer requests by it: so the requests without a route must rise, and
//! those of the routes must fall by at least half as many.

use std::collections::BTreeMap;

use model::Reason;
use model::fact::Snapshot;

use super::routes;
use crate::evidence::{binomial_tail, binomial_upper};
use crate::words::of_requests;

/// How often chance may explain the rise: once in a hundred thousand looks.
const CHANCE: f64 = 1e-5;
/// How surely what was usual before is below what is taken for usual, and half as much again.
const CHANCE_BEFORE: f64 = 0.01;
const USUAL_RATIO: f64 = 1.5;
/// By how many standard deviations a route's requests may fall by chance; traffic is less even
/// than chance alone, so that the deviation is that of the seconds before.
const DEVIATIONS: f64 = 3.0;
/// Fewer requests without a route are not worth a verdict.
const REQUESTS_MIN: f64 = 10.0;

/// Judges how many requests find no route.
#[derive(Debug)]
pub(super) struct Routing {
    usual: f64,
    rates: BTreeMap<String, Rate>,
    seconds: f64,
    unrouted: u64,
    requests: u64,
    routed: BTreeMap<String, u64>,
}

/// Requests a second of one route.
#[derive(Debug)]
struct Rate {
    mean: f64,
    variance: f64,
}

impl Rate {
    fn new(counts: &[f64]) -> Self {
        let seconds = counts.len().max(1) as f64;
        let mean = counts.iter().sum::<f64>() / seconds;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / seconds;
        Self { mean, variance: variance.max(mean) }
    }
}

impl Routing {
    pub(super) fn new(usual: &[Snapshot]) -> Self {
        let mut counts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let (mut unrouted, mut requests) = (0, 0);
        for snapshot in usual {
            unrouted += of(snapshot);
            for route in routes(snapshot) {
                requests += route.requests;
                counts.entry(route.name.clone()).or_default().push(route.requests as f64);
            }
        }
        let upper = binomial_upper(unrouted, unrouted + requests, CHANCE_BEFORE);
        Self {
            usual: (upper * USUAL_RATIO).min(1.0),
            rates: counts.iter().map(|(name, seen)| (name.clone(), Rate::new(seen))).collect(),
            seconds: 0.0,
            unrouted: 0,
            requests: 0,
            routed: BTreeMap::new(),
        }
    }

    pub(super) fn second(&mut self, snapshot: &Snapshot) -> Option<String> {
        self.seconds += 1.0;
        self.unrouted += of(snapshot);
        for route in routes(snapshot) {
            self.requests += route.requests;
            *self.routed.entry(route.name.clone()).or_default() += route.requests;
        }
        let all = self.unrouted + self.requests;
        let excess = self.unrouted as f64 - self.usual * all as f64;
        let (missing, by_chance) = self.missing();
        let is_broken = excess >= REQUESTS_MIN
            && missing >= by_chance.max(excess / 2.0)
            && binomial_tail(self.unrouted, all, self.usual) < CHANCE;
        is_broken.then(|| {
            format!("{} found no route, and routes get fewer", of_requests(self.unrouted, all))
        })
    }

    /// Requests that the routes would have had, and how many chance may take from them.
    fn missing(&self) -> (f64, f64) {
        let (mut missing, mut variance) = (0.0, 0.0);
        for (name, rate) in &self.rates {
            let seen = self.routed.get(name).copied().unwrap_or(0) as f64;
            missing += (rate.mean * self.seconds - seen).max(0.0);
            variance += rate.variance * self.seconds;
        }
        (missing, DEVIATIONS * f64::sqrt(variance))
    }
}

/// Requests of one second that found no route, or none with their method.
fn of(snapshot: &Snapshot) -> u64 {
    let codes = [Reason::NoRoute.code(), Reason::MethodNotAllowed.code()];
    let found = snapshot.reasons.iter().filter(|reason| codes.contains(&reason.code.as_str()));
    found.map(|reason| reason.count).sum()
}
