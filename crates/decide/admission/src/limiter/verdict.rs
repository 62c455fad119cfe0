//! Whether one limit is better than another, by what was measured of both.

use super::measured::Measured;

/// How many standard errors worse another limit has to be to be given up at once.
pub(super) const PROOF_WORSE: f64 = 1.0;
/// What is gained has to be worth a change.
const GAIN_MIN: f64 = 0.05;
/// Answers that take less at both limits could take longer without anybody noticing: then only
/// throughput counts, and more at once is better where that does not fall. What is measured in a
/// busy door is its own turn, and to let requests wait for it would cost more than they do.
const QUICK_US: f64 = 3_000.0;
/// The scatter above which a mean of few says little.
const VARIED_MUCH: f64 = 0.8;

/// Where a trial goes, seen from the limit that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Direction {
    pub(super) const fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Better,
    Worse,
    Unclear,
}

impl Verdict {
    /// Of the limit `there` over the one `here`, where single times vary by `scatter`; to be better
    /// it has to be so by `proof` standard errors.
    pub(super) fn of(here: &Measured, there: &Measured, scatter: f64, proof: f64) -> Self {
        if scatter < VARIED_MUCH && is_quick(here) && is_quick(there) {
            return Self::of_throughput(here, there);
        }
        let (gain, doubt) = here.gain(there);
        // So well known that more windows would tell nothing new; throughput breaks a tie.
        let plain = proof * doubt < 2.0 * GAIN_MIN;
        if gain > GAIN_MIN.max(proof * doubt) || plain && gain > 0.0 && there.limit > here.limit {
            Self::Better
        } else if gain < -PROOF_WORSE * doubt || plain {
            Self::Worse
        } else {
            Self::Unclear
        }
    }

    /// Where only throughput counts: the higher limit, unless the lower one gives clearly more.
    fn of_throughput(here: &Measured, there: &Measured) -> Self {
        let (more, doubt) = here.more_throughput(there);
        // What it has to give at least: as good as the same above, clearly more below.
        let least = if there.limit > here.limit { -GAIN_MIN } else { GAIN_MIN };
        if more - PROOF_WORSE * doubt > least {
            Self::Better
        } else if more + PROOF_WORSE * doubt < least {
            Self::Worse
        } else {
            Self::Unclear
        }
    }
}

/// Whether answers at this limit take so little that nobody would notice a little more.
pub(super) fn is_quick(level: &Measured) -> bool {
    level.cost < QUICK_US.ln()
}
