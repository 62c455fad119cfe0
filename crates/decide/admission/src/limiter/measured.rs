//! What was measured of one limit, and how it compares with another.

use super::window::{Tally, Window};

/// The exponent of throughput in power: 10 % more in flight have to give at least 2.2 % more answers.
pub(super) const EXPONENT: f64 = 3.5;
/// Variance of a cost that no number of attempts takes away.
const NOISE_MIN: f64 = 1e-4;
/// How much faster an old measurement loses weight than its age in windows alone would say.
const FADING: f64 = 1.2;

/// What is known of one limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) limit: u32,
    /// Natural logarithm of the microseconds in flight per answer.
    pub(super) cost: f64,
    /// Its variance.
    pub(super) noise: f64,
}

impl Measured {
    /// A window's measurement, where single times vary by at least `scatter` (relative variance).
    pub(super) fn new(window: &Window, tally: &Tally, scatter: f64) -> Self {
        let answered = f64::from(tally.answered).max(0.5);
        Self {
            limit: window.limit,
            cost: (tally.spent_us.max(1.0) / answered).ln(),
            noise: scatter / f64::from(tally.held.max(1)),
        }
    }

    /// This and a later measurement of the same limit as one; the earlier fades.
    pub(super) fn merged(&self, later: &Self) -> Self {
        if self.limit != later.limit {
            return *later;
        }
        let (old, new) = ((self.noise * FADING).max(NOISE_MIN), later.noise.max(NOISE_MIN));
        let weight = new / (old + new);
        Self {
            limit: later.limit,
            cost: self.cost * weight + later.cost * (1.0 - weight),
            noise: old * new / (old + new),
        }
    }

    /// The standard error of the difference between two costs.
    pub(super) fn doubt(&self, other: &Self) -> f64 {
        (self.noise + other.noise + 2.0 * NOISE_MIN).sqrt()
    }

    /// What another limit would be worth: the logarithm of its power over this one's, and the
    /// standard error of that. By Little's law `throughput = limit / cost`.
    pub(super) fn gain(&self, other: &Self) -> (f64, f64) {
        let more = (f64::from(other.limit) / f64::from(self.limit)).ln();
        let gain = EXPONENT * more - (EXPONENT + 1.0) * (other.cost - self.cost);
        (gain, (EXPONENT + 1.0) * self.doubt(other))
    }

    /// The logarithm of its throughput over this one's, and the standard error of that.
    pub(super) fn more_throughput(&self, other: &Self) -> (f64, f64) {
        let more = (f64::from(other.limit) / f64::from(self.limit)).ln();
        (more - (other.cost - self.cost), self.doubt(other))
    }
}

/// The relative variance that one attempt gives to the cost, a ratio of two sums: of times, and of
/// answers. Failures that take no time add nothing to it.
pub(super) fn scatter(window: &Window, tally: &Tally) -> f64 {
    let held = f64::from(tally.held.max(1));
    let answered = f64::from(tally.answered).max(0.5) / held;
    let (mean, cap) = ((tally.spent_us / held).max(1.0), window.cap_us as f64);
    let squares = tally.squares / held * (cap / mean).powi(2);
    let together = tally.answered_us / held / (mean * answered);
    (squares + 1.0 / answered - 2.0 * together).max(0.0)
}
