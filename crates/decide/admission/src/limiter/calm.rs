//! What an answer takes while little is in flight: says which way to look first, and how far.
//!
//! By how much an answer takes longer at the limit than in the calm is how far the limit is above
//! what servers take that let the others wait: the gradient of Netflix's concurrency-limits. Such
//! a baseline goes stale, so it decides nothing here: it only chooses what is tried next, while
//! nothing is found, and it is forgotten whenever the servers have changed.

use super::window::Tally;

/// Answers that it remembers; those of a longer past fade.
const REMEMBERED: f64 = 32.0;
/// Fewer say nothing.
const ENOUGH: f64 = 3.0;

/// The mean time of an answer in the calm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calm {
    mean_us: f64,
    /// How many answers it is the mean of.
    weight: f64,
}

impl Calm {
    /// Adds the calm answers of one window.
    pub(super) fn add(&mut self, tally: &Tally) {
        if tally.calm == 0 {
            return;
        }
        let added = f64::from(tally.calm);
        self.mean_us = (self.mean_us * self.weight + tally.calm_us) / (self.weight + added);
        self.weight = (self.weight + added).min(REMEMBERED);
    }

    /// The servers are not what they were.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// How many times as long an answer takes that costs so much, the natural logarithm of
    /// microseconds; `None` while too little is known.
    pub(super) fn times_longer(&self, cost: f64) -> Option<f64> {
        (self.weight >= ENOUGH && self.mean_us > 0.0).then(|| cost.exp() / self.mean_us)
    }
}
