//! Judges a candidate that serves a share of the requests beside the live generation.
//!
//! Harm is shown by tests that may be looked at every second (`evidence`), so that a bad
//! candidate ends as soon as it is known, and a good one is not ended by looking often. At the
//! end, a suspicion that is too weak to show harm is still no reason to promote: that is
//! "undecided", as is a trial with too few requests.
//! Invariant: `Promote` comes only after the whole duration, with enough requests on both sides.

mod latency;
mod shares;

use std::collections::BTreeSet;
use std::time::Duration;

use model::Configuration;
use model::arm::ArmFacts;

use crate::evidence::{Split, Stretch};
use crate::words::{duration_words, of_requests, share_words};

/// How often a good candidate may be rolled back by chance, over all tests together: 1 %.
/// Half of it is for failures, which harm most.
const CHANCE_FAILURES: f64 = 0.005;
/// The part of the latency of the slowest tenth and of the slowest hundredth, each.
const CHANCE_LATENCY: f64 = 0.001_5;
/// The part of the distribution over servers, all pools together.
const CHANCE_SHARES: f64 = 0.002;
/// Failed requests without which no candidate is ended: less can be one server's bad moment.
const FAILURES_MIN: u64 = 5;
/// The smallest difference in the share of failed requests that matters: 0.2 percentage points.
/// Less is within what repetitions of the same door differ by, and would end good candidates
/// once millions of requests show it.
const FAILURES_MATTER: f64 = 0.002;
/// A stretch is compared when each arm has this many requests in it: with fewer, seconds
/// without a request of the candidate would be lost to the comparison.
const STRETCH_REQUESTS: u64 = 5;

/// How a candidate is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct CanarySettings {
    /// The share of new requests that the candidate gets, 0 to 1.
    pub share: f64,
    /// How long it is tried; the verdict `Promote` does not come earlier.
    pub duration: Duration,
    /// Requests that each side must have served before it can be promoted.
    pub requests_min: u64,
    /// The largest share of a pool's requests that one of several servers may get, 0 to 1.
    pub share_max: f64,
    /// Pools whose distribution is not judged, because the configuration allows it.
    pub lopsided: BTreeSet<String>,
}

impl CanarySettings {
    /// The settings that the candidate itself asks for.
    #[must_use]
    pub fn new(candidate: &Configuration, share: f64, duration: Duration) -> Self {
        let pools = candidate.pools.iter();
        Self {
            share,
            duration,
            requests_min: candidate.changes.requests_min,
            share_max: candidate.invariants.share_max,
            lopsided: pools
                .filter(|pool| crate::may_be_lopsided(candidate, &pool.name))
                .map(|pool| pool.name.to_string())
                .collect(),
        }
    }
}

/// What is to be done with a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// Not known yet.
    Watching,
    /// It served long enough and does no harm, in words: make it live.
    Promote(String),
    /// It does harm, in words: end it.
    RollBack(String),
    /// The time is over and it is not known, in words why.
    Undecided(String),
}

/// Requests and failures of one arm.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    requests: u64,
    failures: u64,
}

impl Count {
    fn add(&mut self, facts: &ArmFacts) {
        self.requests += facts.requests;
        self.failures += facts.failures.min(facts.requests);
    }

    fn share_failed(self) -> f64 {
        self.failures as f64 / self.requests.max(1) as f64
    }
}

/// Judges one candidate.
#[derive(Debug)]
pub struct Canary {
    settings: CanarySettings,
    seconds: u32,
    live: Count,
    candidate: Count,
    /// Since the last stretch ended.
    live_open: Count,
    candidate_open: Count,
    failures: Split,
    latency: latency::Latency,
    shares: shares::Shares,
}

impl Canary {
    /// A judge of a candidate that begins now.
    #[must_use]
    pub fn new(settings: CanarySettings) -> Self {
        let shares = shares::Shares::new(settings.share_max, settings.lopsided.clone());
        Self {
            settings,
            seconds: 0,
            live: Count::default(),
            candidate: Count::default(),
            live_open: Count::default(),
            candidate_open: Count::default(),
            failures: Split::default(),
            latency: latency::Latency::default(),
            shares,
        }
    }

    /// Takes what both arms did in one second. Call it once a second, until it says something
    /// other than `Watching`.
    pub fn second(&mut self, live: &ArmFacts, candidate: &ArmFacts) -> CanaryVerdict {
        self.seconds = self.seconds.saturating_add(1);
        for (facts, total, open) in [
            (live, &mut self.live, &mut self.live_open),
            (candidate, &mut self.candidate, &mut self.candidate_open),
        ] {
            total.add(facts);
            open.add(facts);
        }
        self.latency.second(live, candidate);
        self.shares.second(live, candidate);
        let is_over = Duration::from_secs(u64::from(self.seconds)) >= self.settings.duration;
        let smaller = self.live_open.requests.min(self.candidate_open.requests);
        if is_over || smaller >= STRETCH_REQUESTS {
            self.end_stretch();
        }
        if let Some(harm) = self.harm() {
            return CanaryVerdict::RollBack(harm);
        }
        if is_over { self.verdict() } else { CanaryVerdict::Watching }
    }

    /// What was seen so far, in words.
    #[must_use]
    pub fn progress(&self) -> String {
        format!(
            "after {} of {} with {} of the requests: {}",
            duration_words(Duration::from_secs(u64::from(self.seconds))),
            duration_words(self.settings.duration),
            share_words(self.settings.share),
            self.failures_words()
        )
    }

    fn end_stretch(&mut self) {
        let live = std::mem::take(&mut self.live_open);
        let candidate = std::mem::take(&mut self.candidate_open);
        self.failures.add(Stretch {
            live_requests: live.requests,
            live_hits: live.failures,
            candidate_requests: candidate.requests,
            candidate_hits: candidate.failures,
        });
        self.latency.end_stretch();
    }

    fn harm(&self) -> Option<String> {
        let difference = self.candidate.share_failed() - self.live.share_failed();
        let matters = self.candidate.failures >= FAILURES_MIN && difference >= FAILURES_MATTER;
        if matters && self.failures.shows_harm(CHANCE_FAILURES) {
            return Some(self.failures_words());
        }
        self.latency.harm(CHANCE_LATENCY).or_else(|| self.shares.harm(CHANCE_SHARES))
    }

    fn verdict(&self) -> CanaryVerdict {
        let after = duration_words(self.settings.duration);
        for (count, whose) in [(self.candidate, ""), (self.live, " of the live generation")] {
            if count.requests < self.settings.requests_min {
                return CanaryVerdict::Undecided(format!(
                    "not enough requests{whose}: {} of {} after {after}",
                    count.requests, self.settings.requests_min
                ));
            }
        }
        let fails_more = self.candidate.share_failed() - self.live.share_failed()
            >= FAILURES_MATTER
            && self.failures.leaves_suspicion();
        let suspicion = fails_more.then(|| self.failures_words());
        let suspicion =
            suspicion.or_else(|| self.latency.suspicion()).or_else(|| self.shares.suspicion());
        match suspicion {
            Some(words) => CanaryVerdict::Undecided(format!(
                "it looks worse, and {after} are too few requests to say whether by chance: {words}"
            )),
            None => {
                CanaryVerdict::Promote(format!("no harm in {after}: {}", self.failures_words()))
            }
        }
    }

    fn failures_words(&self) -> String {
        format!(
            "{} failed, of the live generation {}",
            of_requests(self.candidate.failures, self.candidate.requests),
            of_requests(self.live.failures, self.live.requests)
        )
    }
}
