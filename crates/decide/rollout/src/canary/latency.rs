//! Whether the candidate is slower than the live arm, in its slowest tenth or hundredth.
//!
//! A request is slow when it takes longer than that part of the live arm's requests did so far.
//! How the slow ones split between the arms is then judged like failures. The threshold comes
//! from the past only, so that the test stays fair however latency moves.

use model::arm::{ArmFacts, LATENCY_BUCKETS, latency_bucket_start};

use crate::evidence::{Split, Stretch};
use crate::words::latency_words;

/// The slowest tenth sees a general slowness soonest, the slowest hundredth one of a part.
const QUANTILES: [f64; 2] = [0.9, 0.99];
/// The smallest ratio of the same quantile that matters. Buckets are up to 6.25 % wide: 3 % more
/// cannot look like 15 %, nor 30 % like less.
const RATIO_MATTERS: f64 = 1.15;
/// The same for a suspicion: chance hides a part of the difference.
const RATIO_SUSPICIOUS: f64 = 1.1;
/// A smaller difference in microseconds does not matter, whatever the ratio.
const DIFFERENCE_MATTERS_US: f64 = 1_000.0;
/// Requests of the live arm before there is a threshold.
const LIVE_MIN: u64 = 20;

/// Requests by latency bucket.
#[derive(Clone, Debug)]
struct Latencies(Vec<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(vec![0; LATENCY_BUCKETS])
    }
}

impl Latencies {
    fn add(&mut self, other: &[u64]) {
        for (sum, count) in self.0.iter_mut().zip(other) {
            *sum += count;
        }
    }

    fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The bucket after which at most `1 - quantile` of the requests are.
    fn bucket(&self, quantile: f64) -> usize {
        let within = self.total() as f64 * quantile;
        let mut sum = 0;
        let reaches = |count: &u64| {
            sum += count;
            sum as f64 >= within
        };
        self.0.iter().position(reaches).unwrap_or(LATENCY_BUCKETS - 1)
    }

    fn slower_than(&self, bucket: usize) -> u64 {
        self.0.iter().skip(bucket + 1).sum()
    }

    /// The quantile in microseconds, even within its bucket.
    fn quantile_us(&self, quantile: f64) -> f64 {
        let bucket = self.bucket(quantile);
        let below: u64 = self.0.iter().take(bucket).sum();
        let inside = self.0.get(bucket).copied().unwrap_or(0).max(1) as f64;
        let part = (self.total() as f64 * quantile - below as f64) / inside;
        let start = latency_bucket_start(bucket) as f64;
        (latency_bucket_start(bucket + 1) as f64 - start).mul_add(part.clamp(0.0, 1.0), start)
    }
}

/// Compares both arms' latencies.
#[derive(Debug, Default)]
pub(super) struct Latency {
    live: Latencies,
    candidate: Latencies,
    live_open: Latencies,
    candidate_open: Latencies,
    slow: [Split; QUANTILES.len()],
}

impl Latency {
    pub(super) fn second(&mut self, live: &ArmFacts, candidate: &ArmFacts) {
        self.live_open.add(&live.latencies);
        self.candidate_open.add(&candidate.latencies);
    }

    pub(super) fn end_stretch(&mut self) {
        let live = std::mem::take(&mut self.live_open);
        let candidate = std::mem::take(&mut self.candidate_open);
        if self.live.total() >= LIVE_MIN {
            for (split, quantile) in self.slow.iter_mut().zip(QUANTILES) {
                let threshold = self.live.bucket(quantile);
                split.add(Stretch {
                    live_requests: live.total(),
                    live_hits: live.slower_than(threshold),
                    candidate_requests: candidate.total(),
                    candidate_hits: candidate.slower_than(threshold),
                });
            }
        }
        self.live.add(&live.0);
        self.candidate.add(&candidate.0);
    }

    pub(super) fn harm(&self, chance: f64) -> Option<String> {
        self.first(RATIO_MATTERS, |split| split.shows_harm(chance))
    }

    pub(super) fn suspicion(&self) -> Option<String> {
        self.first(RATIO_SUSPICIOUS, Split::leaves_suspicion)
    }

    fn first(&self, ratio: f64, is_shown: impl Fn(&Split) -> bool) -> Option<String> {
        self.slow.iter().zip(QUANTILES).find_map(|(split, quantile)| {
            if !is_shown(split) {
                return None;
            }
            let live = self.live.quantile_us(quantile);
            let candidate = self.candidate.quantile_us(quantile);
            let matters = candidate >= live * ratio && candidate - live >= DIFFERENCE_MATTERS_US;
            matters.then(|| {
                format!(
                    "p{:.0} is {} over {} requests, of the live generation {} over {}",
                    quantile * 100.0,
                    latency_words(candidate),
                    self.candidate.total(),
                    latency_words(live),
                    self.live.total()
                )
            })
        })
    }
}
